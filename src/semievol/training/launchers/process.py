"""One process of a training on this machine: `torchrun ... -m semievol.training.launchers.process JOB NEWS`."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from semievol.training.job import Job
from semievol.training.launchers import News, work


def main(job_file: str, news_file: str) -> int:
    """The exit status, after the training."""
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    job = Job.read(Path(job_file))
    with Path(news_file).open("a", encoding="utf-8") as file:

        def tell(news: News) -> None:
            file.write(json.dumps(news) + "\n")
            file.flush()

        _join(job)
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())  # the step under way is finished, and saved
        succeeded = work(job, tell, stop.is_set)
    return 0 if succeeded else 1


def _join(job: Job) -> None:
    """Makes the process group, and this process' GPU the one that `cuda` means."""
    import torch
    from torch import distributed

    from semievol.models.types import resolve_device

    if resolve_device(job.model).startswith("cuda"):
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("cuda:nccl,cpu:gloo")
    else:
        distributed.init_process_group("gloo")


def _end_with_parent(parent: int) -> None:
    """Ends this process once torchrun has gone, however it went: it would train on and write its adapter."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
