"""A HEAD request that is refused: an answer without a body, which its client would not read."""

from __future__ import annotations

import h11
import pytest

from arbora.errors import ArboraError, InvalidInput, NotFound, Unauthenticated
from arbora_hub.gateway.head import Head

ASKED = b"HEAD /clusters/edge-7/version HTTP/1.1\r\nHost: gateway\r\n\r\n"


def heard(answer: bytes) -> h11.Response:
    """The one answer that a client reads, and nothing after it."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="HEAD", target="/", headers=[("host", "gateway")]))
    client.send(h11.EndOfMessage())
    client.receive_data(answer)
    response = client.next_event()
    assert isinstance(response, h11.Response)
    assert isinstance(client.next_event(), h11.EndOfMessage)
    assert client.trailing_data == (b"", False)
    return response


def test_where_only_connect_is_taken_it_hears_what_this_is_for() -> None:
    head = Head()
    with pytest.raises(InvalidInput) as refused:
        head.take(ASKED)
    response = heard(head.refuse(refused.value))
    assert response.status_code == 400
    assert b"arbora kubeconfig --help" in response.reason


@pytest.mark.parametrize(("error", "status"), [(NotFound("no such member"), 404), (Unauthenticated("no"), 407)])
def test_of_the_reverse_proxy_it_hears_the_reason_in_the_status_line(error: ArboraError, status: int) -> None:
    head = Head(reverse=True)
    assert head.take(ASKED) is not None
    response = heard(head.refuse(error))
    assert (response.status_code, response.reason) == (status, str(error).encode())
    assert (b"connection", b"close") in response.headers
