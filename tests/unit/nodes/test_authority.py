"""What node agents know their cluster's agent by: a CA that lasts, and a server certificate that does not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from arbora.errors import InvalidInput, StorageFailed
from arbora.identity import authority, keys
from arbora.identity.issue import issue_server
from arbora.identity.names import SERVER_NAME
from arbora_agent.nodes.authority import (
    CERTIFICATE,
    KEY,
    LEAF_LIFETIME,
    AuthorityFiles,
    AuthorityStore,
    NodeAuthority,
)

START = datetime(2026, 7, 1, 12, tzinfo=UTC)
DOMAIN = "nodes.arbora.internal"


class Memory:
    """A store that remembers what was published as well."""

    def __init__(self) -> None:
        self.kept: tuple[bytes, bytes] | None = None
        self.published: list[bytes] = []

    async def load(self) -> tuple[bytes, bytes] | None:
        return self.kept

    async def save(self, certificate: bytes, key: bytes) -> None:
        self.kept = (certificate, key)

    async def publish(self, certificate: bytes) -> None:
        self.published.append(certificate)


class Away(Memory):
    """A store behind an API server that does not answer."""

    async def publish(self, certificate: bytes) -> None:
        raise StorageFailed("the API server can't be reached")


class Wall:
    """The present, as the test sets it."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


async def started(store: AuthorityStore, wall: Wall | None = None) -> NodeAuthority:
    """The authority of an agent that has started."""
    made = NodeAuthority(store, DOMAIN, wall or Wall())
    await made.load()
    return made


def chain_of(one: NodeAuthority) -> list[x509.Certificate]:
    """What the port presents: the server's certificate, and the CA's."""
    return x509.load_pem_x509_certificates(one.current().chain_pem)


class TestTheFirstStart:
    async def test_it_makes_a_ca_and_publishes_its_certificate(self) -> None:
        store = Memory()
        one = await started(store)
        assert store.kept is not None
        assert store.published == [store.kept[0]] == [one.certificate]
        authority.load_authority(*store.kept)

    async def test_the_key_is_kept_and_not_published(self) -> None:
        store = Memory()
        one = await started(store)
        assert b"PRIVATE KEY" not in one.certificate
        assert b"PRIVATE KEY" not in one.current().chain_pem

    async def test_the_ca_signs_the_name_that_every_channel_asks_for(self) -> None:
        one = await started(Memory())
        leaf, ca = chain_of(one)
        leaf.verify_directly_issued_by(ca)
        assert ca == x509.load_pem_x509_certificate(one.certificate)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [SERVER_NAME]
        assert keys.from_pem(one.current().key_pem).public_key() == leaf.public_key()

    async def test_every_cluster_has_a_ca_of_its_own(self) -> None:
        assert (await started(Memory())).certificate != (await started(Memory())).certificate

    async def test_without_its_certificate_shown_it_has_not_started(self) -> None:
        """Else node agents would meet a server that they can't know."""
        store = Away()
        with pytest.raises(StorageFailed):
            await started(store)
        shown = Memory()
        shown.kept = store.kept
        one = await started(shown)
        assert store.kept is not None
        assert one.certificate == store.kept[0]  # what was kept is not made again


class TestLaterStarts:
    async def test_they_keep_the_ca_and_publish_it_again(self) -> None:
        store = Memory()
        first = await started(store)
        kept = store.kept
        again = await started(store)
        assert (store.kept, again.certificate) == (kept, first.certificate)
        assert store.published == [first.certificate] * 2

    async def test_the_server_has_a_certificate_of_its_own_after_each(self) -> None:
        store = Memory()
        assert (await started(store)).current().key_pem != (await started(store)).current().key_pem


