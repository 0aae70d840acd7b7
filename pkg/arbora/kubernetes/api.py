"""Requests to one API server, as plain JSON over a pool of connections, and its health.

For: everything here that speaks to the cluster. Each request has a deadline; what the transport throws
becomes ClusterUnavailable. Must not know what the objects mean. Answers that are not a success are
returned, for the caller to judge with `failures.failure`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from arbora.errors import InvalidInput
from arbora.kubernetes.access import Access
from arbora.kubernetes.failures import ClusterUnavailable, words_of
from arbora.kubernetes.sockets import Sockets

DEADLINE = 10.0
"""Seconds for one request, unless the caller gives another figure."""
MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of one answer at most; pages are far below."""
MAX_EVENT = 8 * 1024 * 1024
"""Bytes of one watch event at most; etcd keeps objects below 1.5 MiB."""
KEEPALIVE = 75.0
"""Seconds that an idle connection is kept, so that an apply after a pause pays no TLS handshake."""
MAX_CONNECTIONS = 256

JSON = "application/json"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

Params = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server said."""

    status: int
    body: Mapping[str, Any]
    """Empty where it was not a JSON object."""
    date: str = ""
    """The server's own clock, as an HTTP date."""
    retry_after: float | None = None

    @property
    def ok(self) -> bool:
        """Whether it is a success."""
        return 200 <= self.status < 300


class ApiServer:
    """One API server. `on_health` is called when it becomes healthy or stops being so."""

    def __init__(
        self, access: Access, *, deadline: float = DEADLINE, on_health: Callable[[], None] = lambda: None
    ) -> None:
        self._access = access
        self._deadline = deadline
        self._on_health = on_health
        self._sockets = Sockets()
        connector = aiohttp.TCPConnector(
            ssl=access.tls,
            limit=MAX_CONNECTIONS,
            keepalive_timeout=KEEPALIVE,
            socket_factory=self._sockets.make,
        )
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        self.healthy = True
        self.trouble = ""
        """Why it is not healthy; empty while it is."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        deadline: float | None = None,
    ) -> Answer:
        """Ask once; again with fresh credentials after a 401, and on a new connection if a kept one was dead.

        A POST is not repeated on a dead connection, as it may have been carried out. Raises ClusterUnavailable.
        """
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        headers = {"Accept": accept} if data is None else {"Accept": accept, "Content-Type": content_type}
        timeout = aiohttp.ClientTimeout(total=deadline or self._deadline)
        refused, repeated = False, method == "POST"
        while True:
            try:
                async with await self._open(
                    method, path, params, headers, timeout, data, refused=refused
                ) as response:
                    answer = await _read(response)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                if repeated or isinstance(error, aiohttp.ClientConnectorError):
                    raise self._down(error) from error
                repeated = True
                continue
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise self._down(error) from error
            if answer.status == 401 and not refused:
                refused = True
                continue
            self._judge(answer)
            return answer

    async def watch(self, path: str, params: Params, *, idle: float) -> AsyncGenerator[Mapping[str, Any]]:
        """The events of one watch until the server ends it or is silent for `idle` seconds.

        It is opened again with fresh credentials after a 401. Another refusal comes as one event of type ERROR,
        just as those in mid-stream do. Raises ClusterUnavailable.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._deadline, sock_read=idle)
        try:
            response = await self._open("GET", path, params, {"Accept": JSON}, timeout, None)
            if response.status == 401:
                response.close()
                response = await self._open("GET", path, params, {"Accept": JSON}, timeout, None, refused=True)
            async with response:
                if response.status != 200:
                    answer = await _read(response)
                    self._judge(answer)
                    words = words_of(answer.status, answer.body)
                    yield {"type": "ERROR", "object": {"code": answer.status, "message": words}}
                    return
                async for line in _lines(response.content):
                    yield json.loads(line)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # Whether the API server is down is for the request after this to find out: a watch may just end.
            raise ClusterUnavailable(f"the watch of {path} broke: {_words(error)}") from error
        except ValueError as error:
            raise ClusterUnavailable(f"the watch of {path} is not JSON: {error}") from error

    async def close(self) -> None:
        """Release the connections; all are closed on return."""
        await self._session.close()
        await self._sockets.close()

    async def _open(
        self,
        method: str,
        path: str,
        params: Params | None,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout,
        data: bytes | None,
        *,
        refused: bool = False,
    ) -> aiohttp.ClientResponse:
        try:
            bearer = await self._access.bearer(refused)
        except InvalidInput as error:
            raise self._down(error) from error
        authorization = {"Authorization": bearer.reveal()} if bearer else {}
        # Paths come quoted; yarl must not read them again.
        url = URL(self._access.server + path, encoded=True)
        return await self._session.request(
            method,
            url.with_query(dict(params)) if params else url,
            headers={**headers, **authorization},
            data=data,
            timeout=timeout,
            server_hostname=self._access.server_name,
            proxy=self._access.proxy,
            allow_redirects=False,
        )

    def _judge(self, answer: Answer) -> None:
        if answer.status >= 500 or answer.status in (401, 429):
            self._set_health(words_of(answer.status, answer.body))
        else:
            self._set_health("")

    def _down(self, error: Exception) -> ClusterUnavailable:
        self._set_health(_words(error))
        return ClusterUnavailable(
            f"the API server {self._access.server} can't be reached: {_words(error)}",
            hint="The agent goes on trying.",
        )

    def _set_health(self, trouble: str) -> None:
        changed = self.healthy != (not trouble)
        self.healthy, self.trouble = not trouble, trouble
        if changed:
            self._on_health()


async def _read(response: aiohttp.ClientResponse) -> Answer:
    text = bytearray()
    async for chunk in response.content.iter_any():
        text += chunk
        if len(text) > MAX_ANSWER:
            raise aiohttp.ClientPayloadError(f"an answer of more than {MAX_ANSWER} bytes")
    try:
        body = json.loads(text) if text else {}
    except ValueError:
        # Proxies and the path multiplexer answer in plain text; the status says enough.
        body = {"message": text[:200].decode(errors="replace").strip()}
    if not isinstance(body, dict):
        body = {}
    retry_after = response.headers.get("Retry-After", "")
    return Answer(
        response.status,
        body,
        response.headers.get("Date", ""),
        float(retry_after) if retry_after.isdigit() else None,
    )


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length up to MAX_EVENT; the reader's own `readline` gives up at 128 KiB."""
    rest = bytearray()
    async for chunk in content.iter_any():
        *complete, last = chunk.split(b"\n")
        for part in complete:
            rest += part
            if rest:
                yield bytes(rest)
            rest.clear()
        rest += last
        if len(rest) > MAX_EVENT:
            raise aiohttp.ClientPayloadError(f"an event of more than {MAX_EVENT} bytes")


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
