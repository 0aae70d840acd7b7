"""An AuthTokenRequest from its making to its end: the Secret, its renewal, and what takes it away."""

from __future__ import annotations

import json

from arbora.errors import PermissionDenied, Unavailable
from arbora.kubernetes.discovery import Resource
from arbora.kubernetes.failures import ObjectRejected
from arbora_hub.kubernetes.kinds import AUTH_TOKEN_REQUEST, SECRET
from arbora_hub.kubernetes.objects import Raw
from arbora_hub.kubernetes.tokens.decide import ACCEPT, Target
from tests.unit.hub_tokens.world import MANAGER, NAME, NAMESPACE, World

EDGE = ("/eu/edge-7", "uid-1")


async def test_a_request_becomes_a_secret_with_everything_that_a_consumer_needs() -> None:
    async with World() as it:
        await it.ask()
        assert it.condition() == ("True", "Issued")
        assert it.condition("ServiceAccountFoundOrCreated") == ("True", "Created")
        secret = it.secret()
        assert secret is not None
        assert secret["token"] == "token-1"
        assert (secret["ca.crt"], secret["server"]) == ("CA", "https://kubernetes.default.svc:443")
        config = json.loads(secret["kubeconfig"])
        assert config["users"][0]["user"] == {"token": "token-1"}
        assert config["clusters"][0]["cluster"]["proxy-url"] == secret["proxy-url"]
        stored = it.objects.of(SECRET, NAME, NAMESPACE)
        assert (
            stored is not None
            and stored["metadata"]["ownerReferences"][0]["uid"] == it.request["metadata"]["uid"]
        )
        status = it.request["status"]
        assert status["tokenResponse"] == {"kind": "Secret", "name": NAME}
        assert status["issuedFor"] == {"path": EDGE[0], "clusterUID": EDGE[1], "generation": 1}
        assert f"grant.arbora.dev/{MANAGER}" in it.request["metadata"]["finalizers"]


async def test_one_request_asks_the_member_once() -> None:
    async with World() as it:
        await it.ask()
        assert it.members.minted == [EDGE]
        assert it.audit.entries == [("kubernetes/team/work", "CreateToken", "/eu/edge-7", "OK")]


async def test_a_token_is_renewed_at_four_fifths_of_its_actual_life() -> None:
    async with World() as it:
        it.members.lifetime = 1000.0  # the member made it shorter than the hour that was asked for
        await it.ask()
        await it.pass_time(780)
        assert it.members.minted == [EDGE]
        await it.pass_time(60)
        assert it.members.minted == [EDGE, EDGE]
        secret = it.secret()
        assert secret is not None and secret["token"] == "token-2"
        assert "password-1" in secret["proxy-url"], "the way stays open: what a client has goes on working"


async def test_without_a_gateway_there_is_a_token_and_no_address() -> None:
    async with World() as it:
        it.members.gateway = False
        await it.ask()
        assert it.secret() == {"token": "token-1", "ca.crt": "CA"}


async def test_a_refusal_is_said_and_not_asked_again_at_once() -> None:
    async with World() as it:
        it.members.failure = PermissionDenied(
            "edge-7 refuses: no", hint="See --allow-role.", field="RoleFoundOrCreated"
        )
        await it.ask()
        assert it.condition() == ("False", "PermissionDenied")
        assert it.condition("RoleFoundOrCreated") == ("False", "PermissionDenied")
        assert it.secret() is None
        asked = len(it.audit.entries)
        await it.pass_time(240)
        assert len(it.audit.entries) == asked
        it.members.failure = None
        await it.pass_time(120)
        assert it.condition() == ("True", "Issued")


async def test_a_member_that_is_away_is_asked_until_it_answers_and_the_old_token_serves_meanwhile() -> None:
    async with World() as it:
        it.members.lifetime = 1000.0
        await it.ask()
        it.members.failure = Unavailable("edge-7 is not connected")
        await it.pass_time(840)
        assert it.condition() == ("True", "RenewalFailed")
        secret = it.secret()
        assert secret is not None and secret["token"] == "token-1"
        it.members.failure = None
        await it.pass_time(60)
        assert it.condition() == ("True", "Issued")


