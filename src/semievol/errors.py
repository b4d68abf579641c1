"""The errors a user can meet.

    SemiEvolError                 everything below; the command line prints it without a traceback
    ├── ConfigError (ValueError)      an option that is unknown, impossible or contradicts another
    ├── DataError (ValueError)        a file, row or column that cannot be used; names the place
    ├── MissingExtraError (ImportError)   an optional dependency; names the `pip install` that brings it
    ├── RunFolderError (RuntimeError)    a run folder that belongs to another config, is in use or is damaged
    ├── BackendError (RuntimeError)   an engine that does not start or stops answering
    ├── TrainingError (RuntimeError)  a training that cannot start or diverges
    ├── GateError (RuntimeError)      models that know too little of the task for their answers to be of use
    ├── ClusterError (RuntimeError)   a Ray cluster that is not there, or shards of work that failed on it
    ├── BudgetError (RuntimeError)    the next request or training could cost more than costs.max_cost leaves
    ├── ExperimentError (RuntimeError)  cells of a grid that could not be measured
    ├── ExportError (RuntimeError)    a model that cannot leave its run, or would answer otherwise outside
    └── Stopped                       the user asked to stop; not a failure

Each message says what is wrong, where, and what to do.
"""

import errno
import os
import re

_REFUSED = {
    "ENOSPC": "the disk is full",
    "EDQUOT": "the disk is full for this user, whose quota is used up",
    "EFBIG": "a file would be larger than is allowed here (ulimit -f)",
    "EMFILE": "more files are open than is allowed here (ulimit -n)",
    **dict.fromkeys(("EROFS", "EACCES", "EPERM", "EIO", "ENOTDIR", "EISDIR", "ENAMETOOLONG", "ELOOP", "ESTALE"), ""),
}
"""What a system refuses a program that is not at fault, in words where its own say too little."""

_SECRET_NAMES = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
"""Environment variables whose values nobody else may know."""
_SECRET_FORMS = re.compile(
    r"\b(?:sk|hf|gsk|xai|pk|rk|ghp|github_pat|glpat|r8|tgp|fw)[-_][A-Za-z0-9_-]{16,}|\bAIza[A-Za-z0-9_-]{30,}|"
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|(?<=[Bb]earer )[A-Za-z0-9._~+/=-]{16,}"
)
"""What keys of known services look like."""
_SHORTEST_SECRET = 8
_secrets: set[str] = set()
"""Further environment variables with keys, which a config names."""

_NUMBER = re.compile(r"\(os error (\d+)\)|\[Errno (\d+)\]")
"""How libraries in Rust and C++ pass on what the system said."""


class SemiEvolError(Exception):
    """Any error that is the user's to mend. What it says names no secret of this process, see `redacted`."""

    def __init__(self, *said: object) -> None:
        super().__init__(*(redacted(part) if isinstance(part, str) else part for part in said))


class ConfigError(SemiEvolError, ValueError):
    """An option is unknown, impossible or contradicts another."""


class DataError(SemiEvolError, ValueError):
    """A file, row or column cannot be used."""


class MissingExtraError(SemiEvolError, ImportError):
    """An optional dependency is not installed."""


class RunFolderError(SemiEvolError, RuntimeError):
    """A run folder belongs to another config, is in use or is damaged."""


class BackendError(SemiEvolError, RuntimeError):
    """An engine does not start or stops answering."""


class GateError(SemiEvolError, RuntimeError):
    """Models know too little of the task for their answers to be of use."""


class TrainingError(SemiEvolError, RuntimeError):
    """A training cannot start or diverges."""


class ClusterError(SemiEvolError, RuntimeError):
    """A Ray cluster is not there, or work failed on it."""


class BudgetError(SemiEvolError, RuntimeError):
    """The next request or training could cost more than `costs.max_cost` leaves."""


class ExperimentError(SemiEvolError, RuntimeError):
    """Cells of a grid could not be measured; the others were, and their results are written."""


class ExportError(SemiEvolError, RuntimeError):
    """A model cannot leave its run, or would answer otherwise outside than it does there."""


class Stopped(SemiEvolError):
    """The user asked to stop; everything finished is saved and the same command goes on."""


def keep_secret(variable: str) -> None:
    """Has `redacted` take out the value of an environment variable, whatever its name."""
    _secrets.add(variable)


def redacted(text: str) -> str:
    """The text without keys: neither those that the environment holds nor what looks like one of a known service."""
    for name, value in os.environ.items():
        if (name in _secrets or _SECRET_NAMES.search(name)) and len(value.strip()) >= _SHORTEST_SECRET:
            text = text.replace(value.strip(), f"[{name}]")
    return _SECRET_FORMS.sub("[a key]", text)


def whole_characters(text: str) -> str:
    """The text as UTF-8 can hold it: half a character, such as a token may end in, becomes a question mark."""
    return text.encode(errors="replace").decode()


def first_line(error: BaseException) -> str:
    """The first line of what an error of a library says; the name of its type if it says nothing."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def refused_by_system(error: Exception) -> str | None:
    """What the system refused, in one line for a person; `None` if the error is another."""
    number = getattr(error, "errno", None)
    if number is None and (match := _NUMBER.search(str(error))):
        number = int(match[1] or match[2])
    full = ("PytorchStreamWriter failed", "database or disk is full")  # torch and SQLite pass on no number
    if number is None and any(words in str(error) for words in full):
        number = errno.ENOSPC
    code = errno.errorcode.get(number) if isinstance(number, int) else None
    if number is None or code not in _REFUSED:
        return None
    name = getattr(error, "filename", None)
    reason = _REFUSED[code] or os.strerror(number)
    return f"{f'{name}: ' if name else ''}{reason}; nothing finished is lost, the same command goes on"
