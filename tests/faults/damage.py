"""Each file of finished and half-finished runs damaged, then the same command, or one that reads the file.

A damage is `named` if an error names the file in one line, and what the error advises brings the same results; it is
`mended` if the command comes to the same results and the file is as it was, or was not needed. `silent` is another
result, or a damaged file that neither the command nor `semievol verify` has noticed. `raw` is a traceback.
"""

import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from faults.tally import Tally
from samples import topics_config
from semievol.backends.fake import FakeBackend
from semievol.config import Config
from semievol.errors import SemiEvolError
from semievol.pipeline import run
from semievol.run_folder import STAGES
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.verifying import mend, verify

WRONG = ("silent", "raw", "not mended")

NOT_RESULTS = re.compile(r"run\.json|\.lock|.*\.log|report\.html|README\.md|config\.yaml|done\.json")
"""Files that may differ between two runs of the same: they hold times, or are written by every command."""
WRITTEN_AGAIN = re.compile(
    r"config\.yaml|report\.html|README\.md|.*\.log|\.lock|.*\.arrow|.*\.sum\.json|.*\.error\.txt"
)
"""Files that nothing is read from, or that are made anew when they are read."""
NEXT = {
    "warmup": "collaborate",
    "collaborate": "justify",
    "justify": "select",
    "select": "evolve",
    "evolve": "evaluate",
}
"""A stage that reads the results of each."""


class Breaking(FakeBackend):
    """Is interrupted before its n-th answer."""

    left: int | None = None
    count = 0

    def generate(self, requests, finished=(), stop=lambda: False):
        for request in requests:
            if request.id not in finished:
                if Breaking.left == 0:
                    raise KeyboardInterrupt
                Breaking.count += 1
                Breaking.left = None if Breaking.left is None else Breaking.left - 1
                yield from super().generate([request])


def config_of(folder: Path, seed: int = 0, trusted: bool = False) -> Config:
    options = {"rounds": 1 if trusted else 2, "seed": seed, "backend": {"kind": "faults.damage:Breaking"}}
    if trusted:
        views = {"views": ["word_view:WordView"]}
        return topics_config(folder, preset="trusted", justify=views, collaborate={"gate": False}, **options)
    return topics_config(folder, justify={"mode": "all"}, collaborate={"n": 2}, **options)


def half_run(config: Config, answers: int) -> None:
    """A run that is interrupted after so many answers."""
    Breaking.left = answers
    try:
        run(config)
    except KeyboardInterrupt:
        pass
    finally:
        Breaking.left = None


def results(path: Path) -> dict[str, bytes]:
    files = (file for file in path.rglob("*") if file.is_file() and not NOT_RESULTS.fullmatch(file.name))
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files if "rows" not in file.parts}


def damages(
    content: bytes, other: bytes | None, sibling: bytes | None, rng: random.Random
) -> Iterator[tuple[str, bytes | None]]:
    """Ways in which a file is damaged, and what it holds then; nothing if it is gone."""
    yield "cut", content[: len(content) // 2]
    yield "emptied", b""
    yield "gone", None
    for _ in range(6 if content else 0):
        at = rng.randrange(len(content))
        yield "a bit", content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]
    if other is not None:
        yield "another run's", other
    if sibling is not None:
        yield "its neighbour's", sibling


