"""Freed memory stays with the process, so that the next batch need not have it cleared again."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, resource, sys
from semievol.local.memory import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def batch():
    blocks = [libc.malloc(20 << 20) for _ in range(6)]
    for block in blocks:
        libc.memset(block, 1, 20 << 20)
    for block in blocks:
        libc.free(block)

batch(), batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc has nothing to set")
def test_a_batch_after_another_takes_no_new_pages() -> None:
    assert page_faults("given back") > 10_000
    assert page_faults("kept") < 100
