"""What a client of the gateway may say before the bytes begin, and what it is told."""

from __future__ import annotations

import base64
import itertools

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora.errors import (
    ArboraError,
    Conflict,
    DeadlineExceeded,
    Exhausted,
    InvalidInput,
    NotFound,
    PermissionDenied,
    StorageFailed,
    Unauthenticated,
    Unavailable,
)
from arbora_hub.gateway.head import MAX_HEAD, MAX_REASON, TARGETS, Head, Wanted

TARGET = "kubernetes.default.svc:443"


def basic(text: str, scheme: str = "Basic ") -> str:
    return scheme + base64.b64encode(text.encode()).decode()


def said(
    *more: str, method: str = "CONNECT", target: str = TARGET, who: str | None = basic("edge-7.paris:arbk.a.b")
) -> bytes:
    """A head; who: its Proxy-Authorization. more: further lines."""
    known = [f"{method} {target} HTTP/1.1", f"Host: {target}"]
    if who is not None:
        known.append(f"Proxy-Authorization: {who}")
    return "\r\n".join((*known, *more, "", "")).encode()


def taken(data: bytes, size: int) -> Wanted | None:
    """What a head that comes in pieces of `size` bytes asks for."""
    head = Head()
    for start in range(0, len(data), size):
        if (wanted := head.take(data[start : start + size])) is not None:
            return wanted
    return None


