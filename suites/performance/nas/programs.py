"""The programs that measure, run to their end where they belong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fixtures.cluster import Cluster
from fixtures.runtimes import Command

_TIMEOUT_S = 240.0
"""Far beyond what any of them takes; who hangs on a mount is killed then."""


def run_program(
    cluster: Cluster, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None, host: str = ""
) -> str:
    """What it printed. `host` is an address of the cluster, for who needs its network. Raises InfrastructureError."""
    site = cluster.site
    command = Command(
        name=name,
        argv=tuple(argv),
        folder=site.folder("benchmarks"),
        log=site.log(name.replace(" ", "-")),
        env=env or {},
        host=host,
    )
    return site.runtime.run(command, timeout_s=_TIMEOUT_S)
