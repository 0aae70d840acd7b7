"""Ways into members: neither the token that opens one nor what is said on it stands where it is not meant to."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from arbora.tunnel.ends import StreamEnd
from arbora.v1 import access_pb2, event_pb2
from tests.support.eventually import eventually
from tests.support.far import NAME, echo, far_server
from tests.support.hub import client_with
from tests.support.reach import TARGET, Made, Reach, ask, basic, reach, refusal, said_back, trusting, way

BEARER = "a-bearer-token-of-a-service-account-of-the-member"


def forms(made: Made) -> dict[str, bytes]:
    """How a token could stand somewhere: by itself, and as it travels."""
    password = basic(made.user, made.token).split()[-1]
    doubled = basic(made.token, made.token).split()[-1]
    secret = made.token.split(".")[2]
    return {"secret": secret.encode(), "password": password.encode(), "doubled": doubled.encode()}


def found(secrets: list[bytes], places: dict[str, bytes]) -> list[str]:
    """Where one of the secrets stands."""
    assert all(len(secret) > 20 for secret in secrets), "too short to search for"
    return [place for place, data in places.items() if any(secret in data for secret in secrets)]


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def pieces_seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """Every piece that a hub or an agent writes to a tunnel or reads from one, after its own TLS is off."""
    seen: list[bytes] = []
    write, read = StreamEnd.write, StreamEnd.read

    async def writing(self: StreamEnd, data: bytes) -> None:
        seen.append(data)
        await write(self, data)

    async def reading(self: StreamEnd) -> bytes:
        seen.append(data := await read(self))
        return data

    with monkeypatch.context() as patch:
        patch.setattr(StreamEnd, "write", writing)
        patch.setattr(StreamEnd, "read", reading)
        yield seen


async def test_no_token_is_in_a_log_an_event_an_audit_entry_an_answer_or_a_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with pieces_seen(monkeypatch) as pieces:
        async with far_server(echo, tls=True) as far, reach(tmp_path, far.address, ("eu",)) as it:
            used, wrong, revoked = await it.token(name="used"), await it.token(), await it.token(name="revoked")
            other = await it.root.admin.connect_tokens.create("/eu/ghost")
            async with way(used) as (reader, writer):
                await writer.start_tls(trusting(far.ca_pem), server_hostname=NAME)
                assert await said_back((reader, writer), f"Authorization: Bearer {BEARER}\r\n".encode())
            await it.until_idle()
            await it.root.admin.access.revoke("revoked")
            await refusal(revoked)
            await refusal(other)
            await refusal(wrong, user="edge-8")
            await refusal(wrong, target="example.org:443")
            async with client_with(it.root, wrong.token) as client:
                with pytest.raises(Exception, match="for no calls"):
                    await client.info()
            listed = [one.SerializeToString() for one in await it.root.admin.access.list()]
            for hub in it.hubs:
                await hub.hub.journal.flush()
            records = [
                each.SerializeToString() for hub in it.hubs for each in (*await hub.audit(), *await hub.events())
            ]
    secrets = [form for made in (used, wrong, revoked, other) for form in forms(made).values()]
    output = capfd.readouterr()
    assert "way_refused" in output.out
    assert "way_closed" in output.out
    places = {
        "the output": (output.out + output.err).encode(),
        "the log": caplog.text.encode(),
        "the list of accesses": b"".join(listed),
        "the audit log and the events": b"".join(records),
        "a tunnel": b"".join(pieces),
        **files_in(tmp_path),
    }
    assert {"root/hub.db", "hub-eu/hub.db"} <= places.keys()
    assert b"OpenTunnel" in places["the audit log and the events"]
    assert len(places["a tunnel"]) > 1000, "nothing was seen"
    assert found([*secrets, BEARER.encode(), BEARER[5:].encode()], places) == []


CARELESS = {
    "a space before the colon": "Proxy-Authorization : Basic {password}\r\n",
    "no header at all": "{password}\r\n",
    "a line that ends too early": "Proxy-Authorization\r\nBasic {password}\r\n",
    "the token as the user, too": "Proxy-Authorization: Basic {doubled}\r\n",
}


@pytest.mark.parametrize("careless", CARELESS)
async def test_a_token_that_a_client_puts_in_a_wrong_place_is_not_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], careless: str
) -> None:
    async with far_server(echo) as far, reach(tmp_path, far.address) as it:
        made = await it.token()
        texts = {name: form.decode() for name, form in forms(made).items()}
        line = CARELESS[careless].format(**texts)
        answer = await ask(made, f"CONNECT {TARGET} HTTP/1.1\r\nHost: {TARGET}\r\n{line}\r\n".encode())
        assert answer.status in (400, 403, 407)

        async def in_audit() -> list[str]:
            return [entry.action for entry in await it.root.audit()]

        assert "OpenTunnel" not in await in_audit()
    output = capfd.readouterr()
    assert "way_refused" in output.out
    assert found([*forms(made).values()], {"the output": (output.out + output.err).encode()}) == []


async def test_a_token_in_the_request_line_is_not_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with far_server(echo) as far, reach(tmp_path, far.address) as it:
        made = await it.token()
        for target in (f"{made.user}:{made.token}@{TARGET}", f"https://{made.user}:{made.token}@{TARGET} x"):
            answer = await ask(made, f"CONNECT {target} HTTP/1.1\r\nHost: {TARGET}\r\n\r\n".encode())
            assert answer.status in (400, 403)
    output = capfd.readouterr()
    assert found([*forms(made).values()], {"the output": (output.out + output.err).encode()}) == []


async def test_who_may_list_accesses_sees_whose_way_a_token_opens_and_not_the_token(tmp_path: Path) -> None:
    async with far_server(echo) as far, reach(tmp_path, far.address, ("eu",)) as it:
        made = await it.token(name="for-ci")
        (row,) = [one for one in await it.root.admin.access.list() if one.name == "for-ci"]
        assert (row.member, row.role) == ("eu/edge-7", access_pb2.ROLE_VIEWER)
        assert found(list(forms(made).values()), {"the row": row.SerializeToString()}) == []
        entry = (await it.root.audit())[0]
        assert (entry.action, entry.subject, entry.outcome) == ("CreateConnectToken", "/eu/edge-7", "OK")


async def newest(it: Reach, action: str) -> event_pb2.AuditEntry | None:
    """The newest audit entry of the root, if it is of this action."""
    entry = (await it.root.audit())[0]
    return entry if entry.action == action else None


async def test_an_open_way_is_in_the_audit_log_with_who_opened_it_and_where_to(tmp_path: Path) -> None:
    async with far_server(echo) as far, reach(tmp_path, far.address, ("eu",)) as it:
        made = await it.token(name="for-ci")
        async with way(made) as streams:
            assert await said_back(streams)
            entry = await eventually(lambda: newest(it, "OpenTunnel"), "it is written down while the way is open")
        assert (entry.actor, entry.action, entry.subject, entry.outcome) == (
            "access/for-ci",
            "OpenTunnel",
            "eu/edge-7",
            "OK",
        )
        await eventually(lambda: not far.serving, "it has ended")
