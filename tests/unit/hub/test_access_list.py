"""Accesses of a hub: some are for calls with a role, some open the way into one member, and none does both."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from arbora.errors import Conflict, NotFound, StorageFailed, Unauthenticated
from arbora.identity.bearer import Role
from arbora_hub.api.access import AccessList
from arbora_hub.store.opening import open_store
from arbora_hub.store.port import Store, WriteTx
from arbora_hub.store.rows import AccessRow

MEMBER = "paris/edge-7"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await open_store(tmp_path / "hub.db")
    yield store
    await store.close()


@pytest.fixture
async def accesses(store: Store) -> AccessList:
    return await loaded(store)


async def loaded(store: Store) -> AccessList:
    found = AccessList(store)
    await found.load()
    return found


async def made(
    accesses: AccessList, name: str, member: str = "", role: Role = Role.VIEWER
) -> tuple[str, AccessRow]:
    """The token's text and the row of a new access."""
    token, row = await accesses.create(name, role, None, member=member)
    return token.text(), row


async def changed(store: Store, row: AccessRow) -> AccessList:
    """After a restart of a hub that finds this row in its store."""

    async def write(tx: WriteTx) -> None:
        await tx.access.put(row)

    await store.write(write)
    return await loaded(store)


async def test_a_token_into_a_member_is_for_that_member(accesses: AccessList) -> None:
    token, row = await made(accesses, "to-edge-7", MEMBER)
    assert accesses.check_connect(token) == row
    assert row.member == MEMBER


async def test_a_token_into_a_member_is_for_no_calls_and_one_for_calls_is_no_way(accesses: AccessList) -> None:
    way, _ = await made(accesses, "to-edge-7", MEMBER)
    admin, row = await made(accesses, "root", role=Role.ADMIN)
    assert accesses.check(admin) == row
    with pytest.raises(
        Unauthenticated, match="to-edge-7 opens the way into a member and is for no calls"
    ) as told:
        accesses.check(way)
    assert "arbora access create" in told.value.hint
    with pytest.raises(Unauthenticated, match="root is for calls to the hub, and for no way into a member"):
        accesses.check_connect(admin)


async def test_the_scope_survives_a_restart(accesses: AccessList, store: Store) -> None:
    token, row = await made(accesses, "to-edge-7", MEMBER)
    again = await loaded(store)
    assert again.check_connect(token) == row
    with pytest.raises(Unauthenticated):
        again.check(token)


async def test_an_unknown_and_a_wrong_token_are_refused_alike(accesses: AccessList) -> None:
    token, _ = await made(accesses, "to-edge-7", MEMBER)
    other, _ = await made(accesses, "to-edge-8", "edge-8")
    call, _ = await made(accesses, "ana")
    front, _, secret = token.rpartition(".")
    wrong = [
        f"{front}.{secret[:-1]}{'a' if secret[-1] != 'a' else 'b'}",
        f"{front}.{other.rpartition('.')[2]}",
        f"{call.rpartition('.')[0]}.{secret}",
        f"arbk.aaaaaaaaaa.{secret}",
    ]
    told = set()
    for text in wrong:
        with pytest.raises(Unauthenticated) as refused:
            accesses.check_connect(text)
        told.add((refused.value.message, refused.value.hint))
    assert len(told) == 1, "nobody learns whether there is such an access, or which kind it is"
    assert "to-edge-7" not in str(told)


@pytest.mark.parametrize("text", ["", "arbk", "arbk..", "arb1.a.b.c", "x" * 5000, "größe", "arbk.a.b\r\nX: y"])
async def test_what_is_no_token_is_refused_without_being_repeated(accesses: AccessList, text: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        accesses.check_connect(text)
    assert str(refused.value) == "there is no token that this hub could know"


async def test_a_token_whose_time_is_over_opens_nothing(accesses: AccessList, store: Store) -> None:
    token, row = await made(accesses, "to-edge-7", MEMBER)
    now = time.time()
    good = await changed(store, replace(row, expires=now + 60))
    assert good.check_connect(token).name == "to-edge-7"
    over = await changed(store, replace(row, expires=now - 1))
    with pytest.raises(Unauthenticated, match="the access to-edge-7 ended at"):
        over.check_connect(token)


async def test_a_lifetime_is_counted_from_now(accesses: AccessList) -> None:
    before = time.time()
    _, row = await accesses.create("to-edge-7", Role.VIEWER, 3600.0, member=MEMBER)
    assert row.expires is not None
    assert before + 3600 <= row.expires <= time.time() + 3600
    _, endless = await made(accesses, "endless", MEMBER)
    assert endless.expires is None


async def test_a_revoked_token_opens_nothing_from_that_moment_on_and_after_a_restart(
    accesses: AccessList, store: Store
) -> None:
    token, _ = await made(accesses, "to-edge-7", MEMBER)
    kept, _ = await made(accesses, "kept", MEMBER)
    await accesses.revoke("to-edge-7")
    for each in (accesses, await loaded(store)):
        with pytest.raises(Unauthenticated, match="not known at this hub"):
            each.check_connect(token)
        assert each.check_connect(kept).name == "kept"


async def test_everybody_who_listens_hears_of_a_revocation_once_it_holds(accesses: AccessList) -> None:
    token, row = await made(accesses, "to-edge-7", MEMBER)
    _, other = await made(accesses, "ana")
    heard: list[tuple[str, AccessRow]] = []

    def listen(who: str) -> None:
        def revoked(gone: AccessRow) -> None:
            with pytest.raises(Unauthenticated):
                accesses.check_connect(token)
            heard.append((who, gone))

        accesses.on_revoked(revoked)

    listen("one")
    listen("two")
    await accesses.revoke("to-edge-7")
    assert heard == [("one", row), ("two", row)]
    await accesses.revoke("ana")
    assert heard[2:] == [("one", other), ("two", other)]


async def test_nobody_hears_of_a_revocation_that_did_not_happen(
    accesses: AccessList, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, _ = await made(accesses, "to-edge-7", MEMBER)
    await made(accesses, "root", role=Role.ADMIN)
    heard: list[AccessRow] = []
    accesses.on_revoked(heard.append)

    async def full(*_: object) -> None:
        raise StorageFailed("the disk is full")

    with pytest.raises(NotFound):
        await accesses.revoke("nobody")
    with pytest.raises(Conflict, match="last admin"):
        await accesses.revoke("root")
    with monkeypatch.context() as patched, pytest.raises(StorageFailed):
        patched.setattr(store, "write", full)
        await accesses.revoke("to-edge-7")
    assert heard == []
    assert accesses.check_connect(token).name == "to-edge-7"


async def test_a_way_counts_as_no_admin_and_takes_a_name_like_any_access(accesses: AccessList) -> None:
    await made(accesses, "root", role=Role.ADMIN)
    await made(accesses, "way", MEMBER, Role.ADMIN)
    with pytest.raises(Conflict, match="root is the last admin"):
        await accesses.revoke("root")
    await accesses.revoke("way")
    with pytest.raises(Conflict, match="there is an access root already"):
        await made(accesses, "root", MEMBER)
    assert [row.name for row in accesses.rows()] == ["root"]
