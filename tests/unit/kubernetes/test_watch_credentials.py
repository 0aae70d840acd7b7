"""A watch whose credential is refused: renewed once, as for any other request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from arbora.kubernetes.api import ApiServer
from arbora.kubernetes.reflector import Raw
from tests.unit.kubernetes.scripted_api import ScriptedApi, events, item, reply

UNAUTHORIZED = reply({"message": "Unauthorized"}, 401)
TOLD = events(("ADDED", item("a", "6")))


@asynccontextmanager
async def connected(scripted: ScriptedApi, *tokens: str) -> AsyncIterator[ApiServer]:
    api = ApiServer(scripted.access(tokens))
    try:
        yield api
    finally:
        await api.close()


async def watched(api: ApiServer) -> list[Raw]:
    """All events of one watch."""
    async with aclosing(api.watch("/api/v1/nodes", {"watch": "1"}, idle=5.0)) as told:
        return [event async for event in told]


async def test_a_watch_whose_token_has_run_out_is_opened_with_the_next() -> None:
    async with ScriptedApi(UNAUTHORIZED, TOLD) as scripted, connected(scripted, "old", "new") as api:
        assert await watched(api) == [{"type": "ADDED", "object": item("a", "6")}]
        assert [each["authorization"] for each in scripted.asked] == ["Bearer old", "Bearer new"]
        assert api.healthy


async def test_a_watch_that_is_refused_again_tells_that_as_an_error() -> None:
    async with ScriptedApi(UNAUTHORIZED) as scripted, connected(scripted, "old", "new") as api:
        assert await watched(api) == [{"type": "ERROR", "object": {"code": 401, "message": "Unauthorized"}}]
        assert [each["authorization"] for each in scripted.asked] == ["Bearer old", "Bearer new"]
        assert not api.healthy


async def test_another_refusal_is_told_at_once() -> None:
    forbidden = reply({"message": "forbidden"}, 403)
    async with ScriptedApi(forbidden) as scripted, connected(scripted, "old", "new") as api:
        assert await watched(api) == [{"type": "ERROR", "object": {"code": 403, "message": "forbidden"}}]
        assert len(scripted.asked) == 1
