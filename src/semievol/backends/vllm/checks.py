"""What a server is asked before it is trusted with a run: its model, its tokens, its numbers, its adapters."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import openai

from semievol.backends.prompts import Prompts, TokenisedRequest
from semievol.backends.vllm.token_ids import MOST_IDS, choices
from semievol.errors import BackendError

SAMPLE = 3
"""Prompts of the user's that are tried."""
MOST_NOISE = 0.05
"""Nats by which one number asked for in two ways may differ; bfloat16 rounds to a few hundredths."""


class Probe:
    """Asks a server what it says to a few of the run's prompts.

    Args:
        client: of the server's `/v1`.
        url: the server's address, without `/v1`.
        rows: those of the run; a few of them are taken.
    """

    def __init__(self, client: openai.OpenAI, url: str, prompts: Prompts, rows: Sequence[TokenisedRequest]) -> None:
        self._client, self._url, self._prompts = client, url, prompts
        self._rows = rows[:: max(1, len(rows) // SAMPLE)][:SAMPLE]

    def cards(self) -> list[Mapping[str, Any]]:
        """What the server lists as its models.

        Raises:
            BackendError: it does not answer as vLLM does.
        """
        listed = self._asked(None, "/models")
        if not isinstance(listed, Mapping) or not isinstance(listed.get("data"), list):
            raise BackendError(f"{self._url} is not a vLLM server: it lists no models")
        return list(listed["data"])

    def check_tokens(self, base: str) -> None:
        """Checks that the server makes the same token ids of the run's prompts as the training does.

        Raises:
            BackendError: it does not.
        """
        template = self._prompts.template
        for row in self._rows:
            if template.marks_in(row.request.messages):
                continue  # the server would take them for control tokens in a text
            text = template.rendered(row.request.messages)
            body = {"model": base, "prompt": text, "add_special_tokens": False}
            answer = self._asked(body, f"{self._url}/tokenize")
            if not isinstance(answer, Mapping) or answer.get("tokens") != list(row.prompt):
                raise BackendError(
                    f"{self._url} makes other tokens of the prompt of {row.request.id} than model.name does: "
                    "it serves another model, or another revision; set model.name and model.revision to what it serves"
                )

    def check_numbers(self, base: str) -> None:
        """Checks that log-probabilities are had by token id, under the unmodified distribution.

        Raises:
            BackendError: they are not.
        """
        prompt = self._rows[0].prompt
        token = prompt[len(prompt) // 2]
        free, forced = self._ask(base, prompt, (token,)), self._ask(base, prompt, (token,), allowed_token_ids=[token])
        if abs(free[0] - forced[0]) > MOST_NOISE:
            raise BackendError(
                f"{self._url} gives log-probabilities after temperature, top-p and masks; "
                "start it with --logprobs-mode raw_logprobs"
            )

    def check_adapter(self, base: str, name: str, folder: str) -> None:
        """Checks that the server answers otherwise with an adapter than without, if it should.

        Raises:
            BackendError: it does not.
        """
        if not _changes_anything(folder):
            return
        for row in self._rows:
            ids = tuple(sorted(set(row.prompt)))[:MOST_IDS]
            once, again, adapted = (self._ask(model, row.prompt, ids) for model in (base, base, name))
            noise = max(abs(first - second) for first, second in zip(once, again, strict=True))
            if max(abs(first - second) for first, second in zip(again, adapted, strict=True)) > 2 * noise + 1e-6:
                return
        raise BackendError(
            f"the server answers with the adapter in {folder} as it does without: it does not apply it, or the adapter "
            "was trained so little that nothing of it is seen; see docs/vllm.md"
        )

    def _ask(self, model: str, prompt: Sequence[int], ids: Sequence[int], **options: object) -> list[float]:
        """Log P of each of `ids` as the token after `prompt`."""
        body = {
            "model": model,
            "prompt": list(prompt),
            "max_tokens": 1,
            "temperature": 0.0,
            "logprobs": len(ids),
            "logprob_token_ids": list(ids),
            "return_tokens_as_token_ids": True,
            "stop_token_ids": [],
            **options,
        }
        try:
            top = choices(self._asked(body, "/completions"))[0]["logprobs"]["top_logprobs"][0]
            return [float(top[f"token_id:{id_}"]) for id_ in ids]
        except (IndexError, KeyError, TypeError) as error:
            raise BackendError(
                f"{self._url} does not give the log-probabilities of the tokens it is asked for; "
                "it is no vLLM server, or an older one than 0.32, with which this is tested"
            ) from error

    def _asked(self, body: Mapping[str, Any] | None, path: str) -> object:
        try:
            if body is None:
                return self._client.get(path, cast_to=object)
            return self._client.post(path, body=dict(body), cast_to=object)
        except openai.APIStatusError as error:
            raise BackendError(f"{self._url}{path} answers {error.status_code}: {error.message}") from error
        except openai.APIError as error:
            raise BackendError(f"{self._url}: {error.__cause__ or error}") from error


def _changes_anything(folder: str) -> bool:
    """Whether an adapter's update is other than zero."""
    from safetensors import safe_open

    with safe_open(str(Path(folder) / "adapter_model.safetensors"), framework="pt") as tensors:
        updates = [name for name in tensors.keys() if "lora_B" in name]  # noqa: SIM118
        return not updates or any(bool(tensors.get_tensor(name).any()) for name in updates)
