"""A trust bundle that can't be kept on disk holds all the same."""

from __future__ import annotations

import random

from arbora.errors import StorageFailed
from arbora.identity.names import Kind
from arbora.mirror.exchange import Exchange
from arbora.session.credential import Credential
from arbora.session.link import Introduction, Link, LinkEvents


class FullDisk:
    async def load(self) -> Credential | None:
        return None

    async def save(self, credential: Credential) -> None:
        raise StorageFailed("no space is left")

    async def pending_key(self) -> bytes | None:
        return None

    async def save_pending_key(self, key_pem: bytes) -> None:
        raise StorageFailed("no space is left")


async def test_a_full_disk_does_not_end_the_link_and_the_new_ca_is_trusted() -> None:
    credential = Credential("a", "/a", "hub:1", "hub:2", b"leaf", (b"old",), b"key")
    events = LinkEvents(applied=lambda applied: None)
    link = Link(credential, FullDisk(), Exchange(1), Introduction(Kind.AGENT, "i"), events, random.Random(1))
    await link.trust((b"old", b"new"))
    assert link.credential.bundle == (b"old", b"new")
