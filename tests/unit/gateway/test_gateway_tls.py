"""The gateway's certificate: that of the hub, renewed for new connections, with no key left in a file."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from arbora.identity import keys
from arbora.identity.authority import make_authority, to_pem
from arbora.identity.issue import issue_server
from arbora.rpc.server import ServerTls
from arbora_hub.gateway.tls import present, server_context

NOW = datetime.now(UTC)  # OpenSSL reads the clock itself
HUB = make_authority("prod.example.org", NOW)


def issued(name: str) -> ServerTls:
    """A certificate of the hub for one more name."""
    key = keys.new_key()
    leaf = issue_server(HUB, key.public_key(), (name,), NOW)
    chain = b"".join(each.public_bytes(Encoding.PEM) for each in (leaf, HUB.certificate))
    return ServerTls(keys.to_pem(key), chain)


def shake_hands(
    serving: ssl.SSLContext, name: str, minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2, protocols: str = ""
) -> ssl.SSLObject:
    """A client that trusts the hub's authority and verifies `name`. Raises SSLError."""
    dialing = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    dialing.load_verify_locations(cadata=to_pem(HUB)[0].decode())
    dialing.minimum_version = minimum
    if protocols:
        dialing.set_alpn_protocols(protocols.split())
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = serving.wrap_bio(up, down, server_side=True)
    client = dialing.wrap_bio(down, up, server_hostname=name)
    for _ in range(3):
        for end in (client, server):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return client


def test_clients_see_the_hubs_certificate(tmp_path: Path) -> None:
    context = server_context()
    present(context, issued("hub.example.org"), tmp_path)
    assert shake_hands(context, "hub.example.org").version() == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(context, "other.example.org")


def test_a_renewed_certificate_is_what_the_next_client_sees(tmp_path: Path) -> None:
    context = server_context()
    present(context, issued("old.example.org"), tmp_path)
    before = shake_hands(context, "old.example.org")
    present(context, issued("new.example.org"), tmp_path)
    after = shake_hands(context, "new.example.org")
    assert before.getpeercert(binary_form=True) != after.getpeercert(binary_form=True)


def test_only_http_1_is_spoken(tmp_path: Path) -> None:
    context = server_context()
    present(context, issued("hub.example.org"), tmp_path)
    client = shake_hands(context, "hub.example.org", protocols="h2 http/1.1")
    assert client.selected_alpn_protocol() == "http/1.1"


def test_the_key_does_not_stay_in_a_file(tmp_path: Path) -> None:
    present(server_context(), issued("hub.example.org"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_certificate_that_can_not_be_used_leaves_the_one_before_and_no_file(tmp_path: Path) -> None:
    context = server_context()
    present(context, issued("hub.example.org"), tmp_path)
    mixed = ServerTls(issued("a.example.org").key_pem, issued("b.example.org").chain_pem)
    with pytest.raises(ssl.SSLError):
        present(context, mixed, tmp_path)
    assert list(tmp_path.iterdir()) == []
