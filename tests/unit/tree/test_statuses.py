"""What members further down last said of their clusters: an answer is kept for a while, nothing said is not."""

from __future__ import annotations

from typing import Any, cast

import pytest

from arbora.identity.names import Path
from arbora.v1 import member_pb2 as pb
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.tree.calls import Calls
from arbora_hub.tree.statuses import KEPT_SECONDS, Statuses


class Below:
    """The hubs below, as they answer GetMember."""

    own_path = Path()

    def __init__(self, status: pb.ClusterStatus | None) -> None:
        self.status = status
        self.asked = 0
        self.now = 1000.0
        self.statuses = Statuses(cast(Inventory, self), cast(Calls, self), lambda: self.now)

    async def forward(self, name: str, method: str, request: Any, response: Any) -> pb.GetMemberResponse:
        self.asked += 1
        return pb.GetMemberResponse(member=pb.Member(path="/eu/edge-7", status=self.status))


@pytest.mark.parametrize(
    "said", [pb.ClusterStatus(kubernetes_version="v1.34.0"), pb.ClusterStatus(api_ca_pem=b"PEM")]
)
async def test_an_answer_is_kept_for_a_while(said: pb.ClusterStatus) -> None:
    below = Below(said)
    assert await below.statuses.of("eu/edge-7") == said
    assert await below.statuses.of("/eu/edge-7") == said
    assert below.asked == 1
    below.now += KEPT_SECONDS
    assert await below.statuses.of("eu/edge-7") == said
    assert below.asked == 2


@pytest.mark.parametrize("said", [None, pb.ClusterStatus()], ids=["nothing", "an empty status"])
async def test_a_member_that_said_nothing_yet_is_asked_again(said: pb.ClusterStatus | None) -> None:
    below = Below(said)
    assert await below.statuses.of("eu/edge-7") == pb.ClusterStatus()
    below.status = pb.ClusterStatus(kubernetes_version="v1.34.0", api_ca_pem=b"PEM")
    assert await below.statuses.ca_of("eu/edge-7") == b"PEM"
    assert below.asked == 2
