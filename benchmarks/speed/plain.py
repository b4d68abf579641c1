"""What a program with plain `transformers` writes down once: chats to tensors, `generate` to responses, logits to H."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from semievol.config import ModelConfig
from semievol.models.chat import ChatTemplate
from semievol.records import Request, Response


def batch_of(tokenizer: Any, texts: Sequence[str]) -> Any:
    """The texts' tokens, padded on the left as `generate` wants them."""
    return tokenizer(list(texts), padding=True, padding_side="left", add_special_tokens=False, return_tensors="pt")


def chat(tokenizer: Any, request: Request) -> str:
    """The request's chat as text, up to where the answer begins."""
    text: str = tokenizer.apply_chat_template(list(request.messages), add_generation_prompt=True, tokenize=False)
    return text


def generate(model: Any, tokenizer: Any, requests: Sequence[Request], max_new_tokens: int) -> list[Response]:
    """The answers to one batch, all of one temperature, each up to the end of its turn.

    `top_k=0` because `generate` samples from the 50 likeliest tokens otherwise, and the method from all.
    """
    inputs = batch_of(tokenizer, [chat(tokenizer, one) for one in requests])
    stops = sorted({tokenizer.eos_token_id, ChatTemplate(tokenizer, ModelConfig()).turn(None).end})
    temperature = requests[0].sampling.temperature
    drawing = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature > 0 else {"do_sample": False}
    output = model.generate(
        **inputs.to(model.device),
        max_new_tokens=max_new_tokens,
        eos_token_id=list(stops),
        pad_token_id=tokenizer.pad_token_id,
        **drawing,
    )
    answers = output[:, inputs["input_ids"].shape[1] :]  # (B, new)
    return [_response(tokenizer, stops, *one) for one in zip(requests, inputs["attention_mask"], answers, strict=True)]


def _response(
    tokenizer: Any, stops: Sequence[int], request: Request, mask: torch.Tensor, answer: torch.Tensor
) -> Response:
    ids = answer.tolist()
    said = list(itertools.takewhile(lambda token: token not in stops, ids))
    return Response(
        id=request.id,
        text=tokenizer.decode(said, skip_special_tokens=True).strip(),
        logprobs=None,
        finish="stop" if len(said) < len(ids) else "length",
        prompt_tokens=int(mask.sum()),
        completion_tokens=len(said),
    )


def scored(request: Request, prompt_tokens: int, logits: torch.Tensor, answer: torch.Tensor) -> Response:
    """The response of a scored request from the logits before each answer token (L, V) and the answer (L,)."""
    logprobs = logits.float().log_softmax(dim=-1).gather(1, answer[:, None])[:, 0]
    return Response(
        id=request.id,
        text=request.response or "",
        logprobs=tuple(logprobs.tolist()),
        finish="scored",
        prompt_tokens=prompt_tokens,
        completion_tokens=len(answer),
    )


def by_temperature(requests: Iterable[Request]) -> Iterator[list[Request]]:
    """The requests in groups that one call of `generate` can serve."""
    groups: dict[tuple[float, int], list[Request]] = {}
    for one in requests:
        groups.setdefault((one.sampling.temperature, one.sampling.max_tokens), []).append(one)
    yield from groups.values()
