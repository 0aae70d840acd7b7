"""The endpoints for Prometheus of a hub, a cluster's agent and a node agent, over real sockets."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from arbora.clock import LoopClock
from arbora.errors import Conflict, InvalidInput
from arbora.metrics import AT_ONCE, SILENT_SECONDS, MetricsServer
from arbora.session.credential import CredentialFile
from arbora_agent.app import Agent, AgentHooks
from arbora_agent.cluster.simulated import SimulatedCluster, Simulation
from arbora_agent.gpu.recorded import RecordedReader
from arbora_agent.node_agent.app import NodeAgent
from arbora_agent.node_agent.settings import NodeSettings
from tests.support.eventually import eventually
from tests.support.gpus import recording_of, running_node_agent
from tests.support.hub import RunningHub, agent_settings, config_map, running_agent, running_hub
from tests.support.metrics import OPENMETRICS, Shown, ask, fetch, scrape
from tests.support.processes import Daemon, free_ports

HERE = "127.0.0.1:0"


class Answers(Collector):
    """A collector that does what the test says."""

    def __init__(self) -> None:
        self.trouble: Exception | None = None
        self.began = threading.Event()
        self.go = threading.Event()
        self.go.set()

    def collect(self) -> Iterator[Metric]:
        self.began.set()
        assert self.go.wait(10.0)
        if self.trouble is not None:
            raise self.trouble
        yield GaugeMetricFamily("test_number", "A number.", 42)


def metric_threads() -> list[str]:
    """Of our servers: the one that listens, and those of requests."""
    return [each.name for each in threading.enumerate() if "metrics" in each.name or "request" in each.name]


class TestTheServer:
    async def test_text_is_served_unless_openmetrics_is_asked_for(self) -> None:
        async with MetricsServer(HERE, Answers()) as server:
            plain = await fetch(server.port)
            other = await fetch(server.port, accept=OPENMETRICS)
        assert plain.content_type.startswith("text/plain; version=0.0.4")
        assert "test_number 42.0" in plain.body
        assert other.content_type.startswith("application/openmetrics-text; version=1.0.0")
        assert other.body.endswith("# EOF\n")

    async def test_the_process_and_its_version_are_shown_as_well(self) -> None:
        async with MetricsServer(HERE, Answers()) as server:
            found = await scrape(server.port)
        assert found.one("process_resident_memory_bytes") > 1e6
        assert {"process_cpu_seconds_total", "process_open_fds", "python_info"} <= set(found.samples)
        assert found.one("arbora_build_info") == 1

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/healthz", 200),
            ("POST", "/healthz", 405),
            ("POST", "/metrics", 405),
            ("GET", "/", 404),
            ("GET", "/metrics/../healthz", 404),
        ],
    )
    async def test_there_are_two_paths_to_get(self, method: str, path: str, status: int) -> None:
        async with MetricsServer(HERE, Answers()) as server:
            assert (await fetch(server.port, path, method=method)).status == status

    async def test_a_loop_that_does_not_come_round_is_not_well(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("arbora.metrics.LOOP_SECONDS", 0.05)
        async with MetricsServer(HERE, Answers()) as server:
            asking = asyncio.get_running_loop().run_in_executor(None, ask, server.port, "/healthz")
            time.sleep(1.0)  # noqa: ASYNC251 - what must not be done, on purpose
            assert (await asking).status == 503
            assert (await fetch(server.port, "/healthz")).status == 200

    async def test_the_loop_goes_on_while_a_scrape_takes_long(self) -> None:
        answers = Answers()
        answers.go.clear()
        async with MetricsServer(HERE, answers) as server:
            scraping = asyncio.create_task(fetch(server.port))
            await eventually(answers.began.is_set, "it is collected")
            assert (await fetch(server.port, "/healthz")).status == 200
            answers.go.set()
            assert (await scraping).status == 200

    async def test_what_goes_wrong_in_a_collector_is_not_told_to_whoever_asks(self) -> None:
        answers = Answers()
        answers.trouble = RuntimeError("a secret")
        async with MetricsServer(HERE, answers) as server:
            answer = await fetch(server.port)
            assert answer.status == 500
            assert "secret" not in answer.body
            answers.trouble = None
            assert (await fetch(server.port)).status == 200

    async def test_a_port_that_is_taken_is_named_with_the_option_to_change_it(self) -> None:
        async with MetricsServer(HERE, Answers()) as first:
            with pytest.raises(Conflict, match=f"can't serve metrics on 127.0.0.1:{first.port}") as refused:
                await MetricsServer(f"127.0.0.1:{first.port}", Answers()).__aenter__()
            assert "--metrics-address" in refused.value.hint

    async def test_an_address_of_another_machine_is_refused_likewise(self) -> None:
        with pytest.raises(Conflict, match=r"can't serve metrics on 192\.0\.2\.1:0"):
            await MetricsServer("192.0.2.1:0", Answers()).__aenter__()

    async def test_what_is_no_address_is_refused_at_once(self) -> None:
        with pytest.raises(InvalidInput, match="--metrics-address: 'nine' is not an address"):
            MetricsServer("nine", Answers())

    @pytest.mark.parametrize("host", ["", "0.0.0.0", "localhost"])
    async def test_without_a_host_every_interface_is_served(self, host: str) -> None:
        async with MetricsServer(f"{host}:0", Answers()) as server:
            assert (await fetch(server.port, "/healthz")).status == 200

    async def test_no_thread_and_no_port_is_left_at_the_end_even_if_somebody_hangs_on(self) -> None:
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(MetricsServer(HERE, Answers()))
            with socket.create_connection(("127.0.0.1", server.port)) as silent:
                await eventually(lambda: any("request" in each for each in metric_threads()), "accepted")
                async with asyncio.timeout(SILENT_SECONDS - 1.0):
                    await stack.aclose()
                assert metric_threads() == []
                assert silent.recv(1) == b""
        async with MetricsServer(f"127.0.0.1:{server.port}", Answers()) as again:
            assert again.port == server.port

    async def test_silent_connections_take_no_more_threads_than_there_is_room_for(self) -> None:
        async with MetricsServer(HERE, Answers()) as server:
            held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(AT_ONCE + 4)]
            try:
                *_, last = held
                last.settimeout(5.0)
                assert await asyncio.to_thread(last.recv, 1) == b""
                assert sum("request" in each for each in metric_threads()) == AT_ONCE
            finally:
                for each in held:
                    each.close()
            await eventually(lambda: not any("request" in each for each in metric_threads()), "they end")
            assert (await fetch(server.port, "/healthz")).status == 200


@asynccontextmanager
async def everything(folder: Path) -> AsyncIterator[tuple[RunningHub, dict[str, int]]]:
    """A hub, a cluster's agent and one node agent that all show metrics; their ports."""
    async with (
        running_hub(folder / "hub", metrics_address=HERE) as hub,
        running_agent(hub, folder, "edge-7", "1x8xH100", node_address=HERE, metrics_address=HERE) as member,
        running_node_agent(
            member,
            "h100-0",
            recording_of("h100-0", utilization=50, power_mw=500_000),
            metrics_address=HERE,
            node_name="h100-0",
        ) as node,
    ):
        gateway = hub.hub.gateway
        assert gateway.metrics is not None
        assert member.agent.metrics is not None
        assert node.agent.metrics is not None
        await eventually(lambda: node.agent.uplink.connected, "the node agent is connected")
        yield (
            hub,
            {
                "hub": gateway.metrics.port,
                "agent": member.agent.metrics.port,
                "node": node.agent.metrics.port,
            },
        )


