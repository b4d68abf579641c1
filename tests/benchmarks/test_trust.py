"""The page about trusted pseudo-labels says what the kept results and scores do."""

from benchmarks.pages import with_part
from benchmarks.trust import __main__ as joined
from benchmarks.trust import parts


def test_the_page_has_the_tables_of_what_is_kept() -> None:
    page = joined.PAGE.read_text(encoding="utf-8")
    assert with_part(page, "trust tables", joined.tables()) == page


def test_the_page_has_the_parts_that_the_kept_scores_give() -> None:
    page = joined.PAGE.read_text(encoding="utf-8")
    assert with_part(page, "trust parts", parts.tables()) == page


def test_each_part_of_the_pool_earns_its_place_on_the_kept_scores() -> None:
    cells = parts.cells()
    figures = {}
    for name in ("the preset", "committee alone", "M_warm in place of the committee", "without shifts"):
        of_cells = [parts.VARIANTS[name](cell) for cell in cells]
        figures[name] = sum(
            (distribution[split].argmax(axis=1) == cell.truth(split)).mean()
            for cell, distribution in zip(cells, of_cells, strict=True)
            for split in parts.UNSEEN
        )
    assert max(figures, key=figures.__getitem__) == "the preset"