class Damages:
    """Runs to be damaged, in states from its middle to its end."""

    def __init__(self, folder: Path, tally: Tally, trusted: bool) -> None:
        self.folder, self.config = folder, config_of(folder, trusted=trusted)
        self.run, self.tally = folder / "run", tally
        self.states: dict[str, Path] = {}
        run(config_of(folder, 1, trusted))
        self.run.rename(folder / "other")
        before = Breaking.count
        run(self.config)
        shutil.rmtree(self.run)
        answers = Breaking.count - before
        for name, share in (("begun", 0.06), ("half", 0.3), ("late", 0.6), ("measuring", 0.97)):
            half_run(self.config, round(answers * share))
            self.run.rename(folder / name)
            self.states[name] = folder / name
        run(self.config)
        self.expected = results(self.run)
        self.run.rename(folder / "finished")
        self.states["finished"] = folder / "finished"

    def cases(self, rng: random.Random) -> Iterator[tuple[str, str, str | None, str, bytes | None]]:
        """State, file, stage to be made anew, damage, and the content then."""
        for state, path in self.states.items():
            for file in sorted(file for file in path.rglob("*") if file.is_file() and file.name != ".lock"):
                place = file.relative_to(path).as_posix()
                other = self.folder / "other" / place
                sibling = file.with_name(file.name.replace("00000", "00001"))
                contents = [one.read_bytes() if one.exists() and one != file else None for one in (other, sibling)]
                stage = next((part for part in reversed(place.split("/")) if part in STAGES), None)
                for redo in {None, NEXT.get(stage or "") if state == "finished" else None}:
                    for damage, content in damages(file.read_bytes(), *contents, rng):
                        if content != file.read_bytes():
                            yield state, place, redo, damage, content

    def judge(self, state: str, place: str, redo: str | None, damage: str, content: bytes | None) -> None:
        shutil.rmtree(self.run, ignore_errors=True)
        shutil.copytree(self.states[state], self.run)
        path = self.run / place
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        verdict, why = self._verdict(path, place, redo, content)
        self.tally.add(verdict, f"{state}, {place}, {damage}, --redo {redo}: {why}")

    def _verdict(self, path: Path, place: str, redo: str | None, content: bytes | None) -> tuple[str, str]:
        try:
            run(self.config, redo=redo)
        except SemiEvolError as error:
            if path.name not in str(error):
                return "raw", f"does not name the file: {error}"
            if path.name == "key.json" and "made with other settings" in str(error):
                return "named", ""  # it is whole, and says so
            if "\n" in str(error):
                return "raw", f"has several lines: {error}"
            return self._as_advised(path, str(error), redo)
        except Exception as error:
            return "raw", f"{type(error).__name__}: {error}"
        return self._same(path, place, content)

    def _same(self, path: Path, place: str, content: bytes | None) -> tuple[str, str]:
        after = results(self.run)
        if wrong := sorted(name for name in {*after, *self.expected} if after.get(name) != self.expected.get(name)):
            return "silent", f"other results: {wrong[:3]}"
        if not WRITTEN_AGAIN.fullmatch(path.name) and path.exists() and path.read_bytes() == content:
            return "silent", "it stays as it is"
        return "mended", ""

    def _as_advised(self, path: Path, error: str, redo: str | None) -> tuple[str, str]:
        """What comes of doing what the error says."""
        stage = next((part for part in reversed(path.parts) if part in STAGES), None)
        try:
            if "put it back from a copy" in error:
                return "named", ""
            if "verify --mend" in error:
                folder = RunFolder(self.run)
                list(mend(folder, verify(folder)))
            elif f"--redo {stage}" in error:
                run(self.config, redo=stage)
            run(self.config, redo=redo)
        except Exception as later:
            return "not mended", f"{error} -> {type(later).__name__}: {later}"
        after = results(self.run)
        wrong = sorted(name for name in {*after, *self.expected} if after.get(name) != self.expected.get(name))
        return ("not mended", f"{error} -> other results: {wrong[:3]}") if wrong else ("named", "")


def try_damages(folder: Path, most: int | None = None, seed: int = 0) -> Tally:
    """What came of all damages of two runs, of the paper's preset and the trusted one; or of so many of each."""
    tally = Tally()
    for name, trusted in (("paper", False), ("trusted", True)):
        rng = random.Random(seed)
        (folder / name).mkdir(parents=True)
        runs = Damages(folder / name, tally, trusted)
        cases = list(runs.cases(rng))
        for case in cases if most is None else rng.sample(cases, min(most, len(cases))):
            runs.judge(*case)
    return tally
