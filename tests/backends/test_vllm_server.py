"""The server process: started, watched, stopped, and never left behind."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from processes import exists, soon
from semievol.backends.vllm.server import Server, _environment, free_port
from semievol.errors import BackendError

STANDIN = [sys.executable, str(Path(__file__).parents[1] / "vllm_standin.py"), "serve", "model"]

KILLED = """
import os, signal, sys
from pathlib import Path
from semievol.backends.vllm.server import Server, free_port

port = free_port()
server = Server([*sys.argv[2:], "--served-model-name", "base", "--port", str(port)], port, Path(sys.argv[1]))
assert server.wait(60, lambda: False)
print(port, flush=True)
number = int(os.environ["SIGNAL"])
if number != signal.SIGKILL:
    signal.signal(number, signal.SIG_DFL)  # nohup has SIGHUP ignored
os.kill(os.getpid(), number)
"""


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Server]:
    port = free_port()
    server = Server([*STANDIN, "--served-model-name", "base", "--port", str(port)], port, folder / "logs" / "vllm.log")
    try:
        yield server
    finally:
        server.close()


def never() -> bool:
    return False


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_server_is_waited_for_and_ends_when_it_is_closed(tmp_path):
    with started(tmp_path) as server:
        assert server.wait(60, never)
        server.check()
        port = int(server.url.rpartition(":")[2])
        assert listens(port)
    assert not listens(port)
    server.close()


def test_what_the_server_writes_is_in_the_log_under_its_command(tmp_path):
    for _ in range(2):
        with started(tmp_path) as server:
            server.wait(60, never)
            assert server.output().startswith("ready to stand in")
    log = (tmp_path / "logs" / "vllm.log").read_text()
    assert log.count("vllm_standin.py serve model --served-model-name base") == 2
    assert log.count("ready to stand in") == 2


def test_a_start_that_fails_says_why_in_one_line_and_where_the_output_is(tmp_path, monkeypatch):
    monkeypatch.setenv("STANDIN_SAYS", "Traceback\nOSError: [Errno 98] Address already in use")
    monkeypatch.setenv("STANDIN_FAILS", "1")
    with started(tmp_path) as server, pytest.raises(BackendError) as raised:
        server.wait(60, never)
    assert str(raised.value).startswith("vLLM ended: its port was taken")
    assert str(tmp_path / "logs" / "vllm.log") in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_command_that_is_not_there_says_so(tmp_path):
    server = Server(["/nowhere/vllm", "serve"], free_port(), tmp_path / "vllm.log")
    with pytest.raises(BackendError, match="command cannot be started: /nowhere/vllm: No such file"):
        server.wait(60, never)


def test_a_server_that_does_not_become_ready_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setenv("STANDIN_NEVER", "1")
    with started(tmp_path) as server, pytest.raises(BackendError, match=r"not ready after 1 s.*startup_timeout"):
        server.wait(1, never)


def test_a_user_who_stops_need_not_wait_for_the_start(tmp_path, monkeypatch):
    monkeypatch.setenv("STANDIN_NEVER", "1")
    with started(tmp_path) as server:
        assert not server.wait(60, lambda: True)


def test_an_engine_that_outlives_its_server_is_ended_too(tmp_path, monkeypatch):
    monkeypatch.setenv("STANDIN_ENGINE", str(tmp_path / "engine"))
    with started(tmp_path) as server:
        server.wait(60, never)
        engine = int((tmp_path / "engine").read_text())
        assert exists(engine)
    assert soon(lambda: not exists(engine))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_killed_run_leaves_no_server_and_no_engine(number, tmp_path):
    environment = {**os.environ, "SIGNAL": str(int(number)), "STANDIN_ENGINE": str(tmp_path / "engine")}
    arguments = [sys.executable, "-c", KILLED, str(tmp_path / "vllm.log"), *STANDIN]
    ended = subprocess.run(arguments, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == -number
    port, engine = int(ended.stdout), int((tmp_path / "engine").read_text())
    assert soon(lambda: not listens(port))
    assert soon(lambda: not exists(engine))


def test_the_server_tells_what_it_does_whatever_trl_has_set(monkeypatch):
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "ERROR")
    assert _environment()["VLLM_LOGGING_LEVEL"] == "INFO"
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "DEBUG")
    assert _environment()["VLLM_LOGGING_LEVEL"] == "DEBUG"
    assert _environment()["VLLM_NO_USAGE_STATS"] == "1"


def test_ctrl_c_in_the_terminal_does_not_reach_the_server(tmp_path):
    with started(tmp_path) as server:
        server.wait(60, never)
        assert os.getsid(server._process.pid) != os.getsid(0)
