"""Certificates end, are renewed and their CA is replaced, while sessions go on."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from cryptography.exceptions import InvalidSignature

from arbora.client import HubClient
from arbora.context import find_context
from arbora.errors import Conflict, Unavailable
from arbora.identity.authority import pin
from arbora.identity.rotation import Phase, Step
from arbora.session.credential import Credential, CredentialFile
from arbora.session.state import Phase as LinkPhase
from arbora.v1 import enrollment_pb2 as pb
from arbora_hub.inventory.liveness import Liveness
from tests.support.child import enrolled, played
from tests.support.eventually import eventually
from tests.support.hub import RunningAgent, RunningHub, config_map, running_agent, running_hub


async def kept(folder: Path, name: str) -> Credential:
    credential = await CredentialFile(folder / name).load()
    assert credential is not None
    return credential


async def test_a_certificate_is_renewed_without_dropping_the_session(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub", certificate_lifetime=4.0) as hub:
        async with running_agent(hub, tmp_path, "edge-7") as agent:
            await agent.until_online()
            first = await kept(tmp_path, "edge-7")
            epoch = (await hub.until_reported("edge-7")).session_epoch
            await agent.until_online(times=3, seconds=12.0)
            last = await kept(tmp_path, "edge-7")
            assert last.leaf != first.leaf
            assert last.key_pem != first.key_pem
            member = await hub.admin.members.get("edge-7")
            assert member.session_epoch >= epoch + 2
            # never away: neither for the hub nor for clients
            reasons = await hub.reasons("member/edge-7")
            assert reasons == ["MemberJoined", "MemberOnline"]
            await hub.admin.workloads.apply("after", [config_map("after")], members=["edge-7"])
            await hub.until_workload("after", 4)


async def test_the_old_certificate_is_dead_from_the_first_use_of_the_new_one(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub", certificate_lifetime=12.0) as hub:
        async with running_agent(hub, tmp_path, "edge-7") as agent:
            await agent.until_online()
            old = await kept(tmp_path, "edge-7")
            await agent.until_online(times=2, seconds=12.0)
            uid = str(agent.simulation.uid)
            async with played(old) as session:
                down = await session.introduce("edge-7", cluster_uid=uid)
                assert down is not None
                assert down.goodbye.reason == pb.REFUSAL_NOT_ACTIVE
            assert hub.liveness("edge-7") is Liveness.ONLINE


async def test_a_session_does_not_outlive_its_certificate(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub", certificate_lifetime=1.5) as hub:
        credential = await enrolled(hub, tmp_path, "edge-7")
        async with played(credential) as session:
            down = await session.introduce("edge-7")
            assert down is not None
            assert down.HasField("welcome")
            goodbye = await session.refusal()
            assert goodbye.reason == pb.REFUSAL_MUST_REJOIN
            assert "expired" in goodbye.message
        assert "CertificateExpired" in await hub.reasons("member/edge-7")


async def test_an_agent_that_slept_past_its_certificate_says_that_it_must_rejoin(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub", certificate_lifetime=1.0) as hub:
        async with running_agent(hub, tmp_path, "edge-7") as agent:
            await agent.until_online()
        credential = await kept(tmp_path, "edge-7")
        end = credential.certificate().not_valid_after_utc

        async def refused() -> BaseException | None:
            async with running_agent(None, tmp_path, "edge-7") as sleeper:
                await eventually(lambda: sleeper.task.done() or sleeper.online(), "an outcome")
                return sleeper.task.exception() if sleeper.task.done() else None

        error = await eventually(refused, f"refused after {end}")
        assert getattr(error, "refusal", None) == pb.REFUSAL_MUST_REJOIN
        assert "join-token" in getattr(error, "hint", "")
        # and a new token lets it back in
        token = await hub.join_token("edge-7")
        async with running_agent(hub, tmp_path, "edge-7", token=token) as agent:
            await agent.until_online()


async def rotate(hub: RunningHub, step: Step) -> None:
    """As `arbora hub rotate-ca STEP` would, without the wait of a certificate's lifetime."""
    await hub.hub.authority.rotate(step, forced=True)


def signed_by_active(hub: RunningHub, agent: RunningAgent) -> bool:
    """Whether the agent's certificate is of the CA that signs now."""
    assert agent.agent.link is not None
    pins = {slot.phase: hub.hub.authority.pin_of(slot.serial) for slot in hub.hub.authority.slots}
    ca = next(one for one in hub.hub.authority.bundle().certificates if pin(one) == pins[Phase.ACTIVE])
    try:
        agent.agent.link.credential.certificate().verify_directly_issued_by(ca)
    except InvalidSignature:
        return False
    return True


def trusted(agent: RunningAgent) -> int:
    """How many CAs the agent trusts."""
    return len(agent.agent.link.credential.bundle) if agent.agent.link is not None else 0


async def learned(agents: list[RunningAgent], count: int) -> None:
    """Until every agent trusts so many CAs."""
    await eventually(
        lambda: all(
            one.agent.link is not None and len(one.agent.link.credential.bundle) == count for one in agents
        ),
        f"{count} CAs are known to all",
    )


