"""Every option of SemiEvol, declared once.

The YAML file, `--set` on the command line, `semievol config schema`, the digests of a run's stages and the
reference page all come from these classes. A section has the name of its stage if there is one.
"""

from semievol.config.backend import ServiceConfig
from semievol.config.costs import CostsConfig, PriceConfig
from semievol.config.executor import ExecutorConfig, RayConfig
from semievol.config.loading import CONFIG, FACTS, PRESETS, TRUSTED_SAMPLES, build, changed, dump, load, schema
from semievol.config.model import ModelConfig
from semievol.config.options import Config, DataConfig, RetrievalConfig, TaskConfig
from semievol.config.pseudo_labels import JustifyConfig, SelectConfig
from semievol.config.training import LAUNCHER_OPTIONS, HostedConfig, TrainingConfig

__all__ = [
    "CONFIG",
    "FACTS",
    "LAUNCHER_OPTIONS",
    "PRESETS",
    "TRUSTED_SAMPLES",
    "Config",
    "CostsConfig",
    "DataConfig",
    "ExecutorConfig",
    "HostedConfig",
    "JustifyConfig",
    "ModelConfig",
    "PriceConfig",
    "RayConfig",
    "RetrievalConfig",
    "SelectConfig",
    "ServiceConfig",
    "TaskConfig",
    "TrainingConfig",
    "build",
    "changed",
    "dump",
    "load",
    "schema",
]
