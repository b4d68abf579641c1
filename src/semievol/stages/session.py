"""What `run.json` says of each process that worked on a run: versions, machine, times, memory and commit."""

import functools
import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from semievol.costs.budget import costs
from semievol.run_folder.folder import RunFolder

PACKAGES = (
    "semievol",
    "torch",
    "transformers",
    "peft",
    "trl",
    "sentence-transformers",
    "faiss-cpu",
    "bm25s",
    "openai",
    "numpy",
)
FURTHER_PACKAGES = ("datasets", "accelerate", "vllm", "ray", "bitsandbytes", "pyarrow", "pydantic")
"""Of which `semievol env` tells too."""


@contextmanager
def session(folder: RunFolder) -> Iterator[None]:
    """A block that `run.json` tells of when it has ended, however that was, with what the run has cost so far."""
    about = _about_this_process()
    start = time.monotonic()
    try:
        yield
    finally:
        about |= {"seconds": round(time.monotonic() - start, 1), "peak_memory_mb": _peak_memory()}
        about["machine"] |= _gpu()
        facts = folder.facts()
        facts.setdefault("sessions", []).append(about)
        if folder.costs_path.exists():
            facts["costs"] = asdict(costs(folder))
        folder.write_facts(facts)


def _about_this_process() -> dict[str, Any]:
    versions = {name: version for name in PACKAGES if (version := _version(name)) is not None}
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "versions": versions,
        "commit": commit(),
        "machine": {"system": platform.platform(), "processor": _processor(), "cores": os.cpu_count()},
    }


def _version(package: str) -> str | None:
    """That of an installed package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def environment_lines() -> Iterator[str]:
    """What is installed and what the machine has, a line each."""
    about = _about_this_process()
    yield f"semievol {about['versions'].pop('semievol')}" + (f" at {about['commit']}" if about["commit"] else "")
    yield f"Python {about['python']} on {about['machine']['system']}"
    yield f"{about['machine']['processor']}, {about['machine']['cores']} cores"
    for package in (*PACKAGES[1:], *FURTHER_PACKAGES):
        version = _version(package)
        yield f"{package}: not installed" if version is None else f"{package} {version}"
    yield from _gpus()


def _gpus() -> Iterator[str]:
    try:
        import torch
    except ModuleNotFoundError:
        return
    if not torch.cuda.is_available():
        yield "no CUDA GPU"
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        yield f"cuda:{number}: {properties.name}, {properties.total_memory / 1e9:.0f} GB"


@functools.cache
def commit() -> str | None:
    """The commit of the checkout that this package runs from, `-dirty` if files differ; `None` outside of one."""
    if _git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None  # installed, and perhaps inside the repository of somebody else
    return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(*arguments: str) -> str | None:
    """What git prints; `None` if it is missing or refuses."""
    try:
        process = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return process.stdout.strip() if process.returncode == 0 else None


def _peak_memory() -> int | None:
    """The most memory this process has held, in MB; `None` on Windows, whose Python does not tell."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, kilobytes elsewhere
    return round(peak / (1024 * 1024 if sys.platform == "darwin" else 1024))


def _gpu() -> dict[str, str]:
    """The name of the first GPU, if this process has one in use; nothing else is loaded to find out."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    return {"gpu": torch.cuda.get_device_name(0)}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
