"""An S3 of this machine, for tests."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """The environment in which `s3://` leads to a server of our own, S3_PROCESS, which has one bucket: `runs`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "S3_PROCESS": str(process.pid),
    }
    try:
        wait_for(port)
        make_bucket(environment, "runs")
        yield environment
    finally:
        process.kill()
        process.wait()


def wait_for(port: int, seconds: float = 60.0) -> None:
    patience = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > patience:
                raise
            time.sleep(0.1)


def make_bucket(environment: dict[str, str], name: str) -> None:
    code = "import sys, boto3; boto3.client('s3').create_bucket(Bucket=sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, name], env={**os.environ, **environment}, check=True)