class TestRenewal:
    async def test_the_server_certificate_lasts_30_days(self) -> None:
        leaf, _ = chain_of(await started(Memory()))
        assert leaf.not_valid_after_utc == START + timedelta(days=30) == START + LEAF_LIFETIME

    async def test_it_is_renewed_at_half_of_its_life_and_not_before(self) -> None:
        wall = Wall()
        one = await started(Memory(), wall)
        first = one.current()
        wall.now = START + LEAF_LIFETIME / 2 - timedelta(seconds=1)
        one.renew()
        assert one.current() is first
        wall.now = START + LEAF_LIFETIME / 2
        one.renew()
        leaf, _ = chain_of(one)
        assert leaf.not_valid_after_utc == wall.now + LEAF_LIFETIME
        assert one.current().key_pem != first.key_pem

    async def test_and_again_and_again(self) -> None:
        wall = Wall()
        one = await started(Memory(), wall)
        for _ in range(5):
            wall.now += LEAF_LIFETIME / 2
            one.renew()
            leaf, ca = chain_of(one)
            leaf.verify_directly_issued_by(ca)
            assert leaf.not_valid_before_utc <= wall.now < leaf.not_valid_after_utc - LEAF_LIFETIME / 3

    async def test_the_ca_is_not(self) -> None:
        wall, store = Wall(), Memory()
        one = await started(store, wall)
        kept, ca = store.kept, chain_of(one)[1]
        wall.now += LEAF_LIFETIME
        one.renew()
        assert chain_of(one)[1] == ca
        assert store.kept == kept
        assert len(store.published) == 1

    async def test_before_the_ca_is_there_there_is_nothing_to_renew(self) -> None:
        store = Memory()
        NodeAuthority(store, DOMAIN, Wall()).renew()
        assert (store.kept, store.published) == (None, [])


def _damaged() -> Iterator[tuple[str, bytes, bytes]]:
    one = authority.make_authority(DOMAIN, START)
    certificate, key = authority.to_pem(one)
    leaf = issue_server(one, keys.new_key().public_key(), (), START)
    yield "no certificate", b"rubbish", key
    yield "half a certificate", certificate[: len(certificate) // 2], key
    yield "an empty certificate", b"", key
    yield "no key", certificate, b"rubbish"
    yield "an empty key", certificate, b""
    yield "another's key", certificate, keys.to_pem(keys.new_key())
    yield "no CA", leaf.public_bytes(Encoding.PEM), key


DAMAGED = {name: (certificate, key) for name, certificate, key in _damaged()}


@pytest.mark.parametrize("name", DAMAGED)
async def test_a_damaged_store_is_an_error_that_says_what_to_do(name: str) -> None:
    store = Memory()
    store.kept = DAMAGED[name]
    with pytest.raises(InvalidInput, match="the CA of node agents") as damage:
        await started(store)
    assert f"Delete {CERTIFICATE} and {KEY}" in damage.value.hint
    assert "PRIVATE KEY" not in f"{damage.value} {damage.value.hint}"
    assert store.kept == DAMAGED[name]  # nothing is thrown away before a person has looked
    assert store.published == []


class TestFiles:
    async def test_they_keep_the_ca_over_restarts(self, tmp_path: Path) -> None:
        first = await started(AuthorityFiles(tmp_path))
        again = await started(AuthorityFiles(tmp_path))
        assert again.certificate == first.certificate == (tmp_path / CERTIFICATE).read_bytes()

    async def test_the_key_is_never_readable_by_others(self, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            folder = tmp_path / "new"
            await started(AuthorityFiles(folder))
        finally:
            os.umask(before)
        assert (folder / KEY).stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o777 == 0o700
        assert sorted(path.name for path in folder.iterdir()) == [CERTIFICATE, KEY]  # no copy is left beside

    async def test_not_even_where_an_earlier_file_was(self, tmp_path: Path) -> None:
        (tmp_path / KEY).touch(0o666)
        await AuthorityFiles(tmp_path).save(b"certificate", b"key")
        assert (tmp_path / KEY).stat().st_mode & 0o777 == 0o600
        assert await AuthorityFiles(tmp_path).load() == (b"certificate", b"key")

    async def test_a_first_start_that_was_cut_short_begins_anew(self, tmp_path: Path) -> None:
        """The key is written first, so a certificate is never there without it."""
        await started(AuthorityFiles(tmp_path))
        (tmp_path / CERTIFICATE).unlink()
        assert await AuthorityFiles(tmp_path).load() is None
        await started(AuthorityFiles(tmp_path))
        authority.load_authority((tmp_path / CERTIFICATE).read_bytes(), (tmp_path / KEY).read_bytes())

    async def test_what_can_not_be_read_is_an_error_that_names_the_reason(self, tmp_path: Path) -> None:
        (tmp_path / CERTIFICATE).mkdir()
        with pytest.raises(StorageFailed, match="can't be read: Is a directory"):
            await AuthorityFiles(tmp_path).load()

    async def test_a_folder_that_can_not_be_written_is_an_error_that_says_what_to_do(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(StorageFailed) as failure:
            await AuthorityFiles(tmp_path / "file" / "below").save(b"certificate", b"key")
        assert failure.value.hint
