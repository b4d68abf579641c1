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
