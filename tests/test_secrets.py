"""Keys stay where they are: no error, log, reason or report of ours holds one."""

import json
import logging
from pathlib import Path

import pytest

from samples import topics_config
from semievol.backends.service.failures import Failure, of_status
from semievol.cli import main
from semievol.config import build, dump
from semievol.config.paths import path_of
from semievol.errors import BackendError, ConfigError, SemiEvolError, redacted
from semievol.pipeline import run
from service import Service
from service.http import Call, Reply, refusal

KEY = "sk-proj-0123456789abcdefghij"
OTHER = "hunter2-hunter2"


class Echoing(Service):
    """Refuses everything, and quotes the key that it was sent."""

    async def _chat(self, call: Call, fault: str | None) -> Reply | None:
        key = call.headers.get("authorization", "").removeprefix("Bearer ")
        return refusal(500, f"Incorrect API key provided: {key}.", code=key)


def service_config(folder: Path, url: str) -> dict:
    service = {"base_url": url, "max_retries": 0, "retry_wait": 0.001, "api_key_env": "MY_SERVICE"}
    return {
        "backend": {"kind": "openai", "service": service},
        "model": {"name": "base"},
        "warmup": {"enabled": False},
        "evaluate": {"models": ["base"]},
        "collaborate": {"collaborators": [{"weights": "base"}]},
    }


@pytest.mark.parametrize("key", [KEY, OTHER])
def test_a_service_that_echoes_the_key_has_it_nowhere_in_the_run(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_SERVICE", key)
    with Echoing() as service:
        config = tmp_path / "config.yaml"
        config.write_text(dump(topics_config(tmp_path, **service_config(tmp_path, service.url))), encoding="utf-8")
        assert main(["run", str(config)]) == 1
    said = capsys.readouterr()
    assert "Incorrect API key provided: [" in said.err
    assert key not in said.err + said.out
    holding = [path for path in (tmp_path / "run").rglob("*") if path.is_file() and key.encode() in path.read_bytes()]
    assert holding == []


@pytest.mark.parametrize("end", ["\n", "\r\n", " "])
def test_a_key_that_ends_in_a_newline_is_sent_without_it(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = set()

    class Noting(Service):
        async def _chat(self, call: Call, fault: str | None) -> Reply | None:
            keys.add(call.headers["authorization"])
            return await super()._chat(call, fault)

    monkeypatch.setenv("MY_SERVICE", KEY + end)
    with Noting() as service:
        run(topics_config(tmp_path, **service_config(tmp_path, service.url)), until="collaborate")
    assert keys == {f"Bearer {KEY}"}


def test_a_key_with_a_line_break_inside_is_refused_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_SERVICE", f"{OTHER}\n{KEY}")
    with pytest.raises(BackendError, match="MY_SERVICE holds a character that no key has") as caught:
        run(topics_config(tmp_path, **service_config(tmp_path, "http://127.0.0.1:9/v1")), until="collaborate")
    assert OTHER not in str(caught.value)


@pytest.mark.parametrize(
    "service",
    [
        {"api_key_env": [OTHER]},
        {"api_key_env": OTHER},
        {"api_key_env": {"key": OTHER}},
        {"extra_body": {"api_key": OTHER}},
        {"extra_body": {"headers": [{"Authorization": f"Bearer {OTHER}"}]}},
        {"base_url": f"https://me:{OTHER}@example.org/v1"},
        {"timeout": KEY},
    ],
)
def test_a_config_that_holds_a_key_is_refused_in_words_without_it(service: dict) -> None:
    with pytest.raises(ConfigError) as caught:
        build({"backend": {"kind": "openai", "service": service}})
    assert OTHER not in str(caught.value)
    assert KEY not in str(caught.value)


def test_an_address_with_a_password_is_refused_and_one_without_is_not() -> None:
    with pytest.raises(ConfigError, match=r"ftp://\[a password\]@host/runs: passwords do not belong in an address"):
        path_of(f"ftp://me:{OTHER}@host/runs")
    assert str(path_of("memory://me@bucket/run:1@2")).startswith("memory://")


def test_extra_fields_that_are_no_keys_are_taken() -> None:
    extra = {"reasoning_effort": "low", "max_completion_tokens": 5, "stop_token_ids": [1], "key_value": 1}
    assert build({"backend": {"service": {"extra_body": extra}}}).backend.service.extra_body == extra


@pytest.mark.parametrize(
    "key",
    [KEY, "hf_" + "a1B2" * 8, "gsk_" + "a1B2" * 8, "AIza" + "a1B2" * 9, "ghp_" + "a1B2" * 9, "AKIA" + "A1B2" * 4],
)
def test_what_looks_like_a_key_is_taken_out_wherever_it_comes_from(key: str) -> None:
    assert redacted(f"no model {key}!") == "no model [a key]!"
    assert key not in str(SemiEvolError(f"the key {key} is wrong"))
    assert key not in Failure("again", f"the key {key} is wrong").reason
    assert key not in of_status(400, {"error": {"message": {"sent": key}}}, {}).reason


def test_secrets_of_the_environment_are_taken_out_and_short_or_other_values_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {"WANDB_API_KEY": OTHER, "DB_PASSWORD": "pass", "EDITOR": "emacs-with-a-long-name"}.items():
        monkeypatch.setenv(name, value)
    assert redacted(f"{OTHER}, pass, emacs-with-a-long-name") == "[WANDB_API_KEY], pass, emacs-with-a-long-name"


def test_words_that_only_begin_like_a_key_stay() -> None:
    for text in ("sk-learn", "risk-assessment-of-everything-everywhere", "hf_transfer", "gsk_", "the bearer of news"):
        assert redacted(text) == text


def test_a_log_holds_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from semievol.progress import log_to

    monkeypatch.setenv("SOME_TOKEN", OTHER)
    handler = log_to(tmp_path / "run.log")
    try:
        logging.getLogger("semievol.test").warning("sent %s and %s", OTHER, KEY)
        try:
            raise ValueError(OTHER)
        except ValueError:
            logging.getLogger("semievol.test").exception("what broke")
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
    log = (tmp_path / "run.log").read_text()
    assert "sent [SOME_TOKEN] and [a key]" in log
    assert "Traceback" in log
    assert OTHER not in log


def test_a_fault_of_ours_is_told_as_a_traceback_without_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOME_TOKEN", OTHER)

    def broken(*_: object) -> None:
        raise ZeroDivisionError(f"with {OTHER}")

    monkeypatch.setitem(__import__("semievol.cli", fromlist=["COMMANDS"]).COMMANDS, "env", broken)
    assert main(["env"]) == 1
    said = capsys.readouterr().err
    assert "ZeroDivisionError: with [SOME_TOKEN]" in said
    assert OTHER not in said


def test_reasons_of_failures_hold_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SERVICE", OTHER)

    class EchoingOnce(Service):
        async def _chat(self, call: Call, fault: str | None) -> Reply | None:
            if b"rain" in call.body:
                return refusal(400, f"you sent {call.headers['authorization']}")
            return await super()._chat(call, fault)

    with EchoingOnce() as service:
        run(topics_config(tmp_path, **service_config(tmp_path, service.url)), until="collaborate")
    reasons = [json.loads(path.read_text()) for path in (tmp_path / "run").rglob("*.failed.json")]
    assert "[MY_SERVICE]" in json.dumps(reasons)
    assert OTHER not in json.dumps(reasons)