async def test_a_secret_that_somebody_deleted_comes_back() -> None:
    async with World() as it:
        await it.ask()
        await it.objects.delete(SECRET, NAME, NAMESPACE)
        await it.pass_time(360)
        secret = it.secret()
        assert secret is not None and secret["token"] == "token-2"


async def test_a_secret_of_somebody_else_is_left_alone() -> None:
    async with World() as it:
        foreign = {"metadata": {"name": NAME, "namespace": NAMESPACE}, "data": {"token": "aGVycw=="}}
        await it.objects.create(SECRET, foreign)
        await it.ask()
        assert it.condition() == ("False", "SecretExists")
        assert it.secret() == {"token": "hers"}
        assert it.members.minted == []


async def test_a_replaced_cluster_gets_no_old_token_and_a_new_one_only_when_it_was_accepted() -> None:
    async with World() as it:
        await it.ask()
        it.members.move(Target("/eu/edge-7", "uid-2"))
        await it.settle()
        assert it.condition() == ("False", "ClusterReplaced")
        assert it.secret() is None
        assert it.members.closed, "the way with its password is closed, too"
        assert it.members.released == [], "the old cluster is no member, and the new one made nothing"

        def accept(body: dict[str, dict[str, object]]) -> None:
            body["metadata"]["annotations"] = {ACCEPT: "uid-2"}

        await it.change(accept)
        assert it.members.minted == [EDGE, ("/eu/edge-7", "uid-2")]
        assert it.condition() == ("True", "Issued")


async def test_a_member_that_leaves_the_fleet_takes_its_token_along() -> None:
    async with World() as it:
        await it.ask()
        it.members.unpublished = (EDGE,)
        it.members.move(None)
        await it.settle()
        assert it.condition() == ("False", "ProfileNotFound")
        assert it.secret() is None
        assert it.members.released == [EDGE]
        it.members.move(Target(*EDGE))
        await it.settle()
        assert it.condition() == ("True", "Issued")


async def test_a_deleted_request_goes_once_the_member_has_let_go() -> None:
    async with World() as it:
        await it.ask()
        it.members.failure = Unavailable("edge-7 is not connected")
        await it.delete()
        assert it.condition() == ("False", "Releasing")
        it.members.failure = None
        await it.pass_time(60)
        assert it.gone
        assert it.secret() is None
        assert it.members.released == [EDGE]


async def test_a_request_for_a_member_that_is_gone_can_be_deleted() -> None:
    async with World() as it:
        await it.ask()
        it.members.move(None)
        await it.settle()
        await it.delete()
        assert it.gone
        assert it.members.released == []


async def test_a_request_that_can_not_be_read_says_why_and_can_be_deleted() -> None:
    async with World() as it:
        await it.ask(expirationSeconds=5)
        assert it.condition() == ("False", "InvalidSpec")
        await it.delete()
        assert it.gone


async def test_other_wishes_are_asked_for_at_once() -> None:
    async with World() as it:
        await it.ask()

        def widen(body: dict[str, dict[str, object]]) -> None:
            body["spec"]["clusterRoles"] = [{"name": "view"}]

        await it.change(widen)
        assert it.members.minted == [EDGE, EDGE]
        assert it.request["status"]["issuedFor"]["generation"] == 2


async def test_a_request_for_a_profile_of_another_manager_is_left_alone() -> None:
    async with World() as it:
        it.members.of_others = ((NAMESPACE, "theirs"),)
        await it.ask(targetClusterProfile={"name": "theirs"})
        assert "status" not in it.request
        assert "finalizers" not in it.request["metadata"]


async def test_a_request_that_another_hub_holds_is_left_alone_even_if_its_profile_is_gone() -> None:
    async with World() as it:
        it.members.move(None)
        body = {
            "metadata": {"name": NAME, "namespace": NAMESPACE, "finalizers": ["grant.arbora.dev/other"]},
            "spec": {"targetClusterProfile": {"name": "eu-edge-7"}, "serviceAccountName": "work"},
        }
        await it.objects.create(AUTH_TOKEN_REQUEST, body)
        await it.settle()
        assert "status" not in it.request
        await it.delete()
        assert not it.gone, "only who holds it lets it go"


