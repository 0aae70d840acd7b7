"""ArboraError onto grpc statuses and back. The detail travels as `arbora-error-bin` metadata.

Between hubs, where no call of grpc goes, the same detail stands in a `CallError` (`arbora_hub.tree`).
"""

from __future__ import annotations

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError

from arbora import errors
from arbora.v1 import error_pb2

DETAIL_KEY = "arbora-error-bin"

_CODES: dict[type[errors.ArboraError], grpc.StatusCode] = {
    errors.InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.Conflict: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Exhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.StorageFailed: grpc.StatusCode.ABORTED,
    errors.Refused: grpc.StatusCode.FAILED_PRECONDITION,
}
_BY_REASON: dict[str, type[errors.ArboraError]] = {
    kind.reason: kind for kind in _CODES if kind is not errors.Refused
}
_BY_CODE: dict[grpc.StatusCode, type[errors.ArboraError]] = {
    code: kind for kind, code in _CODES.items() if kind is not errors.Refused
}


def code_of(error: errors.ArboraError) -> grpc.StatusCode:
    """The status code that stands for `error`."""
    for kind in type(error).__mro__:
        if kind in _CODES:
            return _CODES[kind]
    return grpc.StatusCode.INTERNAL


def detail_of(error: errors.ArboraError) -> tuple[tuple[str, bytes], ...]:
    """Trailing metadata that lets `error_from` rebuild the error."""
    return ((DETAIL_KEY, detail_to_wire(error).SerializeToString()),)


def detail_to_wire(error: errors.ArboraError) -> error_pb2.ErrorDetail:
    """All that an error says but its message."""
    detail = error_pb2.ErrorDetail(reason=error.reason, hint=error.hint, field=error.field, hop=error.hop)
    if error.retry_after is not None:
        detail.retry_after.CopyFrom(
            Duration(nanos=int(error.retry_after % 1 * 1e9), seconds=int(error.retry_after))
        )
    return detail


def error_to_raise(
    detail: error_pb2.ErrorDetail, message: str, otherwise: type[errors.ArboraError]
) -> errors.ArboraError:
    """The error of which `detail` tells; otherwise: its kind if the reason is not known here."""
    error = _BY_REASON.get(detail.reason, otherwise)(
        message,
        hint=detail.hint,
        field=detail.field,
        retry_after=detail.retry_after.ToTimedelta().total_seconds() if detail.HasField("retry_after") else None,
    )
    error.hop = detail.hop
    return error


def error_from(failure: grpc.aio.AioRpcError) -> errors.ArboraError:
    """The ArboraError behind a failed call; chain it: `raise error_from(failure) from failure`."""
    code, text = failure.code(), failure.details() or ""
    for key, value in failure.trailing_metadata() or ():
        if key != DETAIL_KEY or not isinstance(value, bytes):
            continue
        try:
            detail = error_pb2.ErrorDetail.FromString(value)
        except DecodeError:
            break
        return error_to_raise(
            detail,
            text.removeprefix(f"{detail.field}: ") if detail.field else text,
            _BY_CODE.get(code, errors.Unavailable),
        )
    if code is grpc.StatusCode.UNAVAILABLE:
        return errors.Unavailable(
            f"the peer can't be reached ({text})",
            hint="Check the address, that the hub is running, and that its CA is the one in your context.",
        )
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return errors.InvalidInput(
            "the hub does not know this call", hint="Its version is older than yours, or the port is another one."
        )
    kind = _BY_CODE.get(code, errors.ArboraError)
    return kind(text or f"the call failed with {code.name}")
