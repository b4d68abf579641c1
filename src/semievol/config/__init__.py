"""Every option of SemiEvol, declared once.

The YAML file, `--set` on the command line, `semievol config schema`, the digests of a run's stages and the
reference page all come from these classes. A section has the name of its stage where there is one.
"""

from semievol.config.engines import ExecutorConfig, ModelConfig, TrainingConfig
from semievol.config.loading import PRESETS, build, changed, dump, load, schema
from semievol.config.options import Config, DataConfig, RetrievalConfig, SelectConfig, TaskConfig

__all__ = [
    "PRESETS",
    "Config",
    "DataConfig",
    "ExecutorConfig",
    "ModelConfig",
    "RetrievalConfig",
    "SelectConfig",
    "TaskConfig",
    "TrainingConfig",
    "build",
    "changed",
    "dump",
    "load",
    "schema",
]
