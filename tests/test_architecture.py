"""The walls of the house: what is small stays small, nothing imports upwards, and the map names every file."""

import ast
import re
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml
from tests.architecture import (
    BENCHMARKS,
    LAYERS,
    PACKAGE,
    PAGE,
    ROOT,
    files,
    first_line,
    imports,
    room,
    the_benchmarks,
    the_map,
)

SOURCES = [*files(), *files(ROOT / "benchmarks")]
FLOORS = {name: floor for floor, layer in enumerate(LAYERS) for name in layer}
MOST_LINES, MOST_IN_A_FUNCTION, MOST_ARGUMENTS = 400, 60, 7
SIGNATURES_OF_OTHERS = {"_registered"}
"""Functions that a library calls with arguments of its own choice."""


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def module(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def test_no_file_is_long() -> None:
    long = {str(path): lines for path in SOURCES if (lines := path.read_text("utf-8").count("\n")) > MOST_LINES}
    assert not long


def test_no_function_is_long_or_takes_many_arguments() -> None:
    for path in SOURCES:
        for function in functions(path):
            assert function.end_lineno is not None
            assert function.end_lineno - function.lineno < MOST_IN_A_FUNCTION, f"{path}: {function.name} is long"
            given = function.args
            names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
            own = [name for name in names if name not in ("self", "cls")]
            if function.name not in SIGNATURES_OF_OTHERS:
                assert len(own) <= MOST_ARGUMENTS, f"{path}: {function.name} takes {len(own)} arguments"


def test_every_room_has_a_floor() -> None:
    assert {room(path) for path in files()} - {"__init__"} == set(FLOORS)


@pytest.mark.parametrize("path", files(), ids=module)
def test_nothing_imports_upwards(path: Path) -> None:
    if room(path) == "__init__":
        return
    for name in imports(path):
        below = name.split(".")[1]
        assert FLOORS[below] <= FLOORS[room(path)], f"{path} imports {name}, which stands above it"


def test_no_modules_import_each_other_in_a_circle() -> None:
    known = {module(path) for path in files()}
    graph = {}
    for path in files():
        if module(path) == "semievol":  # it imports the pipeline when that is asked for, and not before
            continue
        graph[module(path)] = {name for name in imports(path) if name in known}
    list(TopologicalSorter(graph).static_order())


def test_every_file_says_what_it_is_in_one_line() -> None:
    for path in SOURCES:
        assert first_line(path), f"{path} has no docstring"


def test_the_map_in_the_guide_for_contributors_names_every_file() -> None:
    assert the_map() in PAGE.read_text("utf-8"), "run python -m tests.architecture"
    assert the_benchmarks() in (BENCHMARKS / "README.md").read_text("utf-8"), "run python -m tests.architecture"


def test_no_class_name_of_the_package_stands_for_two_things() -> None:
    names = Counter(
        node.name
        for path in files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_a_variable_is_called_what_it_is() -> None:
    """How we came by a thing is no name of it: `each`, `found`, `one`, `shown`, `said`, `made`, `given`."""
    vague = {"each", "found", "shown", "made", "given", "told", "there", "whole", "asked", "wanted"}
    for path in files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                assert node.id not in vague, f"{path}:{node.lineno}: {node.id}"


def test_no_two_files_of_tests_have_one_name() -> None:
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_the_top_of_the_package_fits_on_a_screen() -> None:
    loose = [path for path in PACKAGE.iterdir() if path.suffix == ".py" and path.name != "__main__.py"]
    folders = [path for path in PACKAGE.iterdir() if (path / "__init__.py").exists()]
    assert len(loose) <= 12
    assert len(folders) <= 17


def test_nothing_that_can_run_is_loaded_as_data() -> None:
    """No pickles, no code from text; YAML by a loader that makes values alone."""
    from semievol.config.yaml_text import _Loader

    assert issubclass(_Loader, yaml.SafeLoader)
    refused = {"pickle.load", "pickle.loads", "marshal.loads", "torch.load", "eval", "exec", "joblib.load", "yaml.load"}
    for path in files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in refused:
                assert ast.unparse(node) == "yaml.load(text, Loader=_Loader)", f"{path}:{node.lineno}"


def test_every_promise_names_a_test_that_is_there() -> None:
    page = (ROOT / "docs/promises.md").read_text(encoding="utf-8")
    promises = [line for line in page.partition("## What was tried")[0].splitlines() if line.startswith("| ")]
    rows = [line for line in promises if line != "| promise | test |"]
    assert len(rows) > 25
    for row in rows:
        tests = re.findall(r"`(tests/[^`:]+)::(\w+)`", row)
        assert tests, row
        for path, name in tests:
            assert re.search(rf"^def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), (
                f"{path}::{name}"
            )
