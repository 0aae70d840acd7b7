"""`arbora gpus`: sums and single devices as tables and as data, against a hub over TLS."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from typer.testing import Result

from arbora.gpus.health import Health
from arbora.v1 import enrollment_pb2, gpu_pb2, member_pb2
from tests.support.fake_hub import FakeHub
from tests.unit.cli.test_terminal import on_terminal

Arbora = Callable[..., Result]
BUSY = {"utilization": 90, "memory_used_mib": 40 * 1024, "temperature": 61, "power": 600}
HELD, IDLE = gpu_pb2.GPU_USE_HELD, gpu_pb2.GPU_USE_IDLE


def ok(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def holder(pod: str, *, certain: bool, workload: str = "") -> gpu_pb2.GpuHolder:
    return gpu_pb2.GpuHolder(namespace="team", pod=pod, workload=workload, certain=certain)


@pytest.fixture
def fleet(hub: FakeHub) -> FakeHub:
    hub.add_member("/edge-7", gpus=("H100", 8, 2), labels={"zone": "b"})
    hub.add_member("/edge-8", gpus=("H100", 8, 0), liveness=member_pb2.LIVENESS_LOST)
    hub.add_member("/edge-9", gpus=("A100", 16, 16))
    hub.add_gpu("/edge-7", "n1", 0, values=BUSY, use=HELD)
    hub.add_gpu("/edge-7", "n1", 1, values={**BUSY, "utilization": 10}, health=Health.DEGRADED, use=IDLE)
    hub.add_gpu("/edge-7", "n2", 0, health=Health.UNHEALTHY, reason="XID 79, the GPU has fallen off the bus")
    return hub


# by class


def test_gpus_alone_are_those_by_class_with_what_the_devices_say(fleet: FakeHub, arbora: Arbora) -> None:
    table = rows(ok(arbora("gpus")))
    assert table[0] == ["CLASS", "FREE", "USED", "TOTAL", "USE", "MEMBERS", "UTIL", "HEALTH"]
    assert table[1] == ["A100", "0", "16", "16", "█" * 20, "1", "-", "-"]
    assert table[2] == ["H100", "6", "2", "8", "█" * 5 + "░" * 15, "2", "50%", "1", "unhealthy,", "1", "degraded"]
    assert ok(arbora("gpus", "list")) == ok(arbora("gpus")) == ok(arbora("gpus", "list", "--by", "class"))


def test_a_selector_chooses_members_and_wide_says_where_they_are(fleet: FakeHub, arbora: Arbora) -> None:
    assert [row[0] for row in rows(ok(arbora("gpus", "-l", "zone=b")))] == ["CLASS", "H100"]
    table = rows(ok(arbora("gpus", "-o", "wide")))
    assert table[0][-5:] == ["PENDING", "UNHEALTHY", "UNUSABLE", "LOST", "WHERE"]
    assert table[2][-5:] == ["0", "0", "0", "8", "/edge-7,/edge-8"]
    assert rows(ok(arbora("gpus", "-l", "zone=b", "-o", "wide")))[1][-1] == "/edge-7"


def test_all_healthy_is_said_only_if_all_are(hub: FakeHub, arbora: Arbora) -> None:
    hub.add_member("/a", gpus=("H100", 2, 0))
    hub.add_gpu("/a", index=0)
    assert ok(arbora("gpus", "--no-headers")).rstrip().endswith("  -  all healthy")
    hub.add_gpu("/a", index=1, stale=True, values=BUSY)
    assert ok(arbora("gpus", "--no-headers")).rstrip().endswith("  -  1 silent"), "and what it said is in no mean"


def test_gpus_of_cordoned_members_are_there_but_not_free(hub: FakeHub, arbora: Arbora) -> None:
    hub.add_member("/a", gpus=("H100", 8, 2), cordoned=True)
    (pool,) = json.loads(ok(arbora("gpus", "-o", "json")))["items"]
    assert (pool["total"], pool["used"], pool["free"], pool["unusable"]) == (8, 2, 0, 6)


def test_a_class_as_data_has_what_it_always_had_and_what_the_devices_say(fleet: FakeHub, arbora: Arbora) -> None:
    unread, read = json.loads(ok(arbora("gpus", "-o", "json")))["items"]
    assert read["class"] == {"vendor": "nvidia", "product": "H100", "migProfile": "", "sharing": "exclusive"}
    assert {name: read[name] for name in ("total", "used", "free", "lost", "memberCount")} == {
        **{"total": 8, "used": 2, "free": 6, "lost": 8, "memberCount": 2}
    }
    assert read["members"] == ["/edge-7", "/edge-8"]
    assert (read["utilization"], read["rollup"]["devices"], read["rollup"]["degraded"]) == (50.0, 3, 1)
    assert unread["utilization"] is None
    assert "rollup" not in unread


# by member and by node


def test_by_member_a_line_is_a_member_and_one_that_is_lost_says_so(fleet: FakeHub, arbora: Arbora) -> None:
    table = rows(ok(arbora("gpus", "list", "--by", "member")))
    assert table[0] == ["MEMBER", "FREE", "USED", "TOTAL", "UTIL", "MEMORY", "POWER", "HEALTH"]
    assert table[1] == ["/edge-7", "6", "2", "8", "50%", "80/160GiB", "1.2kW", "1", "unhealthy,", "1", "degraded"]
    assert table[2] == ["/edge-8", "0", "0", "0", "-", "-", "-", "8", "lost"]
    assert table[3] == ["/edge-9", "0", "16", "16", "-", "-", "-", "-"]
    assert "LEAKED" in ok(arbora("gpus", "list", "--by", "member", "-o", "wide"))


def test_by_node_a_line_is_a_node_of_the_member(fleet: FakeHub, arbora: Arbora) -> None:
    table = rows(ok(arbora("gpus", "list", "edge-7", "--by", "node")))
    assert table[0] == ["NODE", "GPUS", "UTIL", "MEMORY", "POWER", "TEMP", "HEALTH"]
    assert table[1] == ["n1", "2", "50%", "80/160GiB", "1.2kW", "61C", "1", "degraded"]
    assert table[2] == ["n2", "1", "-", "-", "-", "-", "1", "unhealthy"]
    refused = arbora("gpus", "list", "--by", "node")
    assert (refused.exit_code, refused.stderr[:5]) == (2, "error")


def test_sums_as_data_are_the_hubs_own(fleet: FakeHub, arbora: Arbora) -> None:
    items = json.loads(ok(arbora("gpus", "list", "--by", "member", "-o", "json")))["items"]
    assert [item["name"] for item in items] == ["/edge-7", "/edge-8", "/edge-9"]
    assert items[0]["rollup"]["powerMilliwatts"] == 1_200_000


# by gpu


def test_by_gpu_a_line_is_a_device(fleet: FakeHub, arbora: Arbora) -> None:
    result = arbora("gpus", "list", "--by", "gpu")
    table = rows(ok(result))
    names = ["MEMBER", "NODE", "GPU", "PRODUCT", "UTIL", "MEMORY", "TEMP", "POWER", "HEALTH", "USE"]
    assert table[0] == names
    product = "NVIDIA-H100-80GB-HBM3"
    assert table[1] == ["/edge-7", "n1", "0", product, "90%", "40/80GiB", "61C", "600W", "Healthy", "Held"]
    assert table[3] == ["/edge-7", "n2", "0", product, "-", "-", "-", "-", "Unhealthy", "-"]
    assert result.stderr == "", "there is nothing to remark"


def test_wide_adds_what_names_a_device_who_holds_it_and_why_it_is_not_well(hub: FakeHub, arbora: Arbora) -> None:
    hub.add_member("/a")
    hub.add_gpu("/a", holders=[holder("x", certain=True, workload="train")])
    hub.add_gpu("/a", index=1, reason="too hot", holders=[holder("x", certain=False), holder("y", certain=False)])
    first, second = ok(arbora("gpus", "list", "--by", "gpu", "-o", "wide", "--no-headers")).splitlines()
    assert "GPU-a-n0-0" in first
    assert "team/x (workload train)" in first
    assert "one of team/x, team/y" in second
    assert second.endswith("  too hot")


def test_devices_are_narrowed_by_node_product_and_health(fleet: FakeHub, arbora: Arbora) -> None:
    def indexes(*arguments: str) -> list[list[str]]:
        table = rows(ok(arbora("gpus", "list", "edge-7", "--by", "gpu", "--no-headers", *arguments)))
        return [row[1:3] for row in table]

    assert indexes("--node", "n2") == [["n2", "0"]]
    assert indexes("--health", "degraded") == [["n1", "1"]]
    assert (
        len(indexes("--product", "NVIDIA H100 80GB HBM3"))
        == len(indexes("--product", "NVIDIA-H100-80GB-HBM3"))
        == 3
    )
    assert indexes("--product", "T4") == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--health", "unhealthy"), "--health has no meaning with --by class"),
        (("--by", "member", "--node", "n1"), "--node has no meaning with --by member"),
        (("--by", "gpu", "-l", "zone=b"), "--selector has no meaning with --by gpu"),
    ],
)
def test_an_option_that_would_have_no_effect_is_refused(
    fleet: FakeHub, arbora: Arbora, arguments: tuple[str, ...], error: str
) -> None:
    result = arbora("gpus", "list", *arguments)
    assert (result.exit_code, error in result.stderr) == (2, True), result.stderr
    assert not fleet.calls


def test_an_option_in_front_of_a_subcommand_is_refused_and_not_lost(fleet: FakeHub, arbora: Arbora) -> None:
    result = arbora("gpus", "-o", "json", "list")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --output stands before list\nhint: Options of a subcommand")
    assert not fleet.calls


def test_what_was_said_last_is_marked_and_never_looks_like_the_present(hub: FakeHub, arbora: Arbora) -> None:
    hub.add_member("/a")
    gpu = hub.add_gpu("/a", stale=True, values=BUSY, use=HELD)
    gpu.values_age.FromTimedelta(timedelta(minutes=5))
    result = arbora("gpus", "list", "--by", "gpu", "--no-headers")
    assert rows(ok(result))[0][4:] == ["90%?", "40/80GiB?", "61C?", "600W?", "Healthy?", "Held?"]
    assert result.stderr == "a ? marks what was said last: these GPUs are not heard of now\n"
    assert "5m" in ok(arbora("gpus", "list", "--by", "gpu", "-o", "wide"))
    (item,) = json.loads(ok(arbora("gpus", "list", "--by", "gpu", "-o", "json")))["items"]
    assert (item["stale"], item["valuesAge"]) == (True, 300)


def test_on_a_terminal_health_has_its_colour_and_what_was_said_last_is_dim(
    fleet: FakeHub, arbora: Arbora
) -> None:
    fleet.add_gpu("/edge-9", stale=True, values=BUSY)
    fleet.add_gpu("/edge-9", index=1, health=Health.DRAINING)
    code, sent = on_terminal("gpus", "list", "--by", "gpu", columns=140)
    assert code == 0
    for colour, word in ((32, "Healthy"), (33, "Degraded"), (31, "Unhealthy"), (35, "Draining"), (2, "Healthy?")):
        assert f"\x1b[{colour}m{word}" in sent, word
    assert "\x1b[2m90%?" in sent


def test_hubs_below_whose_devices_are_not_known_here_are_named(hub: FakeHub, arbora: Arbora) -> None:
    for name in ("/eu", "/us"):
        hub.add_member(name, gpus=("H100", 8, 0), kind=enrollment_pb2.CHILD_KIND_HUB)
    hub.add_member("/eu/paris", gpus=("H100", 8, 0))
    hub.add_gpu("/eu/paris")
    result = arbora("gpus", "list", "--by", "gpu")
    assert result.exit_code == 0
    told = "GPUs below /eu, /us are known there: arbora gpus list /eu --by gpu"
    assert result.stderr.splitlines() == ["no GPUs", told]
    below = arbora("gpus", "list", "/eu", "--by", "gpu", "--no-headers")
    assert (rows(ok(below))[0][0], below.stderr) == ("/eu/paris", "")
    assert told not in arbora("gpus").stderr, "sums are known at every hub"


# one device


def test_a_device_is_described_in_full(hub: FakeHub, arbora: Arbora) -> None:
    hub.add_member("/a")
    gpu = hub.add_gpu(
        "/a",
        values={**BUSY, "throttle": 0x44, "mig_memory_used_mib": [1024]},
        health=Health.DEGRADED,
        reason="the GPU is held back by heat",
        use=HELD,
        serial="1650023000000",
        last_xid=94,
        mig_enabled=True,
        mig=[gpu_pb2.MigDevice(uuid="MIG-1", profile="1g.10gb", gpu_instance=7, memory_bytes=10 * 2**30)],
        holders=[holder("x", certain=True, workload="train"), *(holder(pod, certain=False) for pod in "yz")],
        counters=gpu_pb2.GpuCounters(ecc_corrected=0, nvlink_errors=7, xids=2),
    )
    gpu.device.health_for.FromTimedelta(timedelta(hours=3))
    text = ok(arbora("gpus", "describe", "GPU-a"))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    for told in (
        "GPU: GPU-a-n0-0",
        "Node: n0, GPU 0",
        "Memory: 80GiB",
        "Serial: 1650023000000",
        "Health: Degraded",
        "Reason: the GPU is held back by heat",
        "Since: 3h ago",
        "Last error code: XID 94",
        "Held by: team/x (workload train)",
        "and: one of team/y, team/z",
        "Utilization: 90 %",
        "Memory in use: 40/80GiB",
        "Held back by: power limit; heat, by the hardware",
        "Corrected memory errors: 0 since the driver was loaded",
        "NVLink errors: 7",
        "Error codes (XID): 2 since its agent started",
        "1g.10gb 7/0 1.0/10GiB MIG-1",
        "Read: 0 of 60 minutes",
    ):
        assert told in lines, text
    assert not any(line.startswith(("PCIe", "Uncorrected")) for line in lines), (
        "what it doesn't offer is left out"
    )


def test_a_device_as_data_is_everything_with_its_history(hub: FakeHub, arbora: Arbora) -> None:
    hub.add_member("/a")
    hub.add_gpu("/a", values=BUSY)
    minute = gpu_pb2.GpuMinute(utilization=40, throttled=True)
    minute.ago.FromTimedelta(timedelta(seconds=70))
    hub.gpu_minutes["GPU-a-n0-0"] = [minute]
    data = json.loads(ok(arbora("gpus", "describe", "GPU-a", "--in", "/a", "-o", "json")))
    assert data["gpu"]["values"]["power"] == 600
    assert data["history"] == [{"ago": 70, "utilization": 40, "health": "Unspecified", "throttled": True}]
    assert json.loads(ok(arbora("gpus", "describe", "GPU-a", "--history", "1m", "-o", "json")))["history"] == []


def test_a_device_that_is_not_heard_of_says_so_in_full_too(hub: FakeHub, arbora: Arbora) -> None:
    hub.add_member("/a")
    hub.add_gpu("/a", stale=True, values=BUSY).values_age.FromTimedelta(timedelta(minutes=5))
    text = ok(arbora("gpus", "describe", "GPU-a"))
    assert "what was said last: it is not heard of now" in text
    assert "Healthy?" in text
    assert "Values, said 5m ago:" in text


def test_a_uuid_that_means_several_or_none_is_told(fleet: FakeHub, arbora: Arbora) -> None:
    several, none = arbora("gpus", "describe", "GPU-edge"), arbora("gpus", "describe", "GPU-x")
    assert (several.exit_code, none.exit_code) == (5, 4)
    assert "--in" in none.stderr
