"""Paths as a user writes them."""

from pathlib import Path

import pytest

from samples import topics_config
from semievol.cli import main
from semievol.config import build, dump, load
from semievol.config.paths import expanded
from semievol.errors import ConfigError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder, and another one to work in."""
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("NOWHERE", raising=False)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


@pytest.mark.parametrize("text", ["~/a b", "$HOME/a b", "${HOME}/a b"])
def test_the_home_folder_is_what_it_is_in_a_shell(text: str, home: Path) -> None:
    assert expanded(text) == str(home / "a b")
    assert build({"output": text}).output == str(home / "a b")


def test_an_address_keeps_its_slashes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKET", "things")
    assert expanded("s3://$BUCKET/runs//one") == "s3://things/runs//one"
    assert expanded("-") == "-"


def test_a_null_character_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match="a path has no null character"):
        build({"output": "a\0b"})


@pytest.mark.parametrize("text", ["$NOWHERE/run", "${NOWHERE}/run", "~no-such-user/run"])
def test_what_cannot_be_expanded_is_said_and_is_no_name(text: str, home: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(ConfigError, match=r"not set in the environment|no home folder"):
        build({"output": text})
    with pytest.raises(SystemExit):
        main(["status", text])
    assert capsys.readouterr().err.count("error: argument") == 1


def test_a_file_whose_name_has_a_dollar_or_a_tilde_is_itself(home: Path) -> None:
    for name in ("cost$5.yaml", "~no-such-user"):
        Path(name).touch()
        assert expanded(name) == name


def test_a_folder_called_tilde_is_not_the_home_folder(home: Path) -> None:
    Path("~/run").mkdir(parents=True)
    assert expanded("~/run") == str(home / "run")


@pytest.mark.parametrize("output", ["~/runs/one", "$HOME/runs/one"])
def test_a_run_lies_in_the_home_folder_and_every_command_finds_it(output: str, home: Path) -> None:
    (home / "topics.yaml").write_text(dump(topics_config(home)), encoding="utf-8")
    assert main(["run", "~/topics.yaml", "--set", f"output={output}"]) == 0
    assert (home / "runs/one/evaluate/done.json").exists()
    (home / "new.csv").write_text("text\nrain snow\n", encoding="utf-8")
    assert main(["predict", "$HOME/runs/one", "--input", "~/new.csv", "--output", "~/answers.jsonl"]) == 0
    assert (home / "answers.jsonl").exists()
    assert main(["status", "~/runs/one"]) == 0
    assert not list(Path().iterdir())


def test_init_and_experiments_take_them_too(home: Path) -> None:
    assert main(["init", "~/mine.yaml"]) == 0
    assert (home / "mine.yaml").exists()
    (home / "topics.yaml").write_text(dump(topics_config(home)), encoding="utf-8")
    arguments = ["compare", "~/topics.yaml", "--out", "$HOME/compared", "--methods", "vanilla", "--no-search"]
    assert main(arguments) == 0
    assert (home / "compared/compare/topics/results.csv").exists()
    assert not list(Path().iterdir())


def test_data_beside_a_config_is_found_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    (project / "rows").mkdir(parents=True)
    elsewhere.mkdir()
    for name in ("labeled.csv", "rows/a1.csv", "rows/a2.csv", "test.csv"):
        (project / name).write_text("text,topic\na,b\n")
    data = {"labeled": "labeled.csv", "unlabeled": ["rows/a*.csv", "$HOME/x.csv"], "test": "test.csv"}
    (project / "mine.yaml").write_text(dump(build({"data": data})))
    monkeypatch.chdir(elsewhere)
    (elsewhere / "test.csv").write_text("text,topic\na,b\n")
    found = load(str(project / "mine.yaml")).data
    assert found.labeled == str(project / "labeled.csv")
    assert found.unlabeled == (str(project / "rows/a*.csv"), "$HOME/x.csv")
    assert found.test == "test.csv"  # what is where the command runs comes first
    assert found.layout == "auto"
