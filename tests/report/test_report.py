import pytest

from semievol.report import finish, print_results


def test_finishing_a_run_leaves_page_and_card_beside_its_stages(make_run):
    folder = make_run()
    finish(folder.path)
    assert folder.report_path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert folder.card_path.read_text(encoding="utf-8").startswith("---\n")


def test_the_printed_results_say_where_the_report_lies(make_run, capsys):
    folder = make_run()
    finish(folder.path)
    print_results(folder.path)
    printed = capsys.readouterr().out
    assert "SemiEvol" in printed
    assert str(folder.report_path) in printed


@pytest.mark.parametrize(
    ("file", "left_out"),
    [
        ("run.json", "versions and machine"),
        ("evaluate/metrics.json", "the results"),
        ("select/done.json", "the stages"),
        ("select/pseudo_labels.parquet", "the pseudo-labels of round 1"),
    ],
)
@pytest.mark.parametrize("content", ["", "[1, 2", '{"models": 7}\n', "\udcff"])
def test_a_damaged_file_costs_one_part_of_the_page_and_not_the_page(make_run, capsys, file, left_out, content):
    folder = make_run()
    path = folder.path / file
    path.write_bytes(content.encode(errors="surrogateescape"))
    finish(folder.path)
    page = folder.report_path.read_text(encoding="utf-8")
    assert "The whole config" in page
    assert folder.card_path.exists()
    told = capsys.readouterr().err
    harmless = content == '{"models": 7}\n' or (file, content) == (
        "run.json",
        "",
    )  # with nothing in them that is needed
    if not harmless:
        assert left_out in told
        assert f"<li>{left_out}" in page
