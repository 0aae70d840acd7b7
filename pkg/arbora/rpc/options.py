"""Every grpc channel and server option that Arbora sets, each with its reason.

grpc ignores unknown option names silently, so `tests/integration/test_rpc_options.py` observes what
each one does. Values come from measurements (design: protocol, "grpc.aio as measured").
"""

from __future__ import annotations

Options = tuple[tuple[str, int | str], ...]

MAX_FRAME_BYTES = 1024 * 1024
"""Largest message on join and session ports, both ways; larger values travel in chunks."""

MAX_CLIENT_MESSAGE_BYTES = 8 * 1024 * 1024
"""Largest message on the client port: a workload's manifests travel in one piece there."""

_PLAIN: Options = (
    # One attempt, one answer: Arbora has its own retry rules, and a hidden retry would repeat writes.
    ("grpc.enable_retries", 0),
    # A compressed secret leaks its length to whoever controls its neighbourhood.
    ("grpc.default_compression_algorithm", 0),
    ("grpc.max_metadata_size", 8 * 1024),
    ("grpc.absolute_max_metadata_size", 16 * 1024),
)

_FLOW: Options = (
    # Without these a peer that stops reading holds about 4 MiB of ours; with them about 64 KiB.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 65536),
)


def _sizes(limit: int) -> Options:
    return (("grpc.max_receive_message_length", limit), ("grpc.max_send_message_length", limit))


def _keepalive(seconds: int) -> Options:
    return (
        # A dead peer is noticed in time + timeout, but only if the ping's own timeout is set, too
        # (60 s by default). Heartbeats come more often, so an idle link never pings.
        ("grpc.keepalive_time_ms", seconds * 1000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.ping_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    )


SESSION_CHANNEL: Options = (
    *_PLAIN,
    *_FLOW,
    *_sizes(MAX_FRAME_BYTES),
    *_keepalive(30),
    # Two channels with different certificates to one address must not share a connection.
    ("grpc.use_local_subchannel_pool", 1),
)
"""The child's side of the session port."""

JOIN_CHANNEL: Options = (*_PLAIN, *_sizes(MAX_FRAME_BYTES), ("grpc.use_local_subchannel_pool", 1))
"""The child's side of the join port."""

CLIENT_CHANNEL: Options = (*_PLAIN, *_sizes(MAX_CLIENT_MESSAGE_BYTES), *_keepalive(30))
"""A client's side of the client port."""

_SERVER: Options = (
    # A TCP client that says nothing is dropped after 10 s instead of 120 s.
    ("grpc.server_handshake_timeout_ms", 10_000),
    # Clients may ping every 10 s; the default of 5 min kills honest clients ("too many pings").
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 3),
    # Two hubs on one port would split the children between them without a word.
    ("grpc.so_reuseport", 0),
)

_LEAN: Options = (
    # A connection that idles for weeks should be small: no trace of its events (nobody serves channelz), no
    # tables of headers (a session sends its headers once). 2.5 kB less for each child.
    ("grpc.enable_channelz", 0),
    ("grpc.max_channel_trace_event_memory_per_node", 0),
    ("grpc.http2.hpack_table_size.decoder", 0),
    ("grpc.http2.hpack_table_size.encoder", 0),
)

SESSION_SERVER: Options = (
    *_PLAIN,
    *_LEAN,
    *_SERVER,
    # A tunnel's speed is this much for each round trip. It is what children may send before it is read, so that a
    # client of the gateway that reads slowly holds so much of the hub's memory, and a session none.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 262_144),
    *_sizes(MAX_FRAME_BYTES),
    *_keepalive(40),
    # Session, renewal, tunnels.
    ("grpc.max_concurrent_streams", 256),
)
"""The hub's session port, and that of a cluster's agent for the agents of its nodes."""

JOIN_SERVER: Options = (
    *_PLAIN,
    *_SERVER,
    *_sizes(64 * 1024),
    ("grpc.max_concurrent_streams", 8),
    # Nobody has business here for longer.
    ("grpc.max_connection_age_ms", 60_000),
    ("grpc.max_connection_age_grace_ms", 10_000),
)
"""The hub's join port: the only one that talks to strangers, so the limits are tight."""

CLIENT_SERVER: Options = (
    *_PLAIN,
    *_SERVER,
    *_sizes(MAX_CLIENT_MESSAGE_BYTES),
    *_keepalive(40),
    ("grpc.max_concurrent_streams", 128),
)
"""The hub's client port."""
