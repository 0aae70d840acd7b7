"""An agent whose simulated cluster has an API server that it does not know: `python -m bench.tunnel_agent ...`.

    python -m bench.tunnel_agent DATA HUB NAME ADDRESS      ADDRESS: host:port to which tunnels lead

For `reach_stream.py`: everything of a tunnel is real but what stands at its end.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

from arbora.cli.daemon import run_daemon
from arbora.clock import LoopClock
from arbora.secret import Secret
from arbora_agent.app import Agent, AgentHooks, open_cluster
from arbora_agent.cluster.port import ClusterFacts
from arbora_agent.cluster.simulated import SimulatedCluster
from arbora_agent.settings import AgentSettings


def main() -> None:
    """Run until told to stop."""
    data, hub, name, address = sys.argv[1:]
    settings = AgentSettings(
        Path(data), hub=hub, join_token=Secret(os.environ["ARBORA_JOIN_TOKEN"]), name=name, simulate="1x8xH100"
    )

    async def run(stop: asyncio.Event) -> None:
        cluster, store = open_cluster(settings, LoopClock())
        assert isinstance(cluster, SimulatedCluster)
        plain = cluster.facts

        def facts() -> ClusterFacts:
            return replace(plain(), api_address=address)

        cluster.facts = facts  # type: ignore[method-assign]
        await Agent(settings, cluster, store, LoopClock(), AgentHooks()).run(stop)

    run_daemon(run)


if __name__ == "__main__":
    main()
