"""Questions about tokens and grants: each is answered once, also when there are too many or it takes too long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from arbora.clock import ManualClock
from arbora.identity.names import Path
from arbora.identity.seal import new_recipient
from arbora.v1 import credential_pb2 as pb
from arbora_agent import credentials
from arbora_agent.allow import TokenPolicy
from arbora_agent.allow_grants import GrantPolicy
from arbora_agent.cluster.rights import Page
from arbora_agent.cluster.simulated import SimulatedCluster, Simulation
from arbora_agent.cluster.simulated.rights import SimulatedRights
from arbora_agent.credentials import Credentials
from arbora_agent.grants.granter import Granter
from arbora_agent.minting import TokenMinter
from tests.support.eventually import eventually

Answers = dict[str, pb.TokenAnswer | pb.GrantAnswer]


class Hanging(SimulatedRights):
    """Its API server never answers a write of the ledger."""

    async def write(self, page: Page, changes: Mapping[str, str | None]) -> Page:
        await asyncio.Event().wait()
        raise AssertionError


def wired(rights: type[SimulatedRights] = SimulatedRights) -> tuple[Credentials, Answers]:
    """What takes questions in, and its answers by id."""
    cluster = SimulatedCluster(Simulation(clock=ManualClock()))
    answers: Answers = {}

    def answer(told: pb.TokenAnswer | pb.GrantAnswer) -> None:
        assert told.id not in answers
        answers[told.id] = told

    minter = TokenMinter(cluster, TokenPolicy.parse(("default/*",), 3600), lambda: Path(("a",)))
    granter = Granter(lambda: rights(cluster.simulation, "arbora-system"), GrantPolicy())
    return Credentials(cluster, minter, granter, answer), answers


@asynccontextmanager
async def running(asked: Credentials) -> AsyncIterator[None]:
    task = asyncio.create_task(asked.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


def question(id: str, grant: str = "", **changes: object) -> bytes:
    _, recipient = new_recipient()
    request = pb.TokenRequest(
        id=id, namespace="default", service_account="default", recipient=recipient, **changes
    )  # type: ignore[arg-type]
    request.lifetime.FromSeconds(600)
    if grant:
        request.grant.id = grant
    return request.SerializeToString()


async def test_what_can_not_be_read_ends_nothing() -> None:
    asked, answers = wired()
    async with running(asked):
        asked.token_request(b"\xff")
        asked.grant_request(b"\xff")
        asked.token_request(question("t", grant="A.B"))
        asked.token_request(question("u"))
        await eventually(lambda: {"t", "u"} <= answers.keys(), "the others are answered")
    refused = answers["t"].refusal
    assert "grant.id: 'A.B' is not a valid name" in refused.message
    assert (refused.forbidden, refused.step) == (False, "")
    assert isinstance(answers["u"], pb.TokenAnswer)
    assert answers["u"].HasField("token")
    assert not answers["u"].steps


async def test_too_many_questions_are_refused_at_once_each_kind_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(credentials, "WAITING_LIMIT", 2)
    asked, answers = wired()
    for number in range(3):
        asked.grant_request(pb.GrantRequest(id=f"g{number}").SerializeToString())
        asked.token_request(question(f"t{number}"))
    assert set(answers) == {"g2", "t2"}
    assert all("wait already" in answer.refusal.message for answer in answers.values())
    async with running(asked):
        await eventually(lambda: len(answers) == 6, "the others are answered")


async def test_a_grant_that_takes_too_long_is_refused_and_the_next_one_has_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(credentials, "GRANT_SECONDS", 0.05)
    asked, answers = wired(Hanging)
    async with running(asked):
        asked.token_request(question("t", grant="ci"))
        asked.grant_request(pb.GrantRequest(id="g").SerializeToString())
        await eventually(lambda: {"t", "g"} <= answers.keys(), "both are answered")
    assert "the grant ci took more than" in answers["t"].refusal.message
    assert not answers["g"].HasField("refusal")


async def test_another_cluster_than_the_one_that_is_meant_does_nothing() -> None:
    asked, answers = wired()
    async with running(asked):
        asked.token_request(question("t", cluster_uid="another"))
        asked.grant_request(pb.GrantRequest(id="g", cluster_uid="another", revoke="ci").SerializeToString())
        await eventually(lambda: {"t", "g"} <= answers.keys(), "both are answered")
    for answer in answers.values():
        assert answer.refusal.message == "this is another cluster than the one that was meant"
        assert not answer.refusal.forbidden
