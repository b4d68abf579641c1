"""Whole runs at a service: asked and trained there, with the real client over a socket."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai")

from samples import topics_config
from semievol.cli import main
from semievol.config import Config, dump
from semievol.costs.budget import costs
from semievol.errors import Stopped
from semievol.pipeline import run
from semievol.progress import Reporter
from semievol.report import finish
from semievol.run_folder.folder import RunFolder
from semievol.training.folder import TrainingFolder
from service import Service, random_faults
from service.faults import no_faults

PRICES = {"input": 10.0, "output": 20.0, "tuned_input": 20.0, "tuned_output": 40.0, "training": 30.0}


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("TEST_KEY", "secret")
    with Service(noise=0.2) as running:
        yield running


def hosted_config(folder: Path, service: Service, provider: str = "openai", **sections: Any) -> Config:
    """Topics, asked and trained at the test service."""
    raw: dict[str, Any] = {
        "model": {"name": "base"},
        "backend": {"kind": "openai", "service": {"base_url": service.url, "api_key_env": "TEST_KEY"}},
        "training": {"kind": "hosted", "hosted": {"provider": provider, "poll_seconds": 0.02}},
        **sections,
    }
    return topics_config(folder, **raw)


def tuned(service: Service) -> list[str | None]:
    return [job.fine_tuned_model for job in service.tuning.made.values()]


def write(config: Config, folder: Path) -> str:
    path = folder / "topics.yaml"
    path.write_text(dump(config), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("provider", ["openai", "together"])
def test_a_run_is_trained_at_a_service_twice_and_its_models_answer_there(
    provider: str, service: Service, tmp_path: Path
) -> None:
    result = run(hosted_config(tmp_path, service, provider))
    made = service.tuning.made if provider == "openai" else service.together.made
    warm, evolved = (getattr(job, "fine_tuned_model", None) or job.model_output_name for job in made.values())
    assert result.weights == evolved
    assert result.metrics is not None
    accuracy = {name: figures["accuracy"] for name, figures in result.metrics["models"].items()}
    assert accuracy["warm"] > accuracy["base"]
    assert accuracy["evolved"] > accuracy["base"]
    assert TrainingFolder(RunFolder(tmp_path / "run").stage("warmup")).weights == warm
    asked = {json.loads(each)["model"] for each in service.log.asked}
    assert asked == {"base", warm, evolved}


def test_report_card_status_and_predict_carry_the_models_name(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(hosted_config(tmp_path, service, costs={"prices": PRICES}), tmp_path)
    assert main(["run", path]) == 0
    name = tuned(service)[-1]
    assert name is not None
    assert f"evolved model: {name}" in capsys.readouterr().out
    folder = RunFolder(tmp_path / "run")
    page, card = folder.report_path.read_text(encoding="utf-8"), folder.card_path.read_text(encoding="utf-8")
    assert name in page
    assert "paid to services, all sessions together" in page
    assert f'model="{name}"' in card
    assert "peft" not in card.lower()
    code = card.split("```python\n")[1].split("```")[0]
    compile(code, "card", "exec")
    assert main(["status", path]) == 0
    shown = capsys.readouterr().out
    assert "2 trainings" in shown
    assert "evolve" in shown
    (tmp_path / "new.csv").write_text("text\nrain snow storm\ngoal match team\n", encoding="utf-8")
    assert main(["predict", path, "--input", str(tmp_path / "new.csv")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    last = list(service.log.asked)[-2:]
    assert [json.loads(each)["model"] for each in last] == [name, name]


def test_evolution_goes_on_from_the_warm_model_where_it_is_told_to(service: Service, tmp_path: Path) -> None:
    run(hosted_config(tmp_path, service, evolve={"start_from": "warm"}), until="evolve")
    assert [job.request["model"] for job in service.tuning.made.values()] == ["base", tuned(service)[0]]


def test_a_job_is_found_from_another_machine_where_the_run_is_at_an_address(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("upath")
    config = hosted_config(tmp_path, service, output=f"memory://hosted/{tmp_path.name}")
    monkeypatch.setenv("SEMIEVOL_CACHE", str(tmp_path / "one"))
    result = run(config)
    (RunFolder(config.output).stage("evolve").path / "done.json").unlink()  # as after a kill while it waited
    monkeypatch.setenv("SEMIEVOL_CACHE", str(tmp_path / "other"))
    assert run(config).weights == result.weights == tuned(service)[-1]
    assert len(tuned(service)) == 2


def test_rounds_hand_on_the_names(service: Service, tmp_path: Path) -> None:
    result = run(hosted_config(tmp_path, service, rounds=2))
    assert len(service.tuning.made) == 3
    assert result.weights == tuned(service)[-1]
    assert {json.loads(each)["model"] for each in service.log.asked} >= {"base", *tuned(service)}


def run_process(path: str, **environment: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "semievol.cli", "run", path],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("step", ["upload", "start", "points"])
def test_a_run_that_is_killed_around_a_job_uploads_and_starts_it_once(
    step: str, service: Service, tmp_path: Path
) -> None:
    path = write(hosted_config(tmp_path, service, provider="losing:Dies"), tmp_path)
    assert run_process(path, DIE_AFTER=step).returncode == -9
    assert not (tmp_path / "run" / "warmup" / "done.json").exists()
    done = run_process(path)
    assert done.returncode == 0, done.stderr
    assert (service.files.uploads, len(service.tuning.made)) == (2, 2)  # one each for warm-up and evolution
    assert TrainingFolder(RunFolder(tmp_path / "run").stage("evolve")).weights == tuned(service)[-1]


def test_a_run_that_is_killed_after_the_job_and_before_the_stage_is_done_starts_no_other(
    service: Service, tmp_path: Path
) -> None:
    config = hosted_config(tmp_path, service)
    run(config, until="warmup")
    stage = RunFolder(tmp_path / "run").stage("warmup")
    (stage.path / "done.json").unlink()
    run(config, until="warmup")
    assert TrainingFolder(stage).weights == tuned(service)[0]
    assert (service.files.uploads, len(service.tuning.made)) == (1, 1)


def test_a_failed_job_ends_the_command_with_the_services_words(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service.tuning.outcomes.append("failed")
    path = write(hosted_config(tmp_path, service), tmp_path)
    assert main(["run", path]) == 1
    assert "ftjob-1 failed at 127.0.0.1: The job failed to train." in capsys.readouterr().err
    assert main(["run", path]) == 0
    assert len(service.tuning.made) == 3


def test_cancel_ends_the_job_that_a_stopped_run_waits_for(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(hosted_config(tmp_path, service, provider="losing:Dies"), tmp_path)
    assert main(["cancel", path]) == 1
    assert "no job of this run is under way" in capsys.readouterr().err
    assert run_process(path, DIE_AFTER="points").returncode == -9
    assert main(["cancel", path]) == 0
    assert "warmup: the job ftjob-1 at 127.0.0.1 is cancelled" in capsys.readouterr().out
    assert service.tuning.made["ftjob-1"].status == "cancelled"
    assert main(["run", path]) == 1
    assert "ftjob-1 was cancelled" in capsys.readouterr().err
    assert main(["run", path]) == 0


def test_redo_ends_the_job_that_nobody_will_wait_for(service: Service, tmp_path: Path, capsys) -> None:
    path = write(hosted_config(tmp_path, service, provider="losing:Dies"), tmp_path)
    assert run_process(path, DIE_AFTER="points").returncode == -9
    assert main(["run", path, "--redo", "warmup"]) == 0
    assert "warmup: the job ftjob-1 at 127.0.0.1 is cancelled: the stage is made anew" in capsys.readouterr().err
    assert service.tuning.made["ftjob-1"].status == "cancelled"


def test_redo_goes_on_where_the_service_does_not_end_the_job(service: Service, tmp_path: Path, capsys) -> None:
    path = write(hosted_config(tmp_path, service, provider="losing:Dies"), tmp_path)
    assert run_process(path, DIE_AFTER="points").returncode == -9
    service.tuning.made["ftjob-1"].status = "succeeded"
    assert main(["run", path, "--redo", "warmup"]) == 0
    assert "warmup: the stage is made anew, and its job was not cancelled: " in capsys.readouterr().err


def test_a_job_on_rows_that_change_afterwards_is_ended_and_another_started(service: Service, tmp_path: Path) -> None:
    class Impatient(Reporter):
        def say(self, line: str) -> None:
            self.stopping = self.stopping or "evolve: job ftjob-2" in line

    connection = {"base_url": service.url, "api_key_env": "TEST_KEY", "max_retries": 0, "retry_wait": 0.01}
    config = hosted_config(tmp_path, service, backend={"kind": "openai", "service": connection})
    service.faults = random_faults(0.1, ["500"], most=1)
    with pytest.raises(Stopped, match="ftjob-2 goes on"):
        run(config, reporter=Impatient())
    assert service.log.faults["500"] > 0
    service.faults = no_faults
    result = run(config)
    assert service.tuning.made["ftjob-2"].status == "cancelled"
    assert result.weights == service.tuning.made["ftjob-3"].fine_tuned_model


def test_ctrl_c_leaves_the_job_to_the_service_and_the_same_command_waits_for_it(
    service: Service, tmp_path: Path
) -> None:
    service.tuning.waiting = True
    path = write(hosted_config(tmp_path, service), tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "semievol.cli", "run", path],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not service.tuning.made and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the job ftjob-1 goes on at 127.0.0.1, and is paid. The same command waits for it" in error
    assert "semievol cancel ends it" in error
    service.tuning.waiting = False
    assert main(["run", path]) == 0
    assert (service.files.uploads, len(service.tuning.made)) == (2, 2)


def test_the_limit_stops_the_run_and_a_higher_one_goes_on_without_asking_twice(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(hosted_config(tmp_path, service, costs={"prices": PRICES}), tmp_path)
    free = tmp_path / "free"
    free.mkdir()
    run(hosted_config(free, service, costs={"prices": PRICES}))
    whole = costs(RunFolder(free / "run")).dollars
    service.log.answered.clear()
    limits = [whole * share for share in (0.3, 0.5, 0.75)]
    for limit in limits:
        assert main(["run", path, "--max-cost", str(limit)]) == 1
        assert "costs.max_cost" in capsys.readouterr().err
        assert 0 < costs(RunFolder(tmp_path / "run")).dollars <= limit
    assert main(["run", path, "--max-cost", str(2 * whole)]) == 0
    assert costs(RunFolder(tmp_path / "run")).dollars == pytest.approx(whole, rel=0.05)
    assert max(service.log.answered.values()) == 1
    facts = RunFolder(tmp_path / "run").facts()
    assert len(facts["sessions"]) == 4
    assert facts["costs"]["dollars"] == costs(RunFolder(tmp_path / "run")).dollars
    assert facts["costs"]["trainings"] == 2


def test_the_limit_of_a_grid_is_for_all_its_runs_and_a_higher_one_pays_nothing_twice(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(hosted_config(tmp_path, service, costs={"prices": PRICES}), tmp_path)
    command = ["experiment", "entropy", "--config", path, "--out"]

    def paid(out: Path) -> float:
        return sum(costs(RunFolder(ledger.parent)).dollars for ledger in out.rglob("costs.jsonl"))

    assert main([*command, str(tmp_path / "free")]) == 0
    whole = paid(tmp_path / "free")
    service.log.answered.clear()
    trained = len(service.tuning.made)
    out = tmp_path / "limited"
    assert main([*command, str(out), "--max-cost", str(0.6 * whole)]) == 1
    assert "costs.max_cost" in capsys.readouterr().err
    assert 0 < paid(out) <= 0.6 * whole
    assert main([*command, str(out), "--max-cost", str(2 * whole)]) == 0
    assert paid(out) == pytest.approx(whole, rel=0.05)
    assert len(service.tuning.made) == 2 * trained
    assert max(service.log.answered.values()) == 1


def test_a_training_that_does_not_fit_is_refused_before_the_upload(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(hosted_config(tmp_path, service, costs={"prices": {**PRICES, "training": 1e6}}), tmp_path)
    assert main(["run", path, "--max-cost", "1"]) == 1
    assert "the training would cost about $" in capsys.readouterr().err
    assert service.files.uploads == 0


def test_a_limit_without_a_price_is_refused_and_the_missing_prices_named(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(hosted_config(tmp_path, service, costs={"prices": {"input": 1, "output": 1}}), tmp_path)
    assert main(["run", path, "--max-cost", "1"]) == 1
    error = capsys.readouterr().err
    assert "set costs.prices.tuned_input, costs.prices.tuned_output, costs.prices.training" in error
    assert sum(service.log.paths.values()) == 0


def test_a_service_that_takes_no_jobs_is_said(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from service import first

    service.faults = first("403", path="/fine_tuning/jobs")
    path = write(hosted_config(tmp_path, service), tmp_path)
    assert main(["run", path]) == 1
    assert "starting the job: 403: Your organization may not" in capsys.readouterr().err


def test_plan_says_requests_tokens_dollars_and_that_openai_is_closing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    config = topics_config(
        tmp_path,
        model={"name": "gpt-4o-mini-2024-07-18"},
        backend={"kind": "openai", "service": {"requests_per_minute": 60}},
        training={"kind": "hosted"},
    )
    path = write(config, tmp_path)
    assert main(["plan", path, "--max-cost", "0.0001"]) == 0
    shown = capsys.readouterr().out
    for words in ("collaborate", "160", "answer tokens", "developers.openai.com", "6 January 2027", "$0.0"):
        assert words in shown
    assert "costs.max_cost stops the run at $0.00" in shown
    assert not (tmp_path / "run").exists()


def test_plan_of_an_unknown_model_counts_tokens_and_says_that_it_knows_no_price(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", write(hosted_config(tmp_path, service), tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "no price is known" in shown
    assert "set costs.prices.input" in shown
    assert "$" not in shown.split("note:")[0]


def test_a_tuned_model_cannot_be_asked_on_this_machine(tmp_path: Path) -> None:
    from semievol.errors import ConfigError

    with pytest.raises(ConfigError, match="a model tuned at a service answers only there"):
        topics_config(tmp_path, training={"kind": "hosted"})


def test_finish_writes_the_report_of_a_run_that_is_under_way(service: Service, tmp_path: Path) -> None:
    run(hosted_config(tmp_path, service), until="warmup")
    finish(tmp_path / "run")
    assert "It is not trained yet" in RunFolder(tmp_path / "run").card_path.read_text(encoding="utf-8")