async def test_a_member_that_moved_keeps_its_rights_and_gets_a_token_for_its_new_place() -> None:
    async with World() as it:
        await it.ask()
        it.members.move(Target("/west/eu/edge-7", "uid-1"))
        await it.settle()
        assert it.members.minted == [EDGE, ("/west/eu/edge-7", "uid-1")]
        assert it.members.released == []
        await it.delete()
        assert it.members.released == [("/west/eu/edge-7", "uid-1")]


async def test_what_users_write_into_the_status_leaves_no_rights_behind() -> None:
    async with World() as it:
        await it.ask()
        forged = {"status": {"issuedFor": {"path": "/elsewhere", "clusterUID": "none"}, "conditions": None}}
        await it.objects.merge(AUTH_TOKEN_REQUEST, NAME, forged, NAMESPACE)
        await it.delete()
        assert it.gone
        assert it.members.released == [EDGE]


async def test_a_request_whose_finalizer_was_taken_off_leaves_no_rights_behind() -> None:
    async with World() as it:
        await it.ask()
        await it.objects.merge(AUTH_TOKEN_REQUEST, NAME, {"metadata": {"finalizers": []}}, NAMESPACE)
        await it.delete()
        await it.settle()
        assert it.gone
        assert it.members.released == [EDGE]
        assert it.members.closed


async def test_what_was_deleted_while_the_hub_was_down_is_released_at_its_start() -> None:
    async with World() as it:
        await it.ask()
        members, kept = it.members, it.kept
    second = World(members)
    second.kept._rows = dict(kept)
    async with second:
        await second.settle()
        assert members.released == [EDGE]
        assert dict(second.kept) == {}


async def test_a_secret_without_its_owner_is_taken_back_all_the_same() -> None:
    async with World() as it:
        await it.ask()
        await it.objects.merge(SECRET, NAME, {"metadata": {"ownerReferences": []}}, NAMESPACE)
        it.members.unpublished = (EDGE,)
        it.members.move(None)
        await it.settle()
        assert it.condition() == ("False", "ProfileNotFound")
        assert it.secret() is None
        assert it.members.released == [EDGE]


async def test_the_status_says_that_a_token_was_taken_back_although_the_member_is_away() -> None:
    async with World() as it:
        await it.ask()
        it.members.unpublished = (EDGE,)
        it.members.failure = Unavailable("edge-7 is not connected")
        it.members.move(None)
        await it.settle()
        assert (it.condition(), it.secret()) == (("False", "ProfileNotFound"), None)
        it.members.failure = None
        await it.pass_time(60)
        assert it.members.released == [EDGE]


async def test_a_member_that_is_away_fills_neither_the_audit_log_nor_the_history_of_the_request() -> None:
    async with World() as it:
        it.members.failure = Unavailable("edge-7 is not connected")
        await it.ask()
        audited, writes = len(it.audit.entries), len(it.objects.writes)
        for number in range(20):
            it.members.failure = Unavailable(f"edge-7 is not connected; it was last heard of {number} s ago")
            await it.pass_time(60)
        assert (len(it.audit.entries), len(it.objects.writes)) == (audited, writes)


async def test_a_secret_that_can_not_be_written_does_not_make_the_member_mint_without_end() -> None:
    async with World() as it:
        create = it.objects.create

        async def refused(kind: Resource, body: Raw) -> Raw | None:
            if kind is SECRET:
                raise ObjectRejected("secrets are over their quota")
            return await create(kind, body)

        it.objects.create = refused  # type: ignore[method-assign]
        await it.ask()
        assert it.condition() == ("False", "ObjectRejected")
        await it.pass_time(1200)
        assert len(it.members.minted) <= 6
        assert len([entry for entry in it.audit.entries if entry[3] == "OK"]) == len(it.members.minted)
