"""Who may dial the port for node agents: tokens of this cluster, for this purpose, that name a node."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from arbora.clock import ManualClock
from arbora.errors import Unauthenticated, Unavailable
from arbora_agent.cluster.simulated import SimulatedCluster, Simulation
from arbora_agent.manifest.names import NODE_AGENT, NODE_AUDIENCE
from arbora_agent.nodes.gate import NodeGate, audiences_of, claims_of

OURS = "arbora-system"


class Cluster:
    """A simulated cluster, its tokens, and a gate before it."""

    def __init__(self) -> None:
        self.wall = 1_000_000.0
        self.simulation = Simulation("1x8xH100", clock=ManualClock(), wall=lambda: self.wall)
        self.gate = NodeGate(SimulatedCluster(self.simulation))

    def token(
        self,
        account: str = NODE_AGENT,
        namespace: str = OURS,
        audiences: Sequence[str] = (NODE_AUDIENCE,),
        node: str = "h100-0",
    ) -> str:
        return self.simulation.tokens.mint(namespace, account, "uid", audiences, 3600, node).reveal()


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


async def test_a_token_names_its_node_and_its_end(cluster: Cluster) -> None:
    assert await cluster.gate.node(cluster.token()) == ("h100-0", cluster.wall + 3600)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"account": "default"}, "is one of arbora-system/default"),
        ({"namespace": "elsewhere"}, "is one of elsewhere/arbora-node-agent"),
        ({"node": ""}, "names no node"),
        ({"audiences": ("https://kubernetes.default.svc",)}, "no token of a node agent"),
    ],
)
async def test_any_other_token_of_the_cluster_is_refused(
    cluster: Cluster, changes: dict[str, str], words: str
) -> None:
    with pytest.raises(Unauthenticated, match=words):
        await cluster.gate.node(cluster.token(**changes))  # type: ignore[arg-type]


async def test_a_token_that_has_ended_is_refused(cluster: Cluster) -> None:
    token = cluster.token()
    cluster.wall += 3600
    with pytest.raises(Unauthenticated, match="expired"):
        await cluster.gate.node(token)


async def test_a_token_of_another_cluster_is_refused(cluster: Cluster) -> None:
    with pytest.raises(Unauthenticated, match="not valid"):
        await cluster.gate.node(Cluster().token())


async def test_a_token_that_was_changed_is_refused(cluster: Cluster) -> None:
    head, _, signature = cluster.token().split(".")
    _, claims, _ = cluster.token(node="h100-1").split(".")
    with pytest.raises(Unauthenticated, match="not valid"):
        await cluster.gate.node(f"{head}.{claims}.{signature}")


@pytest.mark.parametrize("bearer", ["", "x", "a.b.c", "..", "é.é.é", "a." + "e" * 20_000 + ".c"])
async def test_what_is_no_token_never_reaches_the_api_server(cluster: Cluster, bearer: str) -> None:
    cluster.simulation.fail_api()
    with pytest.raises(Unauthenticated, match="no token of a node agent"):
        await cluster.gate.node(bearer)


async def test_while_the_api_server_is_away_it_is_worth_another_try(cluster: Cluster) -> None:
    cluster.simulation.fail_api()
    with pytest.raises(Unavailable) as refusal:
        await cluster.gate.node(cluster.token())
    assert refusal.value.retry_after


async def test_clients_have_no_business_here(cluster: Cluster) -> None:
    with pytest.raises(Unauthenticated):
        cluster.gate.client("arb_token")


def test_what_a_token_says_of_itself_may_be_anything() -> None:
    assert claims_of("a.W10.c") == {}
    assert audiences_of({"aud": "one"}) == ("one",)
    assert audiences_of({"aud": ["one", 2]}) == ("one",)
    assert audiences_of({"aud": 7}) == ()
