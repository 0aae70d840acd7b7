"""The account of GPUs, kept up to date change by change."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from arbora.capacity.gpus import GpuClass
from arbora.capacity.node import Devices, NodeShape, node_gpus
from arbora.capacity.pod import PodUse, sum_gpus
from arbora_agent.cluster.kubernetes.ledger import Ledger

GPU = "nvidia.com/gpu"


def node(name: str, gpus: int = 8, *, ready: bool = True) -> NodeShape:
    devices = (Devices(GPU, GpuClass("nvidia", "H100"), gpus, gpus),) if gpus else ()
    return NodeShape(name, ready, ready, devices, 64_000, 1 << 20, ())


def use(on: str, gpus: int = 1, cpu: int = 100) -> PodUse:
    return PodUse(on, ((GPU, gpus),) if gpus else (), cpu, 0)


def test_a_pod_that_moves_from_pending_to_a_node_is_counted_once() -> None:
    ledger = Ledger()
    ledger.put_node(node("a"))
    assert ledger.put_pod("t/p", use("", 2))
    assert (ledger.pending(), ledger.gpus()[0].requested) == ({GPU: 2}, 0)
    assert ledger.put_pod("t/p", use("a", 2))
    assert (ledger.pending(), ledger.gpus()[0].requested) == ({}, 2)
    assert ledger.put_pod("t/p", None)
    assert ledger.gpus()[0].requested == 0


def test_pods_known_before_their_node_count_once_it_is_there() -> None:
    ledger = Ledger()
    ledger.put_pod("t/p", use("a", 2))
    assert ledger.put_node(node("a"))
    assert ledger.gpus()[0].requested == 2


def test_what_scheduling_cant_see_wakes_nobody() -> None:
    ledger = Ledger()
    ledger.put_node(node("plain", 0))
    assert not ledger.put_node(node("plain", 0))
    assert not ledger.put_pod("t/p", use("plain", 0))
    assert not ledger.put_pod("t/q", use("", 0))
    assert not ledger.put_pod("t/unknown", None)
    assert ledger.put_node(node("plain", 0, ready=False))
    assert (ledger.nodes, ledger.nodes_ready) == (1, 0)


names = st.sampled_from("abc")
keys = st.sampled_from(["t/1", "t/2", "t/3", "t/4"])
uses = st.builds(use, st.sampled_from(["", "a", "b", "c"]), st.integers(0, 4), st.integers(0, 500))
nodes = st.builds(node, names, st.integers(0, 8), ready=st.booleans())
changes = st.one_of(
    st.tuples(st.just("put_node"), nodes),
    st.tuples(st.just("remove_node"), names),
    st.tuples(st.just("put_pod"), st.tuples(keys, st.none() | uses)),
    st.tuples(st.just("replace_nodes"), st.lists(nodes, max_size=3, unique_by=lambda each: each.name)),
    st.tuples(st.just("replace_pods"), st.dictionaries(keys, uses, max_size=4)),
)


@given(st.lists(changes, max_size=25))
def test_after_any_changes_the_account_is_that_of_the_current_nodes_and_pods(
    story: list[tuple[str, object]],
) -> None:
    ledger, shapes, pods = Ledger(), dict[str, NodeShape](), dict[str, PodUse]()
    for what, given_value in story:
        before = (ledger.gpus(), ledger.pending(), ledger.nodes, ledger.nodes_ready)
        match what, given_value:
            case "put_node", NodeShape() as shape:
                shapes[shape.name] = shape
                changed = ledger.put_node(shape)
            case "remove_node", str() as name:
                shapes.pop(name, None)
                changed = ledger.remove_node(name)
            case "put_pod", (str() as key, None):
                pods.pop(key, None)
                changed = ledger.put_pod(key, None)
            case "put_pod", (str() as key, PodUse() as pod):
                pods[key] = pod
                changed = ledger.put_pod(key, pod)
            case "replace_nodes", list() as listed:
                shapes = {shape.name: shape for shape in listed}
                changed = ledger.replace_nodes(listed)
            case "replace_pods", dict() as listed:
                pods = dict(listed)
                changed = ledger.replace_pods(listed)
            case _:
                raise AssertionError(what)
        expected = [
            gpus
            for name in sorted(shapes)
            for gpus in node_gpus(shapes[name], [pod for pod in pods.values() if pod.node == name])
        ]
        assert list(ledger.gpus()) == expected
        assert ledger.pending() == sum_gpus(pod for pod in pods.values() if not pod.node)
        if not changed:
            assert before == (ledger.gpus(), ledger.pending(), ledger.nodes, ledger.nodes_ready)
