"""OpenSSL accepts what we issue: a mutual handshake in memory, also while two authorities share one name."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from arbora.identity import keys
from arbora.identity.authority import Authority, make_authority
from arbora.identity.bundle import Bundle, authority_with_pin
from arbora.identity.issue import issue_child, issue_server, peer_identity
from arbora.identity.names import SERVER_NAME, Kind, SpiffeId

NOW = datetime.now(UTC)  # OpenSSL reads the clock itself
EDGE = SpiffeId("prod.example.org", Kind.AGENT, "edge-7")
OLD, NEW = (make_authority("prod.example.org", NOW) for _ in range(2))
BOTH = Bundle((OLD.certificate, NEW.certificate))


def _context(
    side: int, folder: Path, chain: bytes, key: ec.EllipticCurvePrivateKey, bundle: Bundle
) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    file = folder / f"{side}.pem"
    file.write_bytes(keys.to_pem(key) + chain)
    context.load_cert_chain(file)
    context.load_verify_locations(cadata=bundle.to_pem().decode())
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _shake_hands(
    folder: Path, server_ca: Authority, child_ca: Authority, bundle: Bundle
) -> tuple[bytes, list[bytes]]:
    """The child's leaf as the server sees it, and the chain as the child sees it."""
    server_key, child_key = keys.new_key(), keys.new_key()
    server_leaf = issue_server(server_ca, server_key.public_key(), [], NOW)
    child_leaf = issue_child(child_ca, child_key.public_key(), EDGE, NOW)
    server_chain = [server_leaf, server_ca.certificate]
    accepting = _context(
        ssl.PROTOCOL_TLS_SERVER,
        folder,
        b"".join(c.public_bytes(Encoding.PEM) for c in server_chain),
        server_key,
        bundle,
    )
    dialing = _context(ssl.PROTOCOL_TLS_CLIENT, folder, child_leaf.public_bytes(Encoding.PEM), child_key, bundle)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = accepting.wrap_bio(up, down, server_side=True)
    child = dialing.wrap_bio(down, up, server_hostname=SERVER_NAME)
    for _ in range(3):
        for end in (child, server):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    leaf = server.getpeercert(binary_form=True)
    assert leaf is not None
    assert child.getpeercert(binary_form=True) == server_leaf.public_bytes(Encoding.DER)
    return leaf, [c.public_bytes(Encoding.DER) for c in server_chain]


@pytest.mark.parametrize(
    ("server_ca", "child_ca"), [(OLD, OLD), (OLD, NEW), (NEW, OLD), (NEW, NEW)], ids=["oo", "on", "no", "nn"]
)
def test_each_side_trusts_both_authorities_during_a_rotation(
    tmp_path: Path, server_ca: Authority, child_ca: Authority
) -> None:
    leaf, chain = _shake_hands(tmp_path, server_ca, child_ca, BOTH)
    assert peer_identity(leaf) == EDGE
    assert authority_with_pin(chain, server_ca.pin, NOW) == server_ca.certificate.public_bytes(Encoding.PEM)


@pytest.mark.parametrize(("server_ca", "child_ca"), [(NEW, OLD), (OLD, NEW)], ids=["server", "child"])
def test_an_authority_that_has_gone_is_trusted_by_neither_side(
    tmp_path: Path, server_ca: Authority, child_ca: Authority
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        _shake_hands(tmp_path, server_ca, child_ca, Bundle((OLD.certificate,)))


def test_an_authority_that_has_ended_is_trusted_no_more(tmp_path: Path) -> None:
    ended = make_authority("prod.example.org", NOW - timedelta(days=2), timedelta(days=1))
    key = keys.new_key()
    then = NOW - timedelta(days=1, hours=12)
    context = _context(
        ssl.PROTOCOL_TLS_SERVER,
        tmp_path,
        issue_server(ended, key.public_key(), [], then).public_bytes(Encoding.PEM),
        key,
        Bundle((ended.certificate,)),
    )
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.load_verify_locations(cadata=Bundle((ended.certificate,)).to_pem().decode())
    child = trusting.wrap_bio(down, up, server_hostname=SERVER_NAME)
    context.verify_mode = ssl.CERT_NONE
    server = context.wrap_bio(up, down, server_side=True)
    with pytest.raises(ssl.SSLWantReadError):
        child.do_handshake()
    with pytest.raises(ssl.SSLWantReadError):
        server.do_handshake()
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        child.do_handshake()
