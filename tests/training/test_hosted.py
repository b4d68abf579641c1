"""Training at a service, with the real client over a socket."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai")

from semievol.config import Config, ModelConfig, ServiceConfig, TrainingConfig, build
from semievol.costs.budget import Budget, costs
from semievol.costs.prices import Price
from semievol.errors import BackendError, BudgetError, Stopped, TrainingError
from semievol.records import Message, TrainingExample
from semievol.run_folder.folder import RunFolder
from semievol.training import Trained, open_trainer
from semievol.training.hosted import open_provider
from semievol.training.hosted import trainer as trainer_module
from semievol.training.hosted.openai import NOTICE, OpenAIProvider
from semievol.training.hosted.rows import write_rows
from semievol.training.job import Job
from service import Service, first

BASE = ModelConfig(name="base")
WORDS = {"weather": "rain snow wind", "sport": "goal match team", "money": "bank loan tax"}


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("TEST_KEY", "secret")
    monkeypatch.setattr(trainer_module, "PAUSES", (0.01, 0.01))
    with Service() as running:
        yield running


def rows(count: int = 12) -> list[TrainingExample]:
    topics = list(WORDS)
    return [
        TrainingExample(f"row-{i}", (Message(role="user", content=WORDS[topics[i % 3]]),), topics[i % 3])
        for i in range(count)
    ]


def recipe(service: Service, provider: str = "openai", **options: Any) -> TrainingConfig:
    hosted = {"provider": provider, "poll_seconds": 0.01, **options.pop("hosted", {})}
    connection = {"base_url": service.url, "api_key_env": "TEST_KEY"}
    config: Config = build(
        {
            "model": {"name": "base"},
            "backend": {"kind": "openai", "service": connection},
            "training": {"kind": "hosted", "hosted": hosted, **options},
        }
    )
    return config.recipe("warmup")


class Told:
    """Keeps what a trainer says of its progress; stops it when asked to."""

    def __init__(self, stop_at: str | None = None) -> None:
        self.notes: list[str] = []
        self.steps: list[tuple[int, int, float | None]] = []
        self._stop_at = stop_at

    def __call__(self, step: int, steps: int, loss: float | None, note: str = "") -> None:
        self.steps.append((step, steps, loss))
        self.notes += [note] if note else []
        if self._stop_at is not None and any(self._stop_at in each for each in self.notes):
            raise Stopped("stopped")


def train(
    service: Service,
    out: Path,
    examples: list[TrainingExample] | None = None,
    told: Told | None = None,
    budget: Budget | None = None,
    start_from: str | None = None,
    **options: Any,
) -> Trained:
    made = recipe(service, **options)
    trainer = open_trainer(made, budget)
    return trainer.train(Job(BASE, examples or rows(), made, out, 7, start_from), told or Told())


def test_the_tuned_models_name_comes_back_and_the_rows_went_up_as_chats(service: Service, tmp_path: Path) -> None:
    trained = train(service, tmp_path / "out", num_train_epochs=4)
    (job,) = service.tuning.made.values()
    (file,) = service.files.stored.values()
    assert trained.weights == job.fine_tuned_model
    assert trained.tokens == job.trained_tokens
    assert file.purpose == "fine-tune"
    sent = [json.loads(line) for line in file.content.splitlines()]
    assert sent[0] == {
        "messages": [{"role": "user", "content": "rain snow wind"}, {"role": "assistant", "content": "weather"}]
    }
    assert len(sent) == 12
    assert file.content == (tmp_path / "out" / "rows.jsonl").read_bytes()
    assert job.recipe == {"n_epochs": 4, "batch_size": 8, "learning_rate_multiplier": "auto"}
    assert (job.request["model"], job.request["seed"], job.request["suffix"]) == ("base", 7, "semievol")


def test_steps_losses_and_states_are_told(service: Service, tmp_path: Path) -> None:
    told = Told()
    trained = train(service, tmp_path / "out", told=told)
    assert (1, 12, 1.5) in told.steps
    assert trained.losses == (1.5,)
    assert any("job ftjob-1 at 127.0.0.1: running" in note for note in told.notes)


def test_options_that_the_provider_decides_itself_are_said_once(service: Service, tmp_path: Path) -> None:
    told = Told()
    train(service, tmp_path / "out", told=told)
    said = [note for note in told.notes if "no effect" in note]
    assert len(said) == 1
    assert all(name in said[0] for name in ("learning_rate", "lora_r", "warmup_ratio"))
    assert not any(name in said[0] for name in ("num_train_epochs", "per_device_train_batch_size", "report_to"))


def test_a_tuned_model_is_trained_further(service: Service, tmp_path: Path) -> None:
    warm = train(service, tmp_path / "warm")
    train(service, tmp_path / "evolved", start_from=warm.weights)
    assert service.tuning.made["ftjob-2"].request["model"] == warm.weights


def test_a_stopped_training_is_taken_up_without_a_second_upload_or_job(service: Service, tmp_path: Path) -> None:
    service.tuning.waiting = True
    with pytest.raises(Stopped, match=r"the job ftjob-1 goes on at 127\.0\.0\.1, and is paid.*semievol cancel ends it"):
        train(service, tmp_path / "out", told=Told(stop_at="ftjob-1"))
    service.tuning.waiting = False
    trained = train(service, tmp_path / "out")
    assert trained.weights == service.tuning.made["ftjob-1"].fine_tuned_model
    assert (service.files.uploads, len(service.tuning.made)) == (1, 1)
    assert train(service, tmp_path / "out") == trained  # killed after the job ended and before the stage did


def test_answers_that_get_lost_are_looked_for_and_not_asked_for_again(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("losing.LosesAnswers.lost", set())
    told = Told()
    train(service, tmp_path / "out", told=told, hosted={"provider": "losing:LosesAnswers"})
    assert (service.files.uploads, len(service.tuning.made)) == (1, 1)
    assert any("the connection broke; asking again" in note for note in told.notes)


@pytest.mark.parametrize("fault", ["500", "429", "503", "drop"])
def test_a_service_that_is_busy_for_a_while_is_waited_for(fault: str, service: Service, tmp_path: Path) -> None:
    service.faults = first(fault, path="/fine_tuning/jobs")
    train(service, tmp_path / "out")
    assert service.log.faults[fault] == 1
    assert len(service.tuning.made) == 1


def test_a_failed_job_says_the_services_own_words_and_the_next_run_starts_anew(
    service: Service, tmp_path: Path
) -> None:
    service.tuning.outcomes.append("failed")
    with pytest.raises(TrainingError, match=r"ftjob-1 failed at .*The job failed to train\..*\n.*starts a new job"):
        train(service, tmp_path / "out")
    assert train(service, tmp_path / "out").weights == service.tuning.made["ftjob-2"].fine_tuned_model


def test_a_cancelled_job_is_said_and_the_next_run_starts_a_new_one(service: Service, tmp_path: Path) -> None:
    service.tuning.outcomes.append("cancelled")
    with pytest.raises(TrainingError, match=r"ftjob-1 was cancelled at .*the same command starts a new one"):
        train(service, tmp_path / "out")
    assert train(service, tmp_path / "out").weights == service.tuning.made["ftjob-2"].fine_tuned_model


def test_a_service_that_takes_no_more_jobs_is_refused_with_its_words(service: Service, tmp_path: Path) -> None:
    service.faults = first("403", path="/fine_tuning/jobs")
    with pytest.raises(TrainingError, match="starting the job: 403: Your organization may not"):
        train(service, tmp_path / "out")


class PretendsToBeOpenAI(OpenAIProvider):
    def __init__(self, service: Any) -> None:
        super().__init__(service)
        self.rules = replace(self.rules, notice=NOTICE)


def test_openais_refusal_comes_with_the_closing_dates_and_what_else_to_do(service: Service, tmp_path: Path) -> None:
    service.faults = first("403", path="/fine_tuning/jobs")
    with pytest.raises(TrainingError, match=r"403(.|\n)*6 January 2027(.|\n)*provider together"):
        train(service, tmp_path / "out", provider=f"{__name__}:PretendsToBeOpenAI")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": 0.5}, r"row row-3: .* gives every row the same weight and this one has 0\.5"),
        ({"response": " "}, "row row-3: the answer is empty"),
        ({"messages": ({"role": "user", "content": ""},)}, "row row-3: message 1, of the user, is empty"),
        ({"messages": ({"role": "tool", "content": "x"},)}, "row row-3: message 1 has the role 'tool'"),
        ({"messages": ({"role": "assistant", "content": "x"},)}, "the last message before the answer is not the user"),
        (
            {"messages": ({"role": "user", "content": "x"}, {"role": "system", "content": "y"})},
            "message 2 is a system message",
        ),
    ],
)
def test_rows_that_would_be_refused_or_trained_otherwise_are_named_before_the_upload(
    change: dict[str, Any], message: str, service: Service, tmp_path: Path
) -> None:
    examples = rows()
    examples[3] = replace(examples[3], **change)
    with pytest.raises(TrainingError, match=message):
        train(service, tmp_path / "out", examples)
    assert service.log.paths == {}


def test_too_few_rows_and_too_large_a_file_are_refused_before_the_upload(service: Service, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="trains on 10 rows at least and there are 9"):
        train(service, tmp_path / "out", rows(9))
    rules = open_provider(recipe(service)).rules
    assert rules.most_bytes == 512 * 2**20
    with pytest.raises(TrainingError, match=r"the rows are 0\.\d+ MiB and .* takes 0\.\d+ at most"):
        write_rows(tmp_path / "rows.jsonl", rows(), replace(rules, most_bytes=1000))
    assert service.log.paths == {}


def test_a_missing_key_is_named_by_its_variable(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_KEY")
    made = recipe(service)
    elsewhere = ServiceConfig(api_key_env="TEST_KEY")
    made = made.model_copy(update={"hosted": made.hosted.model_copy(update={"service": elsewhere})})
    with pytest.raises(BackendError, match="wants a key: set the environment variable TEST_KEY"):
        open_trainer(made).train(Job(BASE, rows(), made, tmp_path / "out", 7))


def test_a_training_that_may_cost_more_than_is_left_is_not_started(service: Service, tmp_path: Path) -> None:
    ledger = RunFolder(tmp_path).costs_path
    price = Price(training=1000.0)
    with pytest.raises(BudgetError, match=r"would cost about \$0\.\d\d \(\d+ tokens, estimated\).*higher --max-cost"):
        train(service, tmp_path / "out", budget=Budget(ledger, price, 0.05))
    assert service.log.paths == {}
    trained = train(service, tmp_path / "out", budget=Budget(ledger, price, 1.0))
    train(service, tmp_path / "out", budget=Budget(ledger, price, 1.0))  # as after a kill: charged once
    paid = costs(RunFolder(tmp_path))
    assert (paid.trainings, paid.training_tokens) == (1, trained.tokens)
    assert paid.dollars == pytest.approx(trained.tokens / 1000)


def test_a_job_that_runs_already_is_waited_for_whatever_the_limit(service: Service, tmp_path: Path) -> None:
    ledger = RunFolder(tmp_path).costs_path
    service.tuning.waiting = True
    with pytest.raises(Stopped):
        train(service, tmp_path / "out", told=Told("ftjob-1"), budget=Budget(ledger, Price(training=1000.0), 1.0))
    service.tuning.waiting = False
    train(service, tmp_path / "out", budget=Budget(ledger, Price(training=1000.0), 0.001))
    assert costs(RunFolder(tmp_path)).trainings == 1


def test_together_trains_with_its_own_endpoints_and_our_whole_recipe(service: Service, tmp_path: Path) -> None:
    trained = train(
        service,
        tmp_path / "out",
        provider="together",
        lora_r=4,
        lora_target_modules=("q_proj", "v_proj"),
        lr_scheduler_type="constant",
    )
    (job,) = service.together.made.values()
    assert trained.weights == job.model_output_name == "me/base-semievol-ft-1"
    assert trained.steps == 4
    assert job.request["learning_rate"] == 1e-4
    assert job.request["training_type"] == {
        "type": "Lora",
        "lora_r": 4,
        "lora_alpha": 32,
        "lora_dropout": 0.0,
        "lora_trainable_modules": "q_proj,v_proj",
    }
    assert job.request["lr_scheduler"] == {"lr_scheduler_type": "linear", "lr_scheduler_args": {"min_lr_ratio": 1.0}}
    train(service, tmp_path / "more", provider="together", start_from=trained.weights)
    assert service.together.made["ft-2"].request["from_checkpoint"] == trained.weights
    assert service.together.made["ft-2"].request["model"] == "base"


def test_together_is_taken_up_too_and_its_failures_are_told(service: Service, tmp_path: Path) -> None:
    with pytest.raises(Stopped, match="the job ft-1 goes on at Together"):
        train(service, tmp_path / "out", provider="together", told=Told("ft-1"))
    record = json.loads((tmp_path / "out" / "job.json").read_text())
    (tmp_path / "out" / "job.json").write_text(json.dumps({**record, "job": None, "file": None}))
    train(service, tmp_path / "out", provider="together")
    assert (service.files.uploads, len(service.together.made)) == (1, 1)
    service.together.outcomes.append("error")
    with pytest.raises(TrainingError, match=r"ft-2 failed at Together: The dataset could not be tokenized\."):
        train(service, tmp_path / "bad", provider="together")


def test_together_wants_user_and_assistant_to_take_turns(service: Service, tmp_path: Path) -> None:
    twice: Message = {"role": "user", "content": "x"}
    examples = [replace(each, messages=(twice, twice)) for each in rows()]
    with pytest.raises(TrainingError, match="row row-0: Together wants user and assistant to take turns"):
        train(service, tmp_path / "out", examples, provider="together")