async def test_the_ca_is_rotated_under_connected_agents_and_clients(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub", certificate_lifetime=8.0) as hub, AsyncExitStack() as stack:
        agents = []
        for name in ("a", "b"):
            agents.append(await stack.enter_async_context(running_agent(hub, tmp_path, name)))
            await agents[-1].until_online()
        before = hub.context
        old_pin = hub.hub.authority.pin

        await rotate(hub, Step.PREPARE)
        await learned(agents, 2)
        assert hub.hub.authority.pin == old_pin

        await rotate(hub, Step.ACTIVATE)
        assert [slot.phase for slot in hub.hub.authority.slots] == [Phase.RETIRING, Phase.ACTIVE]
        # a client and a child that know only the old CA still get in
        async with HubClient.from_context(before) as client:
            assert (await client.info()).members["online"] == 2
        token = await hub.join_token("late")
        assert token.endswith(old_pin)
        agents.append(await stack.enter_async_context(running_agent(hub, tmp_path, "late", token=token)))
        await agents[-1].until_online()

        await eventually(
            lambda: all(signed_by_active(hub, one) for one in agents),
            "every agent's certificate is signed by the new CA",
            seconds=12.0,
        )
        await eventually(lambda: all(one.online(2) for one in agents[:2]), "the new ones are in use")

        await rotate(hub, Step.RETIRE)
        await learned(agents, 1)
        assert hub.hub.authority.pin != old_pin
        came = {one.name: sum(state.phase is LinkPhase.ONLINE for state in one.states) for one in agents}
        for one in agents:
            assert one.agent.link is not None
            one.agent.link.cut()
        await eventually(lambda: all(one.online(came[one.name] + 1) for one in agents), "all have come back")
        await eventually(
            lambda: all(hub.liveness(one.name) is Liveness.ONLINE for one in agents), "all are online"
        )
        async with HubClient.from_context(before) as client:
            with pytest.raises(Unavailable):
                await client.info()
        ca = hub.hub.authority.bundle().to_pem().decode()
        async with HubClient.from_context(replace(before, ca=ca)) as client:
            assert (await client.info()).members["online"] == 3


async def test_an_agent_that_was_away_during_the_preparation_comes_back(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        async with running_agent(hub, tmp_path, "edge-7") as agent:
            await agent.until_online()
        await rotate(hub, Step.PREPARE)
        await rotate(hub, Step.ACTIVATE)
        async with running_agent(hub, tmp_path, "edge-7") as agent:
            await agent.until_online()
            await learned([agent], 2)


async def test_an_agent_that_was_away_for_a_whole_forced_rotation_needs_a_new_token(
    tmp_path: Path,
) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        old = await enrolled(hub, tmp_path, "edge-7")
        for step in (Step.PREPARE, Step.ACTIVATE, Step.RETIRE):
            await rotate(hub, step)
        async with played(old) as session:
            # it can't even verify the hub any more, so it never sends its certificate to whoever answers
            with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
                await session.introduce("edge-7")
                raise AssertionError("the retired CA still counts")
        again = await enrolled(hub, tmp_path / "again", "edge-7")
        async with played(again) as session:
            down = await session.introduce("edge-7")
            assert down is not None
            assert down.HasField("welcome")


async def test_a_retired_ca_ends_the_sessions_that_rest_on_it_and_the_admins_file_follows(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        old = await enrolled(hub, tmp_path, "edge-7")
        async with played(old) as session:
            down = await session.introduce("edge-7")
            assert down is not None
            for step in (Step.PREPARE, Step.ACTIVATE, Step.RETIRE):
                await rotate(hub, step)
            await eventually(lambda: not hub.hub.sessions.connected("edge-7"), "the session has ended")
        assert "CertificateUntrusted" in await hub.reasons("member/edge-7")
        ca = hub.hub.authority.bundle().to_pem().decode()
        file = hub.hub.settings.data_dir / "admin.yaml"
        await eventually(lambda: find_context(file)[1].ca == ca, "the admin's file names the new CA")


async def test_a_rotation_step_taken_too_early_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        with pytest.raises(Conflict, match="no CA is prepared"):
            await hub.admin.rotate_authority("activate")
        await hub.admin.rotate_authority("prepare")
        with pytest.raises(Conflict, match="too early"):
            await hub.admin.rotate_authority("activate")
        with pytest.raises(Conflict, match="prepared already"):
            await hub.admin.rotate_authority("prepare")
        assert [slot.phase for slot in hub.hub.authority.slots] == [Phase.ACTIVE, Phase.PREPARED]


@pytest.mark.parametrize("steps", [1, 2, 3])
async def test_a_rotation_survives_a_restart_of_the_hub_in_every_phase(tmp_path: Path, steps: int) -> None:
    done = [Step.PREPARE, Step.ACTIVATE, Step.RETIRE][:steps]
    async with running_hub(tmp_path / "hub") as hub:
        for step in done:
            await rotate(hub, step)
        slots = hub.hub.authority.slots
        pin = hub.hub.authority.pin
    async with running_hub(tmp_path / "hub") as hub:
        phases = {slot.serial: slot.phase for slot in slots}
        assert {slot.serial: slot.phase for slot in hub.hub.authority.slots} == phases
        assert hub.hub.authority.pin == pin
        async with running_agent(hub, tmp_path, "edge-7") as agent:
            await agent.until_online()
