"""The model that this process holds itself."""

import logging
import sys

# PEFT imports bitsandbytes if it is installed, which then misses a package for kernels that nobody asks for.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def free_memory() -> None:
    """Frees the model that answering and training share, if this process has loaded one."""
    if "semievol.local.model" in sys.modules:  # importing it would load torch
        from semievol.local.model import free_local_model

        free_local_model()
