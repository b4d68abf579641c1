"""The house as a list of rooms: `python -m tests.architecture` writes the maps in CONTRIBUTING.md and benchmarks."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "semievol"
PAGE = ROOT / "CONTRIBUTING.md"
BENCHMARKS = ROOT / "benchmarks"
BEGIN, END = "<!-- the map: python -m tests.architecture -->\n", "<!-- the end of the map -->\n"

LAYERS = (
    ("errors", "records", "terminal"),
    ("config",),
    ("plugins", "progress", "metrics"),
    ("run_folder",),
    ("costs",),
    ("tasks", "data", "models"),
    ("local", "backends", "retrieval", "training", "executors"),
    ("trust",),
    ("stages",),
    ("forecast",),
    ("pipeline",),
    ("predict", "report"),
    ("experiments",),
    ("library",),
    ("estimator",),
    ("arguments", "cli", "__main__"),
)
"""The rooms from the ground up. One imports those of its own floor and of the floors below."""

METHOD = ("warmup", "collaborate", "justify", "select", "evolve", "evaluate")
"""Files that stand in the order of the method, before the others of their room."""


def files(folder: Path = PACKAGE) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def room(path: Path) -> str:
    """The room of a file: a folder of the package, or a module that lies loose."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> set[str]:
    """The modules of this package that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {_module(node.module, alias.name) for alias in node.names}
    return {name for name in names if name.startswith("semievol.")}


def _module(package: str, name: str) -> str:
    """What `from package import name` imports: a module of the package, or the package itself."""
    inside = PACKAGE.parent.joinpath(*package.split("."), name)
    return f"{package}.{name}" if inside.is_dir() or inside.with_suffix(".py").exists() else package


def first_line(path: Path) -> str:
    """What a file says of itself."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].removesuffix(".")


def tree() -> str:
    """Every file of the package with a line, the rooms from the top down."""
    lines = ["src/semievol/"]
    rooms = [name for layer in reversed(LAYERS) for name in reversed(layer)]
    for name in ("__init__", *rooms):
        folder = PACKAGE / name
        lines += _below(folder, 1) if folder.is_dir() else [_line(folder.with_suffix(".py"), 1)]
    return "\n".join(lines) + "\n"


def _below(folder: Path, depth: int) -> list[str]:
    lines = [f"{'  ' * depth}{folder.name + '/':<{30 - 2 * depth}}{first_line(folder / '__init__.py')}"]
    inside = [path for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    for path in sorted(inside, key=_place):
        if path.is_dir():
            lines += _below(path, depth + 1)
        elif path.name != "__init__.py":
            lines.append(_line(path, depth + 1))
    return lines


def _place(path: Path) -> tuple[int, bool, str]:
    order = METHOD.index(path.stem) if path.stem in METHOD and path.parent.name == "stages" else len(METHOD)
    return order, path.is_dir(), path.name


def _line(path: Path, depth: int) -> str:
    return f"{'  ' * depth}{path.name:<{30 - 2 * depth}}{first_line(path)}"


def the_map() -> str:
    """The map of the package, for CONTRIBUTING.md."""
    return f"{BEGIN}\n```\n{tree()}```\n\n{END}"


def the_benchmarks() -> str:
    """Every file of the benchmarks with a line, for their README."""
    lines = ["benchmarks/"]
    for path in sorted(BENCHMARKS.iterdir(), key=lambda path: (path.is_dir(), path.name)):
        if (path / "__init__.py").exists():
            lines += _below(path, 1)
        elif path.suffix == ".py" and path.name != "__init__.py":
            lines.append(_line(path, 1))
    return f"{BEGIN}\n```\n" + "\n".join(lines) + f"\n```\n\n{END}"


if __name__ == "__main__":
    for page, part in ((PAGE, the_map()), (BENCHMARKS / "README.md", the_benchmarks())):
        before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        page.write_text(before + part + rest.partition(END)[2], encoding="utf-8")
