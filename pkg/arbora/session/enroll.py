"""First contact: a join token becomes a certificate.

    token -> pin --+
    TLS to the join port, unverified -> chain -> the CA with that pin    (trust.py)
    TLS to the join port, verified by that CA -> Enroll(token, CSR) -> Credential

The key is made here, kept before it is sent, and never leaves.
"""

from __future__ import annotations

from dataclasses import replace

import grpc

from arbora.identity import csr, keys
from arbora.identity.join_token import JoinToken
from arbora.identity.names import Kind
from arbora.rpc.channel import join_channel
from arbora.rpc.status import error_from
from arbora.session.addresses import absolute
from arbora.session.credential import Credential, CredentialStore
from arbora.session.trust import pinned_authority
from arbora.v1 import enrollment_pb2 as pb
from arbora.v1 import enrollment_pb2_grpc as rpc

ENROLL_SECONDS = 10.0
"""Deadline of each step of a first contact."""

KIND_TO_WIRE = {Kind.AGENT: pb.CHILD_KIND_AGENT, Kind.HUB: pb.CHILD_KIND_HUB}


async def enroll(
    join_address: str,
    token: JoinToken,
    store: CredentialStore,
    *,
    kind: Kind,
    name: str,
    cluster_uid: str,
    version: str,
) -> Credential:
    """Join the hub at `join_address` (host:port) and keep the identity in `store`.

    Safe to repeat after any failure: the same key is sent again until it has its certificate.
    Raises Unavailable, DeadlineExceeded, PermissionDenied (the token or the hub's pin), InvalidInput,
    Conflict (the name or the cluster is taken), StorageFailed.
    """
    authority_pem = await pinned_authority(join_address, token.pin, ENROLL_SECONDS)
    key_pem = await store.pending_key()
    kept = await store.load()
    if key_pem is None or (kept is not None and kept.key_pem == key_pem):
        key_pem = keys.to_pem(keys.new_key())
        await store.save_pending_key(key_pem)
    request = pb.EnrollRequest(
        token=token.text(),
        csr=csr.build(keys.from_pem(key_pem)),
        kind=KIND_TO_WIRE[kind],
        name=name,
        cluster_uid=cluster_uid,
        version=version,
    )
    async with join_channel(join_address, authority_pem) as channel:
        try:
            answer: pb.EnrollResponse = await rpc.EnrollmentServiceStub(channel).Enroll(
                request, timeout=ENROLL_SECONDS
            )
        except grpc.aio.AioRpcError as failure:
            raise error_from(failure) from failure
    credential = Credential(
        name=answer.name,
        path=answer.path,
        join_address=join_address,
        session_address=absolute(answer.session_address, join_address),
        leaf=answer.certificate.leaf,
        bundle=tuple(answer.certificate.trust_bundle),
        key_pem=key_pem,
        joined_with=token.id,
    )
    await store.save(credential)
    return credential


async def why_refused(credential: Credential) -> pb.ExplainResponse | None:
    """Ask the join port why the session port refuses our certificate; None if it can't be asked either."""
    async with join_channel(credential.join_address, credential.bundle_pem()) as channel:
        try:
            return await rpc.EnrollmentServiceStub(channel).Explain(
                pb.ExplainRequest(certificate=credential.leaf), timeout=5.0
            )
        except grpc.aio.AioRpcError:
            return None


async def renew(channel: grpc.aio.Channel, credential: Credential, new_key_pem: bytes) -> Credential:
    """The next certificate, over the mTLS channel of the present one. Raises what the hub answers."""
    try:
        answer = await rpc.RenewalServiceStub(channel).Renew(
            pb.RenewRequest(csr=csr.build(keys.from_pem(new_key_pem))), timeout=ENROLL_SECONDS
        )
    except grpc.aio.AioRpcError as failure:
        raise error_from(failure) from failure
    return replace(
        credential,
        leaf=answer.certificate.leaf,
        bundle=tuple(answer.certificate.trust_bundle),
        key_pem=new_key_pem,
    )