async def until(port: int, name: str, value: float, **labels: str) -> Shown:
    """Scrape until a sample has this value."""

    async def there() -> Shown | None:
        found = await scrape(port)
        return found if list(found.all(name, **labels).values()) == [value] else None

    found = await eventually(there, f"{name} {labels} is {value}", 15.0)
    assert found is not None
    return found


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents and hubs count anew without a pause to speak of."""
    monkeypatch.setattr("arbora_agent.metrics.LOOK_SECONDS", 0.1)
    monkeypatch.setattr("arbora_hub.gateway.metrics.LOOK_SECONDS", 0.1)


@pytest.mark.usefixtures("hasty")
class TestWhoShowsWhat:
    async def test_one_gpu_is_seen_at_its_node_and_as_a_number_above(self, tmp_path: Path) -> None:
        async with everything(tmp_path) as (hub, ports):
            await hub.admin.workloads.apply("settings", [config_map("settings")], members=["edge-7"])
            node = await until(ports["node"], "arbora_node_agent_connected", 1)
            assert len(node.all("DCGM_FI_DEV_GPU_UTIL", Hostname="h100-0")) == 8
            agent = await until(ports["agent"], "arbora_agent_gpus", 8, state="total")
            assert agent.one("arbora_agent_connected") == 1
            agent = await until(ports["agent"], "arbora_agent_workloads", 1, state="available")
            agent = await until(ports["agent"], "arbora_agent_node_agents", 1)
            assert sum(agent.samples["arbora_agent_gpu_use"].values()) == 8
            top = await until(ports["hub"], "arbora_hub_gpu_health", 8, member="edge-7", health="healthy")
            top = await until(ports["hub"], "arbora_hub_gpu_power_watts", 4000)
            assert top.one("arbora_hub_gpu_utilization_ratio", member="edge-7") == 0.5
            assert top.one("arbora_hub_gpus", member="edge-7", state="total") == 8
            assert top.one("arbora_hub_children", kind="agent", liveness="online") == 1
            assert top.one("arbora_hub_sessions") == 1
            await until(ports["hub"], "arbora_hub_workloads", 1, state="available")

    async def test_no_series_above_a_node_agent_is_about_a_single_gpu(self, tmp_path: Path) -> None:
        async with everything(tmp_path) as (_, ports):
            await until(ports["hub"], "arbora_hub_gpu_health", 8, health="healthy")
            for who in ("agent", "hub"):
                body = (await fetch(ports[who])).body
                assert "GPU-" not in body
                assert "h100-0" not in body

    async def test_an_agent_that_no_hub_has_let_in_yet_serves_and_says_so(self, tmp_path: Path) -> None:
        async with running_hub(tmp_path / "hub") as hub:
            token = await hub.join_token("edge-7")
        clock, folder, stop = LoopClock(), tmp_path / "edge-7", asyncio.Event()
        agent = Agent(
            agent_settings(folder, hub.hub.join_address, token, name="edge-7", metrics_address=HERE),
            SimulatedCluster(Simulation("1x8xH100", name="edge-7", clock=clock)),
            CredentialFile(folder),
            clock,
            AgentHooks(),
        )
        assert agent.metrics is not None
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(agent.run(stop))
            await eventually(lambda: agent.metrics and agent.metrics.port, "it serves")
            found = await until(agent.metrics.port, "arbora_agent_connected", 0)
            assert "arbora_agent_workloads" not in found
            assert (await fetch(agent.metrics.port, "/healthz")).status == 200
            stop.set()

    async def test_an_agent_that_has_lost_its_hub_says_so(self, tmp_path: Path) -> None:
        async with AsyncExitStack() as hubs:
            hub = await hubs.enter_async_context(running_hub(tmp_path / "hub"))
            async with running_agent(hub, tmp_path, "edge-7", metrics_address=HERE) as member:
                assert hub.hub.gateway.metrics is None, "off unless it is asked for"
                await member.until_online()
                assert member.agent.metrics is not None
                await until(member.agent.metrics.port, "arbora_agent_connected", 1)
                await hubs.aclose()
                await until(member.agent.metrics.port, "arbora_agent_connected", 0)

    async def test_a_hub_whose_port_is_taken_does_not_start(self, tmp_path: Path) -> None:
        async with MetricsServer(HERE, Answers()) as other:
            with pytest.raises(Conflict, match="can't serve metrics on"):
                async with running_hub(tmp_path / "hub", metrics_address=f"127.0.0.1:{other.port}"):
                    raise AssertionError("it has started")

    async def test_an_agent_whose_port_is_taken_does_not_start(self, tmp_path: Path) -> None:
        async with MetricsServer(HERE, Answers()) as other, running_hub(tmp_path / "hub") as hub:
            taken = f"127.0.0.1:{other.port}"
            async with running_agent(hub, tmp_path, "edge-7", metrics_address=taken) as member:
                assert isinstance(await member.ended(), Conflict)

    async def test_a_node_agent_whose_port_is_taken_does_not_start(self, tmp_path: Path) -> None:
        async with MetricsServer(HERE, Answers()) as other:
            settings = NodeSettings("127.0.0.1:1", metrics_address=f"127.0.0.1:{other.port}")
            with pytest.raises(Conflict, match="can't serve metrics on"):
                await NodeAgent(settings, RecordedReader(recording_of("n"))).run(asyncio.Event())


class TestAsAProcess:
    async def test_a_node_agent_takes_its_address_from_the_command_line_and_stays_small(
        self, tmp_path: Path
    ) -> None:
        (port,) = free_ports(1)
        daemon = Daemon(
            (
                *("agent", "run", "--mode", "node", "--cluster-agent", "127.0.0.1:1", "--replay", "h100x8"),
                *("--metrics-address", f"127.0.0.1:{port}"),
            ),
            tmp_path / "node.log",
            {"NODE_NAME": "gpu-node-3"},
        )
        await daemon.start()
        try:

            async def shows() -> Shown | None:
                assert daemon.running, daemon.said()
                try:
                    found = await scrape(port)
                except ConnectionRefusedError:
                    return None
                return found if "DCGM_FI_DEV_GPU_TEMP" in found else None

            found = await eventually(shows, "it shows its devices", 15.0)
            assert found is not None
            assert len(found.all("DCGM_FI_DEV_GPU_TEMP", Hostname="gpu-node-3")) == 8
            assert found.one("process_resident_memory_bytes") < 60e6
        finally:
            daemon.signal(signal.SIGTERM)
            assert await daemon.ended() == 0, daemon.said()

    async def test_a_port_that_is_taken_ends_it_with_an_error_that_names_the_option(self, tmp_path: Path) -> None:
        async with MetricsServer(HERE, Answers()) as other:
            settings = {
                "cluster_agent": "127.0.0.1:1",
                "replay": "h100x8",
                "metrics_address": f"127.0.0.1:{other.port}",
            }
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "arbora_agent.node_agent", json.dumps(settings)),
                stderr=asyncio.subprocess.PIPE,
            )
            async with asyncio.timeout(15.0):
                _, said = await process.communicate()
            assert process.returncode == Conflict.exit_code
            assert b"can't serve metrics on" in said
            assert b"--metrics-address" in said
            assert b"Traceback" not in said