def heard(answer: bytes) -> tuple[h11.Response, bytes]:
    """The one answer that a client of the gateway reads in `answer`, with its body."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="CONNECT", target=TARGET, headers=[("host", TARGET)]))
    client.receive_data(answer)
    client.receive_data(b"")
    response, body = client.next_event(), b""
    assert isinstance(response, h11.Response)
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert client.trailing_data == (b"", True)
    return response, body


def test_a_client_says_the_member_and_a_token() -> None:
    wanted = Head().take(said())
    assert wanted is not None
    assert (wanted.user, wanted.token.reveal()) == ("edge-7.paris", "arbk.a.b")
    assert "arbk" not in repr(wanted)


@given(st.lists(st.integers(0, len(said())), max_size=6))
def test_a_head_may_come_in_any_pieces(cuts: list[int]) -> None:
    data, head = said("User-Agent: kubectl"), Head()
    bounds = [0, *sorted(set(cuts) - {0, len(data)}), len(data)]
    answers = [head.take(data[start:end]) for start, end in itertools.pairwise(bounds)]
    assert answers[:-1] == [None] * (len(answers) - 1), "not before its last byte"
    assert answers[-1] is not None
    assert answers[-1].user == "edge-7.paris"


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_the_names_of_every_api_server_are_ways_to_go(target: str) -> None:
    assert Head().take(said(target=target)) is not None


@pytest.mark.parametrize(
    "target",
    ["10.0.0.1:443", "localhost:7443", "kubernetes.default.svc:22", "kubernetes.default.svc", "x" * 5000],
)
def test_no_other_target_is(target: str) -> None:
    with pytest.raises(PermissionDenied, match=r"leads to kubernetes\.default\.svc:443, not to") as refused:
        Head().take(said(target=target))
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS", "PRI"])
def test_a_method_that_is_not_connect_is_told_what_this_is_for(method: str) -> None:
    with pytest.raises(InvalidInput, match="arbora kubeconfig --help"):
        Head().take(said("Content-Length: 5", method=method) + b"hello")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n",
        b"hello\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT kubernetes.default.svc:443 HTTP/1.1\r\n\r\n",
        b"CONNECT kubernetes.default.svc:443 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"CONNECT kubernetes.default.svc:443 HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        b"CONNECT  HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=["TLS in TLS", "a word", "HTTP/2", "no host", "two hosts", "no header", "no target"],
)
def test_what_is_no_request_is_refused(data: bytes) -> None:
    head = Head()
    with pytest.raises(InvalidInput) as refused:
        head.take(data)
    assert heard(head.refuse(refused.value))[0].status_code == 400


@given(st.binary(max_size=200))
def test_whatever_comes_is_a_request_unfinished_or_refused(data: bytes) -> None:
    head = Head()
    try:
        assert head.take(data) is None
    except ArboraError as error:
        assert heard(head.refuse(error))[0].status_code in (400, 403, 407)


def test_a_client_that_goes_without_a_word_asks_for_nothing() -> None:
    assert Head().take(b"") is None


def test_a_client_that_ends_in_the_middle_of_a_line_is_refused() -> None:
    head = Head()
    assert head.take(b"CONNECT kubernetes.def") is None
    with pytest.raises(InvalidInput) as refused:
        head.take(b"")
    assert heard(head.refuse(refused.value))[0].status_code == 400


@pytest.mark.parametrize("size", [1000, MAX_HEAD, 10 * MAX_HEAD], ids=["in pieces", "in two", "at once"])
def test_a_head_is_bounded_however_it_comes(size: int) -> None:
    with pytest.raises(InvalidInput):
        taken(said("X: " + "x" * (2 * MAX_HEAD)), size)
    with pytest.raises(InvalidInput):
        taken(b"CONNECT " + b"x" * (2 * MAX_HEAD), size)
    assert taken(said("X: " + "x" * (MAX_HEAD - 500)), size) is not None


def test_a_header_is_bounded_while_it_is_not_at_its_end() -> None:
    head, sent = Head(), 0
    head.take(b"CONNECT kubernetes.default.svc:443 HTTP/1.1\r\nHost: a\r\nX: ")
    with pytest.raises(InvalidInput):
        for sent in range(0, 4 * MAX_HEAD, 1000):  # noqa: B007  # how far it got is the point
            head.take(b"x" * 1000)
    assert sent <= MAX_HEAD


@pytest.mark.parametrize(
    ("who", "user", "token"),
    [
        (basic("edge-7:arbk.a.b"), "edge-7", "arbk.a.b"),
        (basic("edge-7:arbk.a.b", "basic "), "edge-7", "arbk.a.b"),
        (basic("edge-7:arbk.a.b", "BASIC   "), "edge-7", "arbk.a.b"),
        (basic("edge-7:a:b:c"), "edge-7", "a:b:c"),
        (basic("edge-7:"), "edge-7", ""),
        (basic(":arbk.a.b"), "", "arbk.a.b"),
    ],
)
def test_user_and_password_come_as_browsers_send_them(who: str, user: str, token: str) -> None:
    wanted = Head().take(said(who=who))
    assert wanted is not None
    assert (wanted.user, wanted.token.reveal()) == (user, token)


@pytest.mark.parametrize(
    "who",
    [
        None,
        "",
        "Basic",
        "Basic edge-7:arbk.a.b",
        basic("edge-7"),
        basic("größe:arbk.a.b"),
        basic("edge-7:arbk.a.b") + "!",
        basic("edge-7:arbk.a.b", "Bearer "),
        basic("edge-7:arbk.a.b", "Negotiate "),
        "Bearer arbk.a.b",
    ],
)
def test_whoever_brings_no_password_is_asked_for_one(who: str | None) -> None:
    head = Head()
    with pytest.raises(Unauthenticated) as refused:
        head.take(said(who=who))
    response, _ = heard(head.refuse(refused.value))
    assert response.status_code == 407
    assert (b"proxy-authenticate", b'Basic realm="arbora"') in response.headers


def test_the_password_of_another_server_is_not_this_ones() -> None:
    with pytest.raises(Unauthenticated):
        Head().take(said(f"Authorization: {basic('edge-7:arbk.a.b')}", who=None))


@given(st.binary(max_size=3000), st.integers(0, 4000))
def test_what_a_client_sends_early_is_kept_to_the_byte(early: bytes, cut: int) -> None:
    head, data = Head(), said() + early
    sent = max(cut, len(said()))
    assert head.take(data[:sent]) is not None
    answer, kept = head.accept()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n")
    assert answer.count(b"\r\n") == 2, "and no header that could announce a body"
    assert kept == data[len(said()) : sent]


@pytest.mark.parametrize("body", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_a_head_with_a_body_is_refused_as_its_bytes_would_be_lost(body: str) -> None:
    head = Head()
    with pytest.raises(InvalidInput, match="body") as refused:
        head.take(said(body) + b"5\r\nhello\r\n0\r\n\r\n")
    assert heard(head.refuse(refused.value))[0].status_code == 400


def test_a_body_of_no_bytes_is_none() -> None:
    head = Head()
    assert head.take(said("Content-Length: 0") + b"early") is not None
    assert head.accept()[1] == b"early"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Unauthenticated("no"), 407),
        (PermissionDenied("no"), 403),
        (NotFound("no"), 404),
        (InvalidInput("no"), 400),
        (Exhausted("no"), 503),
        (DeadlineExceeded("no"), 504),
        (Unavailable("no"), 502),
        (Conflict("no"), 502),
        (StorageFailed("no"), 502),
        (ArboraError("no"), 502),
    ],
)
@pytest.mark.parametrize("begun", [b"", said()], ids=["at once", "after the head"])
def test_a_refusal_has_the_status_of_its_kind_and_closes(error: ArboraError, status: int, begun: bytes) -> None:
    head = Head()
    if begun:
        head.take(begun)
    response, body = heard(head.refuse(error))
    assert (response.status_code, response.reason, body) == (status, b"no", b"no\n")
    assert (b"connection", b"close") in response.headers
    assert (b"proxy-authenticate" in dict(response.headers)) is (status == 407)


def test_the_status_line_says_what_is_wrong_and_what_to_do() -> None:
    response, body = heard(Head().refuse(Unavailable("/eu is not connected", hint="See its log.")))
    assert response.reason == b"/eu is not connected. See its log."
    assert body == b"/eu is not connected. See its log.\n"


@given(st.text(), st.text())
def test_no_text_of_an_error_becomes_a_header_or_a_second_answer(message: str, hint: str) -> None:
    response, body = heard(Head().refuse(Unavailable(message, hint=hint)))
    assert response.status_code == 502
    assert len(response.reason) <= MAX_REASON
    assert set(dict(response.headers)) == {b"content-type", b"content-length", b"connection"}
    assert body.decode().startswith(message)
