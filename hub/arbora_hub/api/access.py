"""Clients' access: bearer tokens with roles, kept in memory for the guard and in the store for good."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from arbora.errors import Conflict, InvalidInput, NotFound, Unauthenticated
from arbora.identity import bearer
from arbora.rpc.guard import Context, caller
from arbora.v1 import access_pb2 as pb
from arbora.v1 import access_pb2_grpc
from arbora_hub.api import views
from arbora_hub.enrollment.authority import HubAuthority
from arbora_hub.store.port import ReadTx, Store, WriteTx
from arbora_hub.store.rows import AccessRow
from arbora_hub.unbroken import unbroken


class AccessList:
    """All accesses of this hub."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_id: dict[str, AccessRow] = {}
        self._on_revoked: list[Callable[[AccessRow], None]] = []

    async def load(self) -> None:
        """Read them from the store."""

        async def read(tx: ReadTx) -> list[AccessRow]:
            return list(await tx.access.list())

        self._by_id = {row.id: row for row in await self._store.read(read)}

    def __len__(self) -> int:
        return len(self._by_id)

    def rows(self) -> list[AccessRow]:
        """In the order of their names."""
        return sorted(self._by_id.values(), key=lambda row: row.name)

    def check(self, text: str) -> AccessRow:
        """The access behind a bearer token. Raises Unauthenticated."""
        try:
            token = bearer.parse(text)
        except InvalidInput as error:
            raise Unauthenticated(
                "the call carries no access token that this hub could know",
                hint="Use a context made by `arbora access create` at this hub.",
            ) from error
        row = self._verified(token)
        if row.member:
            raise Unauthenticated(
                f"the token {row.name} opens the way into a member and is for no calls to the hub",
                hint="Use a context made by `arbora access create` at this hub.",
            )
        return row

    def check_connect(self, text: str) -> AccessRow:
        """The access behind a token that opens the way into a member. Raises Unauthenticated."""
        try:
            row = self._verified(bearer.parse(text))
        except InvalidInput as error:
            raise Unauthenticated("there is no token that this hub could know") from error
        if not row.member:
            raise Unauthenticated(f"the access {row.name} is for calls to the hub, and for no way into a member")
        return row

    def on_revoked(self, callback: Callable[[AccessRow], None]) -> None:
        """Hear of each access that is revoked, at once."""
        self._on_revoked.append(callback)

    def _verified(self, token: bearer.AccessToken) -> AccessRow:
        row = self._by_id.get(token.id)
        bearer.verify(_record(row) if row is not None else None, token, datetime.now(UTC))
        assert row is not None
        return row

    async def create(
        self,
        name: str,
        role: bearer.Role,
        lifetime: float | None,
        *,
        member: str = "",
        hand_over: Callable[[bearer.AccessToken], Awaitable[None]] | None = None,
    ) -> tuple[bearer.AccessToken, AccessRow]:
        """A new access. lifetime: seconds; None: until revoked. member: see AccessRow.

        hand_over: called with the token before the access is stored, so that there is never an access whose
        token nobody has got. Raises InvalidInput, Conflict, StorageFailed, and what `hand_over` raises.
        """
        if any(row.name == name for row in self._by_id.values()):
            raise Conflict(
                f"there is an access {name} already", hint=f"arbora access revoke {name}, or another name."
            )
        token, record = bearer.new_access(
            name, role, datetime.now(UTC), timedelta(seconds=lifetime) if lifetime is not None else None
        )
        row = AccessRow(
            name=record.name,
            id=record.id,
            secret_hash=record.secret_hash,
            role=int(record.role),
            created=record.created.timestamp(),
            expires=record.expires.timestamp() if record.expires is not None else None,
            member=member,
        )

        async def write(tx: WriteTx) -> None:
            if await tx.access.get(row.name) is not None:
                raise Conflict(f"there is an access {name} already")
            await tx.access.put(row)

        if hand_over is not None:
            await hand_over(token)
        await self._store.write(write)
        self._by_id[row.id] = row
        return token, row

    async def revoke(self, name: str) -> None:
        """End one at once. Raises NotFound, Conflict (the last admin), StorageFailed."""
        row = next((one for one in self._by_id.values() if one.name == name), None)
        if row is None:
            raise NotFound(f"there is no access {name}", hint="See `arbora access list`.")
        admins = [one for one in self._by_id.values() if one.role == bearer.Role.ADMIN and not one.member]
        if admins == [row]:
            raise Conflict(
                f"{name} is the last admin of this hub",
                hint="Create another first: arbora access create NAME --role admin",
            )

        async def write(tx: WriteTx) -> None:
            await tx.access.delete(name)

        await self._store.write(write)
        self._by_id.pop(row.id, None)
        for callback in self._on_revoked:
            callback(row)


class AccessService(access_pb2_grpc.AccessServiceServicer):
    """Served on the client port."""

    def __init__(self, accesses: AccessList, authority: HubAuthority) -> None:
        self._accesses = accesses
        self._authority = authority

    async def CreateAccess(self, request: pb.CreateAccessRequest, context: Context) -> pb.CreateAccessResponse:
        """See access.proto."""
        try:
            role = bearer.Role(request.role)
        except ValueError as error:
            raise InvalidInput("is none of viewer, operator, admin", field="role") from error
        lifetime = request.lifetime.ToTimedelta().total_seconds() if request.HasField("lifetime") else None
        token, row = await unbroken(self._accesses.create(request.name, role, lifetime))
        return pb.CreateAccessResponse(
            access=views.access(row), token=token.text(), ca_pem=self._authority.bundle().to_pem().decode()
        )

    async def ListAccess(self, request: pb.ListAccessRequest, context: Context) -> pb.ListAccessResponse:
        """See access.proto."""
        return pb.ListAccessResponse(access=[views.access(row) for row in self._accesses.rows()])

    async def RevokeAccess(self, request: pb.RevokeAccessRequest, context: Context) -> pb.RevokeAccessResponse:
        """See access.proto."""
        await unbroken(self._accesses.revoke(request.name))
        return pb.RevokeAccessResponse()

    async def WhoAmI(self, request: pb.WhoAmIRequest, context: Context) -> pb.WhoAmIResponse:
        """See access.proto."""
        name = caller.get().name.removeprefix("access/")
        row = next((one for one in self._accesses.rows() if one.name == name), None)
        if row is None:
            raise Unauthenticated(f"the access {name} was revoked just now")
        return pb.WhoAmIResponse(access=views.access(row), ca_pem=self._authority.bundle().to_pem().decode())


def _record(row: AccessRow) -> bearer.AccessRecord:
    return bearer.AccessRecord(
        row.name,
        row.id,
        row.secret_hash,
        bearer.Role(row.role),
        datetime.fromtimestamp(row.created, UTC),
        datetime.fromtimestamp(row.expires, UTC) if row.expires is not None else None,
    )
