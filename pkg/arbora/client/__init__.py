"""The asyncio SDK: `HubClient` and what its methods return beside the generated messages."""

from arbora.client.hub import HubClient
from arbora.client.tokens import Token
from arbora.client.waiting import WorkloadDegraded

__all__ = ["HubClient", "Token", "WorkloadDegraded"]
