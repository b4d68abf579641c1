from pathlib import Path

from pydantic import BaseModel

from semievol.config import Config
from semievol.report.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def options(section: type[BaseModel], path: str = "") -> set[tuple[str, str]]:
    """Every section's path with each of its options that is no section itself."""
    found = set()
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found |= options(inner, f"{path}.{name}".strip("."))
        else:
            found.add((path or "Top level", name))
    return found


def test_the_page_in_docs_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == reference(), (
        "run: python -m semievol.report.reference > docs/configuration.md"
    )


def test_every_option_stands_in_its_section_with_a_description():
    sections = {part.partition("\n")[0]: part for part in reference().split("\n## ")[1:]}
    for path, name in options(Config):
        rows = [line for line in sections[path].splitlines() if line.startswith(f"| `{name}` |")]
        assert len(rows) == 1, (path, name)
        assert rows[0].count("|") == 5 + rows[0].count("\\|")
        assert len(rows[0].rsplit("|", 2)[1].strip()) > 10, (path, name)


def test_options_of_sections_in_lists_are_there():
    assert "## collaborate.collaborators" in reference()
    assert "Which weights answer." in reference()


def test_bounds_and_choices_are_said():
    page = reference()
    assert "number, > 0, ≤ 1" in page
    assert "`base`, `warm`" in page
