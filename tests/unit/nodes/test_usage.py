"""Which pods hold which GPUs, and where Kubernetes and the devices disagree."""

from __future__ import annotations

from dataclasses import replace

import pytest

from arbora.gpus.model import Device, Holder, Mig, Node, Use, Values
from arbora_agent.cluster.port import GpuPod
from arbora_agent.nodes.usage import IDLE_SECONDS, LEAK_SECONDS, Remembered, is_busy, judge_use

NAMES = {"w-1": "train", "w-2": "serve"}
IDLE, BUSY, UNKNOWN = Values(utilization=0, processes=0), Values(utilization=90, processes=1), Values()


def node_of(count: int = 4) -> Node:
    return Node(devices=tuple(Device(f"GPU-{index}", index) for index in range(count)))


def pod(name: str, gpus: int, workload: str = "", resource: str = "nvidia.com/gpu") -> GpuPod:
    return GpuPod("n", "default", name, ((resource, gpus),), workload)


class Watched:
    """A node that is looked at again and again."""

    def __init__(self, node: Node | None = None, shared: bool = False) -> None:
        self.node = node or node_of()
        self.shared = shared
        self.known = Remembered(0.0)
        self.now = 0.0
        self.pods: list[GpuPod] = []
        self.values: dict[str, Values] = {each.uuid: IDLE for each in self.node.devices}

    def look(self) -> Node:
        return judge_use(self.node, self.values, self.pods, NAMES, self.shared, self.known, self.now)

    def after(self, seconds: float) -> Node:
        """As it is looked at every ten seconds."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 10.0)
            found = self.look()
        return found

    def uses(self) -> list[Use]:
        return [each.use for each in self.look().devices]


def test_without_pods_every_device_is_free() -> None:
    one = Watched()
    assert one.uses() == [Use.FREE] * 4
    assert all(each.holders == () for each in one.look().devices)


def test_where_pods_ask_for_all_each_device_is_held() -> None:
    one = Watched()
    one.pods = [pod("a", 4, "w-1")]
    found = one.look()
    assert [each.use for each in found.devices] == [Use.HELD] * 4
    assert found.devices[0].holders == (Holder("default", "a", "train", True),)


def test_of_several_pods_it_is_said_that_one_of_them_holds_it() -> None:
    one = Watched()
    one.pods = [pod("a", 2, "w-1"), pod("b", 2)]
    assert one.look().devices[0].holders == (
        Holder("default", "a", "train", False),
        Holder("default", "b", "", False),
    )


def test_where_pods_ask_for_some_it_is_not_known_which() -> None:
    one = Watched()
    one.pods = [pod("a", 2, "w-1")]
    found = one.look()
    assert [each.use for each in found.devices] == [Use.UNKNOWN] * 4
    assert found.devices[3].holders == (Holder("default", "a", "train", False),)


class TestIdle:
    def test_a_device_that_is_held_and_unused_for_half_an_hour_is_idle(self) -> None:
        one = Watched()
        one.pods = [pod("a", 4)]
        one.values["GPU-1"] = BUSY
        assert one.after(IDLE_SECONDS - 10).devices[0].use is Use.HELD
        found = one.after(20)
        assert [each.use for each in found.devices] == [Use.IDLE, Use.HELD, Use.IDLE, Use.IDLE]

    def test_any_work_within_the_half_hour_counts(self) -> None:
        one = Watched()
        one.pods = [pod("a", 4)]
        one.after(IDLE_SECONDS - 100)
        one.values["GPU-0"] = BUSY
        one.after(10)
        one.values["GPU-0"] = IDLE
        assert one.after(200).devices[0].use is Use.HELD
        assert one.after(IDLE_SECONDS).devices[0].use is Use.IDLE

    def test_a_pod_that_came_later_has_its_own_half_hour(self) -> None:
        one = Watched()
        one.after(IDLE_SECONDS)
        one.pods = [pod("a", 4)]
        assert one.after(IDLE_SECONDS - 10).devices[0].use is Use.HELD

    def test_where_it_is_not_known_whether_something_runs_nothing_is_called_idle(self) -> None:
        one = Watched()
        one.pods = [pod("a", 4)]
        one.values = {}
        assert one.after(2 * IDLE_SECONDS).devices[0].use is Use.HELD

    def test_by_number_where_it_is_not_known_which(self) -> None:
        one = Watched()
        one.pods = [pod("a", 3)]
        one.values["GPU-1"] = BUSY
        assert one.after(IDLE_SECONDS - 10).idle == 0
        assert one.after(20).idle == 2

    def test_by_number_only_what_was_asked_for_all_the_time_counts(self) -> None:
        one = Watched()
        one.pods = [pod("a", 1)]
        one.after(IDLE_SECONDS)
        one.pods = [pod("a", 1), pod("b", 2)]
        assert one.after(IDLE_SECONDS - 10).idle == 1
        assert one.after(20).idle == 3


class TestLeaked:
    def test_a_device_that_works_without_a_pod_for_five_minutes_is_leaked(self) -> None:
        one = Watched()
        one.values["GPU-2"] = BUSY
        assert one.after(LEAK_SECONDS).devices[2].use is Use.UNKNOWN
        assert one.after(20).devices[2].use is Use.LEAKED
        assert one.look().devices[0].use is Use.FREE

    def test_a_process_that_does_nothing_is_one_too(self) -> None:
        one = Watched()
        one.values["GPU-2"] = Values(utilization=0, processes=1)
        one.after(10)
        assert one.after(LEAK_SECONDS).devices[2].use is Use.LEAKED

    def test_what_ends_in_time_was_a_pod_that_ended(self) -> None:
        one = Watched()
        one.values["GPU-2"] = BUSY
        one.after(LEAK_SECONDS - 20)
        one.values["GPU-2"] = IDLE
        one.after(10)
        one.values["GPU-2"] = BUSY
        assert one.after(LEAK_SECONDS - 20).devices[2].use is Use.UNKNOWN

    def test_by_number_where_more_is_busy_than_pods_ask_for(self) -> None:
        one = Watched()
        one.pods = [pod("a", 1)]
        one.values |= {"GPU-0": BUSY, "GPU-1": BUSY, "GPU-2": BUSY}
        assert one.after(LEAK_SECONDS).leaked == 0
        assert one.after(20).leaked == 2


class TestWhatTheKubeletTold:
    def test_holders_are_exact_and_get_the_names_of_their_workloads(self) -> None:
        devices = list(node_of().devices)
        devices[1] = replace(devices[1], holders=(Holder("default", "b"),))
        one = Watched(Node(devices=tuple(devices), holders_known=True))
        one.pods = [pod("a", 1), pod("b", 1, "w-2")]
        found = one.look()
        assert [each.use for each in found.devices] == [Use.FREE, Use.HELD, Use.FREE, Use.FREE]
        assert found.devices[1].holders == (Holder("default", "b", "serve", True),)

    def test_it_counts_for_divided_and_shared_devices_too(self) -> None:
        divided = Device(
            "GPU-0", 0, mig_enabled=True, mig=(Mig("MIG-1", "1g.10gb"),), holders=(Holder("default", "a"),)
        )
        one = Watched(Node(devices=(divided,), holders_known=True), shared=True)
        one.pods = [pod("a", 1, resource="nvidia.com/mig-1g.10gb")]
        assert one.uses() == [Use.HELD]

    def test_a_pod_that_has_finished_holds_nothing(self) -> None:
        devices = (replace(node_of(1).devices[0], holders=(Holder("default", "done"),)),)
        found = Watched(Node(devices=devices, holders_known=True)).look()
        assert (found.devices[0].use, found.devices[0].holders) == (Use.FREE, ())


@pytest.mark.parametrize(
    ("pods", "shared", "mig"),
    [
        ([pod("a", 4)], True, False),
        ([pod("a", 1, resource="nvidia.com/mig-1g.10gb")], False, False),
        ([], False, True),
    ],
)
def test_counts_say_nothing_of_shared_and_divided_devices(pods: list[GpuPod], shared: bool, mig: bool) -> None:
    node = node_of()
    if mig:
        node = replace(node, devices=tuple(replace(each, mig_enabled=True) for each in node.devices))
    one = Watched(node, shared)
    one.pods = pods
    found = one.after(2 * IDLE_SECONDS)
    assert {each.use for each in found.devices} == {Use.UNKNOWN}
    assert (found.idle, found.leaked) == (0, 0)


@pytest.mark.parametrize(
    ("values", "busy"),
    [
        (UNKNOWN, None),
        (IDLE, False),
        (BUSY, True),
        (Values(processes=2), True),
        (Values(utilization=0), False),
    ],
)
def test_busy_is_what_runs_or_could(values: Values, busy: bool | None) -> None:
    assert is_busy(values) is busy
