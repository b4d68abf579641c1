"""A vLLM server of our own: started, watched and stopped."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from semievol.backends.vllm.failures import reason
from semievol.errors import BackendError
from semievol.executors import guarded

_LOOPBACK = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks this machine itself, whatever proxies the environment names."""


def free_port() -> int:
    """A port of the loopback address on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A server process, and the log that its output goes to.

    It runs under `guarded`, in a session of its own: Ctrl-C in a terminal leaves it to us to stop, and it ends when
    this process does, however that ends.
    """

    def __init__(self, command: Sequence[str], port: int, log: Path) -> None:
        self._port, self._log = port, log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as output:
            output.write(f"\n$ {' '.join(command)}\n")
            output.flush()
            self._begin = output.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-I", guarded.__file__, *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=_environment(),
            )

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self._port}"

    def wait(self, timeout: float, stop: Callable[[], bool]) -> bool:
        """Whether the server is ready; false where `stop` said yes before it was.

        Raises:
            BackendError: it ended, or is not ready after `timeout` seconds; says why in one line.
        """
        patience = time.monotonic() + timeout
        while not stop():
            self.check()
            if self._is_healthy():
                return True
            if time.monotonic() > patience:
                self.close()
                raise BackendError(
                    f"vLLM was not ready after {timeout:.0f} s; raise backend.vllm.startup_timeout, or see {self._log}"
                )
            time.sleep(0.2)
        return False

    def has_ended(self) -> bool:
        """Whether the server has ended, for whatever reason."""
        return self._process.poll() is not None

    def check(self) -> None:
        """Nothing while the server runs.

        Raises:
            BackendError: it has ended; says why in one line.
        """
        status = self._process.poll()
        if status is not None:
            raise BackendError(f"vLLM ended: {reason(self.output(), status)}; its output is in {self._log}")

    def output(self) -> str:
        """What this server has written so far."""
        with self._log.open("rb") as log:
            log.seek(self._begin)
            return log.read().decode("utf-8", errors="replace")

    def close(self) -> None:
        """Ends the server and waits until it has gone."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(guarded.GRACE + 5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _is_healthy(self) -> bool:
        with contextlib.suppress(OSError, urllib.error.URLError), _LOOPBACK.open(self.url + "/health", timeout=5) as r:
            return bool(r.status == 200)
        return False


def _environment() -> dict[str, str]:
    """This process' environment, with an output that tells something and statistics that tell nobody."""
    level = os.environ.get("VLLM_LOGGING_LEVEL", "INFO")
    # Importing TRL sets it to ERROR for everything that this process starts.
    return {"VLLM_NO_USAGE_STATS": "1", **os.environ, "VLLM_LOGGING_LEVEL": "INFO" if level == "ERROR" else level}
