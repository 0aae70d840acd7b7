"""A small API server over HTTP that a test scripts: lists, watches, refusals and cuts."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from arbora.kubernetes.access import Access
from arbora.secret import Secret

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ScriptedApi:
    """Answers each request with the next handler of the script; the last one stays. Use as an async context."""

    def __init__(self, *script: Handler) -> None:
        self.asked: list[dict[str, str]] = []
        """Method, path, Authorization and query of every request."""
        self._script = list(script)
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._server = TestServer(application)
        self._refused: list[bool] = []

    async def __aenter__(self) -> ScriptedApi:
        await self._server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    def access(self, tokens: tuple[str, ...] = ("t",)) -> Access:
        """Access to it; each time the token is refused, the next one is given."""
        left = list(tokens)

        async def bearer(refused: bool) -> Secret:
            if refused and len(left) > 1:
                left.pop(0)
            return Secret(f"Bearer {left[0]}")

        return Access(str(self._server.make_url("")).rstrip("/"), ssl.create_default_context(), bearer)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        seen = {"method": request.method, "path": request.path, **request.query}
        self.asked.append({**seen, "authorization": request.headers.get("Authorization", "")})
        handler = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        return await handler(request)


def reply(body: Any, status: int = 200) -> Handler:
    """Answer with JSON (or, for a string, with plain text)."""

    async def handler(request: web.Request) -> web.StreamResponse:
        if isinstance(body, str):
            return web.Response(text=body, status=status)
        return web.json_response(body, status=status)

    return handler


def listing(version: str, *names: str, proceed: str = "") -> Handler:
    """A page of a list."""
    metadata = {"resourceVersion": version, "continue": proceed}
    return reply({"metadata": metadata, "items": [item(name, version) for name in names]})


def events(*told: tuple[str, dict[str, Any]], cut: bool = False, hold: bool = False, piece: int = 0) -> Handler:
    """A watch that tells these; then it ends, is cut in mid-line, or stays open. `piece`: bytes per write."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        text = b"".join(json.dumps({"type": kind, "object": each}).encode() + b"\n" for kind, each in told)
        for start in range(0, len(text), piece or len(text) or 1):
            await response.write(text[start : start + (piece or len(text))])
        if cut:
            await response.write(b'{"type": "MODI')
            assert request.transport is not None
            request.transport.abort()
        if hold:
            await asyncio.Event().wait()
        return response

    return handler


async def never(request: web.Request) -> web.StreamResponse:
    """Take the request and say nothing."""
    await asyncio.Event().wait()
    raise AssertionError


def item(name: str, version: str) -> dict[str, Any]:
    """An object with nothing but its name and version."""
    return {"metadata": {"name": name, "resourceVersion": version}}
