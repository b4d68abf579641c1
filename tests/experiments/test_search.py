"""The same search for SFT and SemiEvol, and never on test rows."""

import json
from pathlib import Path

import pytest

import counting
from samples import topics_config, write_topics
from semievol.config import changed
from semievol.errors import ConfigError
from semievol.experiments.options import Search
from semievol.experiments.results import markdown
from semievol.experiments.search import candidates, splits
from semievol.records import Example

COUNTED = {"training": {"kind": "counting:CountingTrainer"}}
METHODS = ("SFT", "SemiEvol")


def labeled(count: int) -> list[Example]:
    return [Example(f"labeled-{number}", "text", "answer") for number in range(count)]


def test_the_slice_and_the_rest_are_the_labeled_rows() -> None:
    ((rest, held_out),) = splits(labeled(50), Search(), seed=0)
    assert len(held_out) == 10
    assert {e.id for e in rest} | {e.id for e in held_out} == {e.id for e in labeled(50)}
    assert not {e.id for e in rest} & {e.id for e in held_out}


def test_another_seed_draws_another_slice() -> None:
    assert splits(labeled(50), Search(), seed=0) == splits(labeled(50), Search(), seed=0)
    assert splits(labeled(50), Search(), seed=0) != splits(labeled(50), Search(), seed=1)


def test_with_folds_each_labeled_row_is_held_out_once() -> None:
    parts = splits(labeled(50), Search(folds=4), seed=0)
    assert sorted(len(held_out) for _, held_out in parts) == [12, 12, 13, 13]
    assert sorted(e.id for _, held_out in parts for e in held_out) == sorted(e.id for e in labeled(50))
    for rest, held_out in parts:
        assert {e.id for e in rest} == {e.id for e in labeled(50)} - {e.id for e in held_out}


def test_too_few_labeled_rows_say_what_to_do() -> None:
    with pytest.raises(ConfigError, match="--no-search"):
        splits(labeled(2), Search(), seed=0)
    with pytest.raises(ConfigError, match="fewer --folds"):
        splits(labeled(2), Search(folds=3), seed=0)


def test_the_configs_own_recipe_comes_first_and_no_recipe_twice(tmp_path: Path) -> None:
    config = topics_config(tmp_path, training={"num_train_epochs": 2, "learning_rate": 1e-3})
    usual = candidates(config, Search(), "warmup")
    assert usual == [{"num_train_epochs": count, "learning_rate": 1e-3} for count in (2, 1, 4, 6)]
    both = candidates(config, Search(epochs=(2, 3), learning_rates=(1e-3, 1e-4)), "warmup")
    assert len(both) == 4
    assert both[0] == {"num_train_epochs": 2, "learning_rate": 1e-3}


def test_evolution_may_choose_what_the_warm_up_may(tmp_path: Path) -> None:
    config = topics_config(tmp_path, training={"num_train_epochs": 4, "learning_rate": 1e-3})
    own = changed(config, {"evolve": {"training": {"num_train_epochs": 3, "learning_rate": 1e-4}}})
    for search in (Search(), Search(epochs=(5,)), Search(learning_rates=(1e-2,)), Search((5,), (1e-2,))):
        warm, evolved = (candidates(own, search, stage) for stage in ("warmup", "evolve"))
        assert warm[0] == {"num_train_epochs": 4, "learning_rate": 1e-3}
        assert evolved[0] == {"num_train_epochs": 3, "learning_rate": 1e-4}
        assert sorted(map(repr, warm)) == sorted(map(repr, evolved))


def test_the_search_tries_the_same_recipes_for_both_and_takes_the_best(experiment, tmp_path: Path) -> None:
    write_topics(tmp_path / "labeled.csv", 40, seed=12)
    hasty = {"training": {"kind": "counting:HastyTrainer"}}
    found = experiment("compare", methods=METHODS, sections=hasty, search=Search(epochs=(1, 8), held_out=0.5))
    ((_, recipes),) = found.searched.items()
    tried = {method: [r for r in recipes.tried if r["method"] == method] for method in METHODS}
    recipe = [[each.get("num_train_epochs") for each in tried[method]] for method in METHODS]
    assert recipe[0] == recipe[1]
    for method, chosen in (("SFT", recipes.sft), ("SemiEvol", recipes.evolve)):
        best = max(each["accuracy"] for each in tried[method])
        assert best > min(each["accuracy"] for each in tried[method])
        first = next(each for each in tried[method] if each["accuracy"] == best)
        assert first.get("num_train_epochs") == chosen.get("num_train_epochs")


def test_the_held_out_rows_are_in_no_training_of_the_search(experiment, tmp_path: Path) -> None:
    experiment("compare", methods=METHODS, sections=COUNTED)
    sizes = sorted({len(json.loads(made_of)[0]) for made_of in counting.trained})
    assert sizes[0] == 10  # 12 labeled rows less the slice
    assert 12 in sizes  # the run that is measured


def test_test_rows_have_no_part_in_the_search(experiment, tmp_path: Path) -> None:
    first = experiment("compare", methods=METHODS)
    write_topics(tmp_path / "test.csv", 25, seed=77)
    second = experiment("compare", methods=METHODS)
    assert [r.tried for r in first.searched.values()] == [r.tried for r in second.searched.values()]
    assert first.results[0].metrics != second.results[0].metrics


def test_the_search_says_on_how_few_rows_it_rests(experiment, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "semievol"):
        found = experiment("compare", methods=METHODS)
    assert "topics/seed-0/search: 4 recipes for SemiEvol, compared on 2 of the 12 labeled rows" in caplog.text
    assert "recipes win by luck on 2 rows; --folds 5 compares on all labeled rows" in caplog.text
    assert (
        "the best of a search on 2 held-out labeled rows: seed 0: SFT 2 epochs at 0.0001, SemiEvol 2 epochs at 0.0001."
        in markdown(found)
    )


def test_with_folds_a_recipe_is_measured_on_all_labeled_rows(experiment, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "semievol"):
        found = experiment("compare", methods=METHODS, search=Search(epochs=(1,), folds=3))
    assert "win by luck" not in caplog.text
    (recipes,) = found.searched.values()
    assert {tried["rows"] for tried in recipes.tried} == {12}
    assert "the best of a search on 12 held-out labeled rows, by 3-fold cross-validation: seed 0:" in markdown(found)


def test_without_a_search_the_configs_recipes_stand(experiment) -> None:
    found = experiment("compare", methods=METHODS, search=Search(enabled=False))
    assert [recipes.tried for recipes in found.searched.values()] == [()]


def test_the_searched_recipe_trains_the_run_that_is_measured(experiment, monkeypatch) -> None:
    from semievol.experiments import experiment as module
    from semievol.experiments.grid import Recipes

    found = {"sft": {"num_train_epochs": 7}, "evolve": {"num_train_epochs": 9}}
    monkeypatch.setattr(module, "search", lambda *_: Recipes(**found))
    methods = (*METHODS, "released recipe", "oracle (all true answers)")
    compared = experiment("compare", methods=methods, sections={"evaluate": {"unlabeled_answers": "topic"}})
    results = {result.method: result.recipes for result in compared.results}
    assert results["SFT"]["warmup"]["num_train_epochs"] == 7
    assert results["SemiEvol"]["evolve"]["num_train_epochs"] == 9
    assert results["oracle (all true answers)"]["warmup"]["num_train_epochs"] == 9
    assert results["released recipe"]["evolve"] == {"num_train_epochs": 2, "learning_rate": 1e-6}
