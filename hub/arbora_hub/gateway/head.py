"""What a client of the gateway says before the bytes begin, and what it is told. Pure: bytes in, bytes out.

    CONNECT kubernetes.default.svc:443 HTTP/1.1
    Proxy-Authorization: Basic base64(edge-7.paris:arbk.....)

    GET /clusters/edge-7.paris/api/v1/pods HTTP/1.1             (only where that is switched on)

Go's clients show the reason of a status line to their users, so that is where it is said what is wrong.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

import h11

from arbora.errors import (
    ArboraError,
    DeadlineExceeded,
    Exhausted,
    InvalidInput,
    NotFound,
    PermissionDenied,
    Unauthenticated,
)
from arbora.secret import Secret
from arbora_hub.gateway.reverse import member_of, request_head

MAX_HEAD = 16 * 1024
MAX_REASON = 400
_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
TARGETS = frozenset(f"{name}:443" for name in _NAMES)
"""All that a client may ask for: names that stand in the certificate of every member's API server."""
_STATUS: tuple[tuple[type[ArboraError], int], ...] = (
    (Unauthenticated, 407),
    (PermissionDenied, 403),
    (NotFound, 404),
    (InvalidInput, 400),
    (Exhausted, 503),
    (DeadlineExceeded, 504),
    (ArboraError, 502),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client asks for."""

    user: str
    """The member, as a dotted name."""
    token: Secret = field(repr=False)
    """Empty: none was given."""
    head: bytes = field(default=b"", repr=False)
    """Of a request for the reverse proxy, as it goes on; empty: the client speaks with the member itself."""


class Head:
    """The beginning of one connection."""

    def __init__(self, reverse: bool = False) -> None:
        """reverse: requests other than CONNECT are taken, too."""
        self._reverse = reverse
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._taken = 0
        self._bodiless = False
        """An answer has no body: it is one to HEAD."""

    def take(self, data: bytes) -> Wanted | None:
        """Bytes of the client; None: more are needed, or there was nothing at all. Empty: it said no more.

        Raises InvalidInput (no such request), PermissionDenied (another target), Unauthenticated (no password).
        """
        self._taken += len(data)
        try:
            self._http.receive_data(data)
            event = self._http.next_event()
            self._bodiless = isinstance(event, h11.Request) and event.method == b"HEAD"
            # What comes all at once h11 does not bound.
            if self._taken - len(self._http.trailing_data[0]) > MAX_HEAD:
                raise InvalidInput(f"the head has more than {MAX_HEAD} bytes")
            connects = isinstance(event, h11.Request) and event.method == b"CONNECT"
            if connects and not isinstance(self._http.next_event(), h11.EndOfMessage):
                raise InvalidInput("a CONNECT has no body")
        except h11.RemoteProtocolError as error:
            # Its words repeat what was said, and a password may stand there.
            raise InvalidInput("that is no HTTP") from error
        if event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
            return None
        if not isinstance(event, h11.Request):
            raise InvalidInput("nothing was asked for")
        if not connects and self._reverse:
            name, rest = member_of(event.target.decode("ascii", "replace"))
            return Wanted(name, Secret(""), request_head(event.method, rest, list(event.headers)))
        if not connects:
            raise InvalidInput("this is a proxy for CONNECT: see arbora kubeconfig --help")
        target = event.target.decode("ascii", "replace")
        if target not in TARGETS:
            raise PermissionDenied(f"the way leads to kubernetes.default.svc:443, not to {_address(target)}")
        return _credentials(event)

    def early(self) -> bytes:
        """What the client has already sent of what comes after the head."""
        return bytes(self._http.trailing_data[0])

    def accept(self) -> tuple[bytes, bytes]:
        """What to say, and what the client has already sent of what comes next."""
        said = self._http.send(h11.Response(status_code=200, reason=b"Connection established", headers=[]))
        return said or b"", self.early()

    def refuse(self, error: ArboraError) -> bytes:
        """What to say instead."""
        status = next(number for kind, number in _STATUS if isinstance(error, kind))
        words = f"{error}. {error.hint}" if error.hint else str(error)
        # What can't stand in a status line would be another header, or another answer.
        reason = "".join(each if 32 <= ord(each) < 127 else "?" for each in words)[:MAX_REASON]
        body = f"{words}\n".encode()
        headers = [("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(body)))]
        headers += [("connection", "close")]
        if status == 407:
            headers.append(("proxy-authenticate", 'Basic realm="arbora"'))
        response = h11.Response(status_code=status, reason=reason.encode(), headers=headers)
        data = h11.Data(data=b"" if self._bodiless else body)
        parts = (self._http.send(each) for each in (response, data, h11.EndOfMessage()))
        return b"".join(each or b"" for each in parts)


def _address(target: str) -> str:
    """What can be shown of it: without the password that may stand before its `@`."""
    return target.rpartition("@")[2][:100]


def _credentials(request: h11.Request) -> Wanted:
    given = dict(request.headers).get(b"proxy-authorization", b"")
    scheme, _, encoded = given.partition(b" ")
    try:
        user, separator, token = base64.b64decode(encoded.strip(), validate=True).decode("ascii").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        separator = ""
    if scheme.lower() != b"basic" or not separator:
        raise Unauthenticated("no password for a member", hint="arbora kubeconfig writes one")
    return Wanted(user, Secret(token))
