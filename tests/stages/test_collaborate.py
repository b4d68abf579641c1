"""Who collaborates, and what each is asked."""

import pytest

from samples import topics_config
from semievol.config import build
from semievol.pipeline import run
from semievol.run_folder.folder import RunFolder
from semievol.stages.collaborate import collaborators
from semievol.stages.round import seed_of


def names(**sections: object) -> list[str]:
    return [one.name for one in collaborators(build(sections))]


def test_collaborators_are_drawn_from_base_and_warm_with_0_to_k_examples() -> None:
    drawn = names(collaborate={"n": 8})
    assert sorted(drawn) == [f"{w}+{k}" for w in ("base", "warm") for k in range(4)]


def test_the_draw_depends_on_the_seed_alone() -> None:
    assert names(seed=1) == names(seed=1)
    assert len({tuple(names(seed=seed)) for seed in range(20)}) > 10


def test_no_collaborator_is_drawn_twice_before_all_are_taken() -> None:
    assert len(set(names(collaborate={"n": 8}))) == 8
    assert len(set(names(collaborate={"n": 11})[:8])) == 8
    assert len(names(collaborate={"n": 11})) == 11


def test_a_draw_of_more_begins_with_the_draw_of_fewer() -> None:
    assert names(collaborate={"n": 5})[:3] == names(collaborate={"n": 3})


def test_listed_collaborators_are_taken_as_they_are() -> None:
    listed = [{"weights": "warm", "examples": 2}, {"weights": "base"}]
    assert names(collaborate={"collaborators": listed}) == ["warm+2", "base+0"]


def test_without_in_weight_propagation_all_are_the_base_model() -> None:
    assert set(names(warmup={"enabled": False})) == {"base+0", "base+1", "base+2", "base+3"}


def test_without_in_context_propagation_none_sees_examples() -> None:
    assert set(names(retrieval={"enabled": False})) == {"base+0", "warm+0"}


def test_without_collaborative_learning_the_warm_model_answers_alone() -> None:
    assert names(collaborate={"enabled": False}) == ["warm+0"]


def test_a_seed_depends_on_every_part() -> None:
    assert seed_of(0, 1, "row") == seed_of(0, 1, "row")
    assert len({seed_of(0, 1, "row"), seed_of(1, 1, "row"), seed_of(0, 2, "row"), seed_of(0, 1, "wor")}) == 4


def test_every_row_keeps_its_candidates_and_what_each_was_shown(tmp_path) -> None:
    crew = [{"weights": "warm"}, {"weights": "warm", "examples": 2}, {"weights": "warm"}, {"weights": "base"}]
    config = topics_config(tmp_path, collaborate={"collaborators": crew})
    run(config, until="collaborate")
    rows = list(RunFolder(config.output).stage("collaborate").shards.rows())
    assert [row["id"] for row in rows] == [f"unlabeled-{i}" for i in range(40)]
    for row in rows:
        kinds = [candidate["collaborator"] for candidate in row["candidates"]]
        assert kinds == ["warm+0", "warm+2", "warm+0#2", "base+0"]
        shown = [candidate["references"] for candidate in row["candidates"]]
        assert [len(references) for references in shown] == [0, 2, 0, 0]
        assert all(reference.startswith("labeled-") for reference in shown[1])


def test_two_collaborators_of_one_kind_draw_differently(tmp_path) -> None:
    crew = [{"weights": "warm"}, {"weights": "warm"}]
    config = topics_config(tmp_path, collaborate={"collaborators": crew}, backend={"fake_noise": 0.5})
    run(config, until="collaborate")
    rows = list(RunFolder(config.output).stage("collaborate").shards.rows())
    assert any(row["candidates"][0]["answer"] != row["candidates"][1]["answer"] for row in rows)


def test_temperature_0_leaves_nothing_to_chance(tmp_path) -> None:
    crew = [{"weights": "warm"}, {"weights": "warm"}]
    config = topics_config(tmp_path, collaborate={"collaborators": crew, "temperature": 0})
    run(config, until="collaborate")
    rows = list(RunFolder(config.output).stage("collaborate").shards.rows())
    assert all(row["candidates"][0]["answer"] == row["candidates"][1]["answer"] for row in rows)


@pytest.mark.parametrize("examples", [1, 3])
def test_examples_are_shown_nearest_first_in_the_record(examples: int, tmp_path) -> None:
    crew = [{"weights": "warm", "examples": examples}, {"weights": "warm", "examples": 3}]
    config = topics_config(tmp_path, collaborate={"collaborators": crew})
    run(config, until="collaborate")
    for row in RunFolder(config.output).stage("collaborate").shards.rows():
        few, three = (candidate["references"] for candidate in row["candidates"])
        assert few == three[:examples]
