import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from semievol.errors import ConfigError
from semievol.report.page import write_report
from semievol.run_folder import STAGES
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.parquet import read_rows

VOID = {"meta", "br", "line", "rect", "polyline", "hr", "img", "link"}


class Checker(HTMLParser):
    """Collects what stands in the page and notices tags that do not close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def page(folder: RunFolder) -> tuple[str, Checker]:
    write_report(folder)
    html = folder.report_path.read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(html)
    assert checker.open == []
    return html, checker


def test_the_page_needs_no_network_and_no_script(make_run):
    html, checker = page(make_run())
    assert not {"script", "link", "img", "iframe"} & set(checker.tags)
    assert not re.search(r"https?://|url\(|@import", html)


def test_the_page_shows_results_stages_charts_examples_and_settings(make_run):
    html, checker = page(make_run())
    for heading in ("Results", "What each stage did", "Pseudo-labels", "Accuracy by category", "Versions and machine"):
        assert f"<h2>{heading}</h2>" in html
    assert checker.tags.count("svg") == 2
    assert "τ = " in html
    assert "unlabeled_answers: answer" in html


def test_texts_of_the_data_are_escaped(make_run):
    html, _ = page(make_run())
    assert "shelf &lt;1&gt;" in html
    assert "shelf <1>" not in html


def test_kept_examples_are_the_surest_and_dropped_ones_the_least_sure(make_run):
    folder = make_run()
    html, _ = page(folder)
    rows = sorted(read_rows(folder.stage("select").rows_path), key=lambda row: row["mean_nll"])
    kept, dropped = [r for r in rows if r["kept"]], [r for r in rows if not r["kept"]]
    shown = re.findall(r"(unlabeled-\d+),", html)
    assert set(shown[:5]) == {row["id"] for row in kept[:5]}
    assert set(shown[5:]) == {row["id"] for row in dropped[-5:]}


def test_every_round_of_an_iterated_run_is_shown(make_run):
    html, _ = page(make_run(rounds=2))
    assert "Pseudo-labels, round 1" in html
    assert "Pseudo-labels, round 2" in html


@pytest.mark.parametrize("until", STAGES)
def test_a_run_that_stopped_anywhere_has_a_page(make_run, until):
    html, _ = page(make_run(until=until))
    assert f"<code>{until}</code>" in html


def test_a_killed_stage_is_shown_as_not_finished(make_run):
    folder = make_run(until="collaborate")
    folder.stage("collaborate").path.joinpath("done.json").unlink()
    assert "not finished: 1 shards" in page(folder)[0]


def test_without_the_truth_no_accuracy_of_pseudo_labels_is_claimed(make_run):
    html, checker = page(make_run(evaluate={"unlabeled_answers": None}))
    assert "Held against the truth" not in html
    assert checker.tags.count("svg") == 1


def test_a_run_whose_data_is_gone_still_has_a_page_that_says_so(make_run, tmp_path):
    folder = make_run()
    Path(tmp_path, "labeled.csv").unlink()
    html, _ = page(folder)
    assert "could not be read again" in html
    assert "Balance of the answers" in html


def test_a_threshold_for_each_answer_is_listed(make_run):
    html, _ = page(make_run(select={"per_answer": True}))
    assert "τ by answer: fruit " in html


def test_a_run_without_selection_has_a_page(make_run):
    html, _ = page(make_run(select={"enabled": False}))
    assert "60 of 60 unlabeled rows were kept" in html


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        write_report(RunFolder(tmp_path))


def test_a_selection_that_kept_nothing_has_a_page(make_run):
    html, _ = page(make_run(select={"min_agreement": 1.0}, collaborate={"collaborators": [{}, {}] * 16}))
    assert "0 of 60 unlabeled rows were kept" in html
    assert "Dropped: 60 for &ldquo;agreement too low&rdquo;" in html
    assert "of the kept" not in html


def test_examples_of_multiple_choice_are_shown_with_their_options(make_run, tmp_path):
    rows = [f'Which is iron {number}?,"[""iron"", ""plum <small>""]",{"AB"[number % 2]}' for number in range(60)]
    for split in ("one", "two", "three"):
        lines = [row.replace("Which", f"{split}: which") for row in rows]
        Path(tmp_path, f"{split}.csv").write_text("\n".join(["prompt,options,answer", *lines]))
    sources = dict(zip(("labeled", "unlabeled", "test"), ("one", "two", "three"), strict=True))
    data = {split: str(tmp_path / f"{name}.csv") for split, name in sources.items()}
    html, _ = page(make_run(data={**data, "columns": {"options": "options"}}, task={"kind": "multiple_choice"}))
    assert "B. plum &lt;small&gt;" in html


def test_a_wrong_example_is_shown_with_the_truth(make_run):
    html, _ = page(make_run())
    for answer, truth in re.findall(r"<strong>(\w+)</strong> <span class=\"wrong\">✗ wrong: (\w+)<", html):
        assert {answer, truth} == {"fruit", "metal"}
    assert html.count("✓ right") + html.count("✗ wrong: ") == 10
