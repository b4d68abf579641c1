# One machine, with or without a GPU. In the root of the clone:
#   docker build -t semievol .
#   docker run --rm --gpus all -v "$PWD":/work semievol run my-task.yaml
# Without a GPU, leave --gpus out.
FROM python:3.11-slim

COPY . /src
RUN pip install --no-cache-dir -c /src/constraints.txt '/src[local,openai,excel,quantized]' && rm -rf /src

ENV SEMIEVOL_CACHE=/work/.semievol-cache HF_HOME=/work/.huggingface
WORKDIR /work
ENTRYPOINT ["semievol"]
