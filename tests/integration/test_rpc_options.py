"""Each grpc option does what it is there for: grpc ignores a name that it does not know without a word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from arbora.rpc import options
from tests.support.hub import running_hub
from tests.support.network import Proxy, proxy_to

ECHO = "/test.Echo/Say"
TALK = "/test.Echo/Talk"


@dataclass
class Echo:
    """A server that gives back what it gets, with some of our options."""

    address: str
    talking: asyncio.Event
    ended: asyncio.Event
    peers: list[str]
    reads: asyncio.Event
    """While it is set, streams are read."""


class _Generic(grpc.GenericRpcHandler):
    def __init__(self, serve: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler | None]) -> None:
        self._serve = serve

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return self._serve(handler_call_details)


@asynccontextmanager
async def echo_server(base: options.Options) -> AsyncIterator[Echo]:
    echo = Echo("", asyncio.Event(), asyncio.Event(), [], asyncio.Event())
    echo.reads.set()

    async def say(request: bytes, context: Any) -> bytes:
        echo.peers.append(context.peer())
        return request * 2 if request.startswith(b"double") else request

    async def talk(request_iterator: Any, context: Any) -> None:
        echo.talking.set()
        try:
            while True:
                await echo.reads.wait()
                if await context.read() is grpc.aio.EOF:
                    return
        finally:
            echo.ended.set()

    def serve(details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if details.method == ECHO:
            return grpc.unary_unary_rpc_method_handler(say)
        return grpc.stream_stream_rpc_method_handler(talk) if details.method == TALK else None

    running = grpc.aio.server(options=base)
    running.add_generic_rpc_handlers((_Generic(serve),))
    echo.address = f"127.0.0.1:{running.add_insecure_port('127.0.0.1:0')}"
    await running.start()
    try:
        yield echo
    finally:
        echo.reads.set()
        await running.stop(grace=0)


def channel(address: str, base: options.Options) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(address, options=base)


def changed(base: options.Options, **values: int) -> options.Options:
    """A copy of `base` with other values; every name must be in it."""
    wanted = {f"grpc.{name.replace('__', '.')}": value for name, value in values.items()}
    assert wanted.keys() <= {name for name, _ in base}
    return tuple((name, wanted.get(name, value)) for name, value in base)


async def code_of(call: Any) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


LIMITS = {
    "session": (options.SESSION_CHANNEL, options.SESSION_SERVER, options.MAX_FRAME_BYTES),
    "client": (options.CLIENT_CHANNEL, options.CLIENT_SERVER, options.MAX_CLIENT_MESSAGE_BYTES),
    "join": (options.JOIN_CHANNEL, options.JOIN_SERVER, 64 * 1024),
}


@pytest.mark.parametrize("port", LIMITS)
async def test_a_message_over_the_limit_is_refused_both_ways(port: str) -> None:
    client, serving, limit = LIMITS[port]
    unlimited = tuple((name, value) for name, value in client if "message_length" not in name)
    unlimited += (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
    async with echo_server(serving) as echo, channel(echo.address, unlimited) as one:
        say = one.unary_unary(ECHO)
        assert await code_of(say(b"x" * limit)) is grpc.StatusCode.OK
        assert await code_of(say(b"x" * (limit + 1))) is grpc.StatusCode.RESOURCE_EXHAUSTED
        # an answer that is too large does not leave the server either
        assert await code_of(say(b"double" + b"x" * (limit * 2 // 3))) is not grpc.StatusCode.OK
        assert await code_of(say(b"still there")) is grpc.StatusCode.OK


async def test_a_child_refuses_a_frame_that_a_hub_should_not_have_sent() -> None:
    unlimited = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
    async with echo_server(unlimited) as echo, channel(echo.address, options.SESSION_CHANNEL) as one:
        say = one.unary_unary(ECHO)
        too_large = b"double" + b"x" * (options.MAX_FRAME_BYTES * 2 // 3)
        assert await code_of(say(too_large)) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await code_of(say(b"x" * (options.MAX_FRAME_BYTES + 1))) is not grpc.StatusCode.OK


@pytest.mark.parametrize("serving", [options.SESSION_SERVER, options.JOIN_SERVER, options.CLIENT_SERVER])
async def test_metadata_over_the_limit_is_refused(serving: options.Options) -> None:
    async with echo_server(serving) as echo, channel(echo.address, ()) as one:
        say = one.unary_unary(ECHO)
        assert await code_of(say(b"", metadata=(("x-some", "x" * 4_000),))) is grpc.StatusCode.OK
        refused = await code_of(say(b"", metadata=(("x-some", "x" * 17_000),)))
        assert refused is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("serving", "streams"),
    [(options.JOIN_SERVER, 8), (options.SESSION_SERVER, 256), (options.CLIENT_SERVER, 128)],
)
async def test_a_connection_carries_so_many_calls_at_once(serving: options.Options, streams: int) -> None:
    async with echo_server(serving) as echo, channel(echo.address, ()) as one:
        calls = [one.stream_stream(TALK)() for _ in range(streams)]
        for call in calls:
            await call.write(b"x")
        further = one.unary_unary(ECHO)(b"x", timeout=0.3)
        assert await code_of(further) is grpc.StatusCode.DEADLINE_EXCEEDED
        calls[0].cancel()
        assert await code_of(one.unary_unary(ECHO)(b"x", timeout=5.0)) is grpc.StatusCode.OK
        for call in calls:
            call.cancel()


async def test_whoever_connects_and_says_nothing_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "JOIN_SERVER", changed(options.JOIN_SERVER, server_handshake_timeout_ms=300))
    async with running_hub(tmp_path / "hub") as hub:
        host, _, port = hub.hub.join_address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        async with asyncio.timeout(5.0):
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_nobody_stays_on_the_join_port_for_long() -> None:
    short = changed(options.JOIN_SERVER, max_connection_age_ms=200, max_connection_age_grace_ms=200)
    async with echo_server(short) as echo, channel(echo.address, ()) as one:
        call = one.stream_stream(TALK)()
        await call.write(b"x")
        async with asyncio.timeout(5.0):
            assert await call.code() is grpc.StatusCode.UNAVAILABLE


async def talk_through(proxy: Proxy, echo: Echo, base: options.Options) -> tuple[grpc.aio.Channel, Any]:
    one = channel(proxy.address, base)
    call = one.stream_stream(TALK)()
    await call.write(b"x")
    await echo.talking.wait()
    return one, call


async def test_a_child_notices_a_hub_that_has_vanished_behind_a_living_connection() -> None:
    short = changed(
        options.SESSION_CHANNEL, keepalive_time_ms=500, keepalive_timeout_ms=500, http2__ping_timeout_ms=500
    )
    async with echo_server(options.SESSION_SERVER) as echo, proxy_to(echo.address) as proxy:
        one, call = await talk_through(proxy, echo, short)
        async with one:
            proxy.freeze()
            async with asyncio.timeout(8.0):
                assert await call.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_hub_notices_a_child_that_has_vanished_behind_a_living_connection() -> None:
    short = changed(
        options.SESSION_SERVER, keepalive_time_ms=500, keepalive_timeout_ms=500, http2__ping_timeout_ms=500
    )
    async with echo_server(short) as echo, proxy_to(echo.address) as proxy:
        one, call = await talk_through(proxy, echo, ())
        async with one:
            proxy.freeze()
            async with asyncio.timeout(8.0):
                await echo.ended.wait()
            call.cancel()


async def test_a_child_that_pings_as_often_as_it_may_is_not_punished() -> None:
    often = changed(
        options.SESSION_CHANNEL, keepalive_time_ms=300, keepalive_timeout_ms=5000, http2__ping_timeout_ms=5000
    )
    lenient = changed(options.SESSION_SERVER, http2__min_ping_interval_without_data_ms=100)
    strict = changed(
        options.SESSION_SERVER, http2__min_ping_interval_without_data_ms=60_000, http2__max_ping_strikes=1
    )
    for serving, survives, seconds in ((lenient, True, 2.0), (strict, False, 8.0)):
        async with echo_server(serving) as echo, channel(echo.address, often) as one:
            call = one.stream_stream(TALK)()
            await call.write(b"x")
            await echo.talking.wait()
            try:
                async with asyncio.timeout(seconds):
                    await echo.ended.wait()
                ended = True
            except TimeoutError:
                ended = False
            assert ended is not survives
            call.cancel()


async def test_a_peer_that_does_not_read_holds_little_of_ours() -> None:
    async with echo_server(options.SESSION_SERVER) as echo, channel(echo.address, options.SESSION_CHANNEL) as one:
        call = one.stream_stream(TALK)()
        await call.write(b"x")
        await echo.talking.wait()
        echo.reads.clear()
        written = 0
        try:
            async with asyncio.timeout(0.5):
                while True:
                    await call.write(b"x" * 16_384)
                    written += 16_384
        except TimeoutError:
            assert written < 512 * 1024
        call.cancel()


async def test_two_channels_of_one_process_do_not_share_a_connection() -> None:
    async with echo_server(options.SESSION_SERVER) as echo:
        async with (
            channel(echo.address, options.SESSION_CHANNEL) as one,
            channel(echo.address, options.SESSION_CHANNEL) as two,
        ):
            await one.unary_unary(ECHO)(b"x")
            await two.unary_unary(ECHO)(b"x")
        assert len(set(echo.peers)) == 2


async def test_a_failed_call_is_not_repeated_behind_our_back() -> None:
    async with echo_server(options.CLIENT_SERVER) as echo, proxy_to(echo.address) as proxy:
        async with channel(proxy.address, options.CLIENT_CHANNEL) as one:
            call = one.stream_stream(TALK)()
            await call.write(b"x")
            await echo.talking.wait()
            echo.talking.clear()
            proxy.cut()
            assert await call.code() is grpc.StatusCode.UNAVAILABLE
            assert not echo.talking.is_set()


@pytest.mark.parametrize("serving", [options.SESSION_SERVER, options.JOIN_SERVER, options.CLIENT_SERVER])
async def test_two_hubs_never_share_a_port(serving: options.Options) -> None:
    async with echo_server(serving) as echo:
        with pytest.raises(RuntimeError, match="bind"):
            grpc.aio.server(options=serving).add_insecure_port(echo.address)


def test_every_option_is_named_once_and_set_on_purpose() -> None:
    known = {name: value for name, value in vars(options).items() if name.endswith(("_CHANNEL", "_SERVER"))}
    assert set(known) == {
        "SESSION_CHANNEL",
        "JOIN_CHANNEL",
        "CLIENT_CHANNEL",
        "SESSION_SERVER",
        "JOIN_SERVER",
        "CLIENT_SERVER",
        "_SERVER",
    }
    for name, group in known.items():
        names = [option for option, _ in group]
        assert len(names) == len(set(names)), name


async def test_a_hub_that_stops_while_clients_come_and_go_does_not_hang(tmp_path: Path) -> None:
    # grpc's call credentials once deadlocked with whoever let go of the last server of a process
    async def once(number: int) -> None:
        async with running_hub(tmp_path / f"hub-{number}") as hub:
            assert (await hub.admin.info()).id

    for number in range(12):
        await once(number)
