"""host:port texts. Pure."""

from __future__ import annotations

from arbora.errors import InvalidInput


def split(address: str, field: str = "address") -> tuple[str, int]:
    """`host:port` or `[v6]:port` into host (without brackets, may be empty) and port. Raises InvalidInput."""
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit() or not 0 <= int(port) <= 65535 or (":" in host and host[0] != "["):
        raise InvalidInput(
            f"{address!r} is not an address", field=field, hint="Write host:port, such as hub.example.org:7444."
        )
    return host.strip("[]"), int(port)


def join(host: str, port: int) -> str:
    """The reverse of `split`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def absolute(address: str, reference: str) -> str:
    """`address`, with the host of `reference` where it has none of its own."""
    host, port = split(address)
    return join(host or split(reference)[0], port)
