"""Runs a command for as long as the process that started this one lives: `python guarded.py COMMAND ...`.

Standard input is a pipe whose other end that process holds. It closes when the process closes it, ends or is killed;
then the command and everything that it has started are asked to end, and killed after `GRACE` seconds. This file is
started by its path and imports nothing of the package, so that it costs a few megabytes.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading

GRACE = 15.0
"""Seconds in which a server may finish and free its GPU, or a training save its last step."""


def main(command: list[str]) -> int:
    """The command's exit status, once nothing of it is left."""
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        print(f"cannot start {command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        return 127
    threading.Thread(target=_end_with_parent, args=(process,), daemon=True).start()
    status = process.wait()
    _signal(process, signal.SIGKILL)  # an engine outlives its server where that crashed
    return status


def _end_with_parent(process: "subprocess.Popen[bytes]") -> None:
    while os.read(0, 1):
        pass
    _signal(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    _signal(process, signal.SIGKILL)


def _signal(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS forbids to signal a group that has ended
        os.killpg(process.pid, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
