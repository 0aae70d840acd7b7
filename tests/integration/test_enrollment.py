"""Joining a hub: over a real join port, with real tokens, certificates and refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from arbora.errors import (
    ArboraError,
    Conflict,
    Exhausted,
    InvalidInput,
    PermissionDenied,
    Refused,
)
from arbora.identity import csr, keys
from arbora.identity.issue import peer_identity
from arbora.identity.names import Kind
from arbora.rpc.channel import join_channel
from arbora.rpc.status import error_from
from arbora.session.credential import CredentialFile
from arbora.session.trust import pinned_authority
from arbora.v1 import enrollment_pb2 as pb
from arbora.v1 import enrollment_pb2_grpc as rpc
from arbora_hub.enrollment import attempts
from arbora_hub.inventory.liveness import Liveness
from tests.support.child import enrolled, uid_of
from tests.support.eventually import eventually
from tests.support.hub import RunningHub, running_agent, running_hub


async def ask(hub: RunningHub, token: str, request_der: bytes, **changes: object) -> pb.EnrollResponse:
    """Enroll, over the wire, with exactly this request. Raises what the hub answers."""
    pem = await pinned_authority(hub.hub.join_address, hub.hub.authority.pin, 5.0)
    fields = {"token": token, "csr": request_der, "kind": pb.CHILD_KIND_AGENT, "cluster_uid": "uid", **changes}
    async with join_channel(hub.hub.join_address, pem) as channel:
        try:
            return await rpc.EnrollmentServiceStub(channel).Enroll(pb.EnrollRequest(**fields), timeout=5.0)
        except grpc.aio.AioRpcError as failure:
            raise error_from(failure) from failure


async def test_an_agent_joins_and_its_gpus_appear_at_the_hub(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        async with running_agent(hub, tmp_path, "edge-7", "2x8xH100", labels={"gpu": "h100"}) as agent:
            await agent.until_online()

            async def shown() -> bool:
                member = await hub.until_reported("edge-7")
                return sum(row.free for sketch in member.sketches for row in sketch.rows) == 16

            await eventually(shown, "16 free GPUs")
            member = await hub.admin.members.get("/edge-7")
            assert (member.path, dict(member.labels)) == ("/edge-7", {"gpu": "h100"})
            assert member.status.nodes == 2
            assert await hub.admin.join_tokens.list() == []
        await eventually(lambda: hub.liveness("edge-7") is Liveness.SUSPECT, "the hub noticed that it left")
        assert await hub.reasons("member/edge-7") == ["MemberJoined", "MemberOnline", "MemberSuspect"]


async def test_an_agent_that_starts_again_keeps_its_identity(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        token = await hub.join_token("edge-7")
        async with running_agent(hub, tmp_path, "edge-7", token=token) as agent:
            await agent.until_online()
            first = await CredentialFile(tmp_path / "edge-7").load()
        async with running_agent(hub, tmp_path, "edge-7", token=token) as agent:
            await agent.until_online()
        assert await CredentialFile(tmp_path / "edge-7").load() == first


async def test_a_lost_answer_asked_again_with_the_same_key_gives_the_same_identity(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        token = await hub.join_token("edge-7")
        request = csr.build(keys.new_key())
        first = await ask(hub, token, request)
        again = await ask(hub, token, request)
        assert (first.name, first.path) == (again.name, again.path) == ("edge-7", "/edge-7")
        identities = [peer_identity(answer.certificate.leaf) for answer in (first, again)]
        assert identities[0] == identities[1]
        assert len(hub.hub.inventory) == 1


async def test_of_many_keys_that_race_for_one_token_one_wins(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        token = await hub.join_token("edge-7")
        requests = [csr.build(keys.new_key()) for _ in range(8)]
        answers = await asyncio.gather(*(ask(hub, token, one) for one in requests), return_exceptions=True)
        assert sum(isinstance(answer, pb.EnrollResponse) for answer in answers) == 1
        assert sum(isinstance(answer, PermissionDenied) for answer in answers) == 7
        assert len(hub.hub.inventory) == 1


async def test_the_subject_and_names_of_a_request_are_ignored(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        key = keys.new_key()
        request = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hub")]))
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.UniformResourceIdentifier(f"spiffe://{hub.hub.authority.trust_domain}/hub/root")]
                ),
                critical=True,
            )
            .sign(key, hashes.SHA256())
            .public_bytes(Encoding.DER)
        )
        answer = await ask(hub, await hub.join_token("edge-7"), request)
        identity = peer_identity(answer.certificate.leaf)
        assert (identity.kind, identity.name) == (Kind.AGENT, "edge-7")
        assert x509.load_der_x509_certificate(answer.certificate.leaf).subject == x509.Name([])


def _signed_by_another_key() -> bytes:
    """A request whose signature does not fit: one byte of it is changed."""
    return (lambda der: der[:-1] + bytes([der[-1] ^ 1]))(csr.build(keys.new_key()))


REQUESTS: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "csr"),
    "garbage": (lambda: b"\x30\x82\xff\xff" * 20, "csr"),
    "bad signature": (_signed_by_another_key, "csr"),
    "too long for a request": (lambda: b"\x30" * 20_000, "csr"),
}


@pytest.mark.parametrize("attack", REQUESTS)
async def test_a_malformed_request_is_refused_and_uses_nothing_up(tmp_path: Path, attack: str) -> None:
    make, field = REQUESTS[attack]
    async with running_hub(tmp_path / "hub") as hub:
        token = await hub.join_token("edge-7")
        with pytest.raises(InvalidInput) as refused:
            await ask(hub, token, make())
        assert refused.value.field == field
        assert len(hub.hub.inventory) == 0
        assert (await ask(hub, token, csr.build(keys.new_key()))).name == "edge-7"


async def test_a_request_over_the_limit_is_refused_and_the_port_goes_on(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        token = await hub.join_token("edge-7")
        with pytest.raises(Exhausted):
            await ask(hub, token, b"\x30" * 100_000)
        assert (await ask(hub, token, csr.build(keys.new_key()))).name == "edge-7"


class Attack:
    """One token that does not let in, and what an agent with it hears."""

    def __init__(self, error: type[ArboraError], text: str, *, name: str = "edge-7", kind: str = "agent") -> None:
        self.error = error
        self.text = text
        self.name = name
        self.kind = kind


ATTACKS = {
    "unknown": Attack(PermissionDenied, "not known at this hub"),
    "wrong secret": Attack(PermissionDenied, "not known at this hub"),
    "expired": Attack(PermissionDenied, "ended at"),
    "used by another key": Attack(PermissionDenied, "has been used by another key"),
    "revoked": Attack(PermissionDenied, "not known at this hub"),
    "pin of another hub": Attack(PermissionDenied, "is not the one the join token is for"),
    "another name": Attack(PermissionDenied, "is for the name edge-7, not 'edge-8'", name="edge-8"),
    "another kind": Attack(PermissionDenied, "is for a hub, not for an agent", kind="hub"),
}


async def bad_token(hub: RunningHub, attack: str, tmp_path: Path) -> str:
    """A token of that kind."""
    if attack == "another kind":
        return await hub.join_token("edge-7", kind=pb.CHILD_KIND_HUB)
    if attack == "expired":
        token = await hub.join_token("edge-7", lifetime=timedelta(milliseconds=1))
        return token
    created = await hub.admin.join_tokens.create("edge-7")
    token = created.token
    if attack == "used by another key":
        await ask(hub, token, csr.build(keys.new_key()), cluster_uid="another")
        await hub.admin.members.evict("edge-7")
    elif attack == "revoked":
        await hub.admin.join_tokens.revoke(created.join_token.id)
    elif attack == "pin of another hub":
        return token[:-4] + ("0000" if token[-4:] != "0000" else "1111")
    elif attack in ("unknown", "wrong secret"):
        prefix, token_id, secret, pin = token.split(".")
        if attack == "unknown":
            token_id = token_id[::-1] if token_id != token_id[::-1] else "a" * len(token_id)
        else:
            secret = secret[::-1]
        return ".".join((prefix, token_id, secret, pin))
    return token


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_token_that_does_not_let_in_stops_the_agent_with_a_clear_error(
    tmp_path: Path, attack: str
) -> None:
    expected = ATTACKS[attack]
    async with running_hub(tmp_path / "hub") as hub:
        token = await bad_token(hub, attack, tmp_path)
        left = [one.uses_left for one in await hub.admin.join_tokens.list()]
        async with running_agent(hub, tmp_path, expected.name, token=token) as agent:
            error = await agent.ended()
        assert type(error) is expected.error
        assert isinstance(error, ArboraError)
        assert expected.text in str(error)
        assert error.hint
        assert not error.retryable
        assert token.split(".")[2] not in f"{error!r}{error}{error.hint}"
        assert len(hub.hub.inventory) == 0
        assert [one.uses_left for one in await hub.admin.join_tokens.list()] == left
        assert await CredentialFile(tmp_path / expected.name).load() is None


async def test_a_token_with_several_uses_lets_so_many_in(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        token = await hub.join_token(uses=2)
        for name in ("a", "b"):
            await enrolled(hub, tmp_path, name, token=token)
        with pytest.raises(PermissionDenied, match="used"):
            await enrolled(hub, tmp_path, "c", token=token)
        assert sorted(child.name for child in hub.hub.inventory) == ["a", "b"]


async def test_a_token_without_a_name_needs_one_from_the_agent(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        token = await hub.join_token()
        with pytest.raises(InvalidInput, match="brings none"):
            await ask(hub, token, csr.build(keys.new_key()))
        with pytest.raises(InvalidInput, match="not a valid name"):
            await ask(hub, token, csr.build(keys.new_key()), name="../../hub")
        assert (await ask(hub, token, csr.build(keys.new_key()), name="edge-7")).path == "/edge-7"


async def test_the_same_cluster_can_not_join_under_another_name(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        await enrolled(hub, tmp_path, "edge-7")
        with pytest.raises(Conflict, match="is a member already, as edge-7"):
            await enrolled(hub, tmp_path, "edge-8", cluster_uid=uid_of("edge-7"))
        assert [child.name for child in hub.hub.inventory] == ["edge-7"]


async def test_another_cluster_can_not_join_under_a_known_name(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        first = await enrolled(hub, tmp_path, "edge-7")
        with pytest.raises(Conflict, match="belongs to another cluster"):
            await enrolled(hub, tmp_path / "thief", "edge-7", cluster_uid="another")
        child = hub.hub.inventory.find("edge-7")
        assert child is not None
        assert child.row.serial_current == f"{first.certificate().serial_number:x}"
        with pytest.raises(InvalidInput, match="which cluster"):
            await enrolled(hub, tmp_path / "nameless", "edge-9", cluster_uid="")


async def test_a_cluster_joins_again_with_a_new_token_and_keeps_its_labels(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        await enrolled(hub, tmp_path, "edge-7")
        await hub.admin.members.label("edge-7", {"gpu": "h100"})
        await enrolled(hub, tmp_path / "again", "edge-7")
        assert dict((await hub.admin.members.get("edge-7")).labels) == {"gpu": "h100"}
        assert (await hub.reasons("member/edge-7"))[-1] == "MemberRejoined"


async def test_an_evicted_name_is_free_for_another_cluster(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        await enrolled(hub, tmp_path, "edge-7")
        await hub.admin.members.evict("edge-7", "moved")
        await enrolled(hub, tmp_path / "other", "edge-7", cluster_uid="another")
        assert len(hub.hub.inventory) == 1


async def test_guessing_is_slowed_down_and_honest_tokens_of_others_are_not(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        honest = await hub.join_token("honest")
        prefix, token_id, secret, pin = (await hub.join_token("edge-7")).split(".")
        guess = ".".join((prefix, token_id, secret[::-1], pin))
        for _ in range(attempts.PER_TOKEN):
            with pytest.raises(PermissionDenied):
                await ask(hub, guess, csr.build(keys.new_key()))
        with pytest.raises(Exhausted, match="too many failed attempts") as refused:
            await ask(hub, guess, csr.build(keys.new_key()))
        assert refused.value.retry_after == 60.0
        with pytest.raises(Exhausted):
            await ask(hub, ".".join((prefix, token_id, secret, pin)), csr.build(keys.new_key()))
        assert (await ask(hub, honest, csr.build(keys.new_key()))).name == "honest"


async def test_an_agent_without_identity_or_token_says_what_it_needs(tmp_path: Path) -> None:
    async with running_agent(None, tmp_path, "edge-7") as agent:
        error = await agent.ended()
    assert isinstance(error, InvalidInput)
    assert "--join-token" in error.hint


async def test_the_join_port_explains_what_tls_can_not_tell(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, running_hub(tmp_path / "other") as other:
        mine = await enrolled(hub, tmp_path, "edge-7")
        foreign = await enrolled(other, tmp_path / "foreign", "edge-7")
        evicted = await enrolled(hub, tmp_path, "evicted")
        await hub.admin.members.evict("evicted")
        old = await enrolled(hub, tmp_path, "twice")
        await enrolled(hub, tmp_path / "again", "twice")
        answers = []
        pem = hub.hub.authority.bundle().to_pem()
        async with join_channel(hub.hub.join_address, pem) as channel:
            stub = rpc.EnrollmentServiceStub(channel)
            for credential in (mine, foreign, evicted, old):
                answer = await stub.Explain(pb.ExplainRequest(certificate=credential.leaf), timeout=5.0)
                assert answer.message
                answers.append(answer.refusal)
        assert answers == [
            pb.REFUSAL_NONE,
            pb.REFUSAL_MUST_REJOIN,
            pb.REFUSAL_BANNED,
            pb.REFUSAL_NOT_ACTIVE,
        ]


async def test_an_agent_whose_identity_is_of_another_hub_stops_and_says_so(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, running_hub(tmp_path / "other") as other:
        mine = await enrolled(hub, tmp_path / "mine", "edge-7")
        foreign = await enrolled(other, tmp_path / "foreign", "edge-7")
        # as after a restore of the wrong backup: this hub's address and CA, another hub's certificate
        mixed = replace(mine, leaf=foreign.leaf, key_pem=foreign.key_pem)
        await CredentialFile(tmp_path / "edge-7").save(mixed)
        async with running_agent(None, tmp_path, "edge-7") as agent:
            error = await agent.ended(seconds=15.0)
    assert isinstance(error, Refused)
    assert error.refusal == pb.REFUSAL_MUST_REJOIN
    assert "not signed by a CA of this hub" in str(error)
    assert "join-token" in error.hint
