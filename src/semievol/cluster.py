"""The Ray cluster that a run works on."""

import os
from typing import Any

from semievol.config import RayConfig
from semievol.errors import ClusterError, MissingExtraError


def connect(config: RayConfig) -> Any:
    """The `ray` module, connected to the cluster; a second call does nothing.

    Where neither the config nor RAY_ADDRESS names a cluster, one is started on this machine. It ends with this process.

    Raises:
        MissingExtraError: Ray is not installed.
        ClusterError: there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster that is started here tells nobody
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(f"executor.kind: ray needs {error.name}; pip install 'semievol[ray]'") from error
    if ray.is_initialized():
        return ray
    address = config.address or os.environ.get("RAY_ADDRESS")
    try:
        ray.init(
            address=address,
            runtime_env=config.runtime_env or None,
            logging_level="error",
            log_to_driver=False,
            **({} if address else {"include_dashboard": False}),
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = address or "this machine"
        raise ClusterError(f"executor.ray.address: no Ray cluster at {where}: {str(error).splitlines()[0]}") from error
    return ray
