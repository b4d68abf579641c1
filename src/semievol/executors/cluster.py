"""The Ray cluster that a run works on."""

import os

import ray

from semievol.config import RayConfig
from semievol.errors import ClusterError, first_line


def connect(config: RayConfig) -> None:
    """Connects this process to the cluster; a second call does nothing.

    Where neither the config nor RAY_ADDRESS names a cluster, one is started on this machine. It ends with this process.

    Raises:
        ClusterError: there is no cluster at the address.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster that is started here tells nobody
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
        raise ClusterError(f"executor.ray.address: no Ray cluster at {where}: {first_line(error)}") from error
