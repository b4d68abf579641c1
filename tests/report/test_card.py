from pathlib import Path

import yaml

from semievol.config import dump, load
from semievol.report.card import write_card
from semievol.run_folder.folder import RunFolder


def card(folder: RunFolder) -> tuple[dict, str]:
    write_card(folder)
    _, front, body = folder.card_path.read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front), body


def test_the_front_matter_names_peft_and_leaves_the_license_to_the_user(make_run):
    front, _ = card(make_run())
    assert front["library_name"] == "peft"
    assert "semievol" in front["tags"]
    assert "license" not in front


def test_a_hub_model_is_the_base_model_and_another_is_not(make_run):
    folder = make_run()
    assert "base_model" not in card(folder)[0]
    config = load(folder.config_path, ["model.name=meta-llama/Llama-3.1-8B-Instruct"])
    folder.config_path.write_text(dump(config))
    front, body = card(folder)
    assert front["base_model"] == "meta-llama/Llama-3.1-8B-Instruct"
    assert 'base = "meta-llama/Llama-3.1-8B-Instruct"' in body


def test_the_card_counts_what_the_model_was_trained_on(make_run):
    _, body = card(make_run(select={"theta": 0.5}))
    assert "Training rows: 50, of them 20 labeled by people and 30 pseudo-labeled, selected from 60" in body


def test_pseudo_labels_of_earlier_rounds_count_as_pseudo_labels(make_run):
    _, body = card(make_run(rounds=2))
    assert "Training rows: 65, of them 20 labeled by people and 45 pseudo-labeled, selected from 60" in body
    assert '"round-02/evolve/adapter"' in body


def test_training_on_pseudo_labels_alone_claims_no_labeled_rows(make_run):
    _, body = card(make_run(evolve={"include_labeled": False}))
    assert "Training rows: 30, of them 0 labeled by people and 30 pseudo-labeled" in body


def test_the_card_holds_figures_and_the_prompt_of_the_training(make_run):
    _, body = card(make_run())
    assert "| SemiEvol |" in body
    assert "YOUR TEXT" in body
    assert "fruit, metal" in body


def test_the_loading_code_is_valid_python(make_run):
    _, body = card(make_run())
    code = body.split("```python\n")[1].split("```")[0]
    compile(code, "card", "exec")


def test_a_run_that_has_not_trained_has_a_card_without_figures(make_run, tmp_path):
    folder = make_run(until="collaborate")
    Path(tmp_path, "labeled.csv").unlink()
    _, body = card(folder)
    assert "not trained yet" in body
    assert "YOUR TEXT" not in body
    assert "```python" not in body
