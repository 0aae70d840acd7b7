"""The agent as its pod runs it, outside of a pod: `python -m bench.pod_agent MOUNT DATA HUB NAME`.

MOUNT holds what a kubelet mounts (token, ca.crt, namespace); everything else is the daemon that `arbora agent run
--identity-secret` is, with the command line loaded beside it, so that its memory can be compared. For
`applying.py`, because the mounted files have a fixed place that a bench must not write to.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import arbora.cli.main  # noqa: F401  (what the real process has loaded, too)
from arbora.cli.daemon import run_daemon
from arbora.clock import LoopClock
from arbora.secret import Secret
from arbora_agent.app import Agent, AgentHooks
from arbora_agent.cluster.kubernetes import KubernetesCluster, in_cluster
from arbora_agent.identity_secret import IdentitySecret
from arbora_agent.settings import AgentSettings


def main() -> None:
    """Run until told to stop."""
    mount, data, hub, name = sys.argv[1:]
    token = Secret(os.environ["ARBORA_JOIN_TOKEN"])
    settings = AgentSettings(data_dir=Path(data), hub=hub, join_token=token, name=name, identity_secret=True)
    access = in_cluster(Path(mount))

    async def run(stop: asyncio.Event) -> None:
        cluster = KubernetesCluster(access)
        try:
            await Agent(settings, cluster, IdentitySecret(access), LoopClock(), AgentHooks()).run(stop)
        finally:
            await cluster.close()

    run_daemon(run)


if __name__ == "__main__":
    main()
