"""What libraries say and raise while a model is loaded or computes, as this program says it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from semievol.errors import BackendError


@contextmanager
def out_of_memory(doing: str, advice: str) -> Iterator[None]:
    """Turns torch's out-of-memory errors, which differ by device, into a BackendError with `advice`."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise BackendError(f"{doing}: out of memory; {advice}") from error
        raise


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether it says that memory did not suffice: torch.OutOfMemoryError, or what the CPU's allocator raises."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def release_memory() -> None:
    """Gives memory that torch keeps for tensors to come back to the device."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def quiet() -> Iterator[None]:
    """Silences transformers' progress bars, the command line draws its own, and deprecations between libraries."""
    from transformers.utils import logging as transformers_logging

    had_progress_bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            # PEFT looks for experts among modules, finds them as parameters, and says that it found no modules.
            warnings.filterwarnings("ignore", r"The following (rank|alpha)_pattern keys", RuntimeWarning)
            yield
    finally:
        if had_progress_bars:
            transformers_logging.enable_progress_bar()
