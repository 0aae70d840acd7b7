"""Service account tokens of a simulated cluster: shaped and signed like a real API server's, good for nothing.

For `simulation.py`. ES256 (RFC 7518) with a key that is made when the first token is asked for and never leaves
the process, so no real API server accepts these tokens.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from arbora.secret import Secret
from arbora_agent.cluster.port import ObjectRejected, ReviewedToken

ISSUER = "simulated"
DEFAULT_AUDIENCE = "https://kubernetes.default.svc.cluster.local"
MIN_SECONDS = 600
"""A real API server mints nothing shorter."""
MAX_SECONDS = 1 << 32


class TokenIssuer:
    """Signs tokens with a key of its own. `wall`: Unix time in seconds."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._key: ec.EllipticCurvePrivateKey | None = None

    def mint(
        self,
        namespace: str,
        service_account: str,
        account_uid: str,
        audiences: Sequence[str],
        seconds: int,
        node: str = "",
    ) -> Secret:
        """A token that is valid for `seconds` from now; node: of the pod it is bound to, if to one.

        Raises ObjectRejected on a wrong duration.
        """
        if not MIN_SECONDS <= seconds <= MAX_SECONDS:
            why = "less than 10 minutes" if seconds < MIN_SECONDS else "larger than 2^32 seconds"
            raise ObjectRejected(
                f'TokenRequest "{service_account}" is invalid: spec.expirationSeconds: Invalid value: {seconds}: '
                f"may not specify a duration {why}"
            )
        now = int(self._wall())
        key = self._signing_key()
        header = {"alg": "ES256", "kid": _key_id(key), "typ": "JWT"}
        claims = {
            "iss": ISSUER,
            "sub": f"system:serviceaccount:{namespace}:{service_account}",
            "aud": list(audiences) or [DEFAULT_AUDIENCE],
            "iat": now,
            "nbf": now,
            "exp": now + seconds,
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": {"name": service_account, "uid": account_uid},
                **({"node": {"name": node}} if node else {}),
            },
        }
        signed = f"{_segment(header)}.{_segment(claims)}"
        r, s = utils.decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return Secret(f"{signed}.{_base64url(r.to_bytes(32) + s.to_bytes(32))}")

    def review(self, token: Secret, audience: str) -> ReviewedToken:
        """Whose token this is. Raises ObjectRejected unless it is ours, valid and for `audience`."""
        signed, _, signature = token.reveal().rpartition(".")
        try:
            raw = _from_base64url(signature)
            r, s = int.from_bytes(raw[:32]), int.from_bytes(raw[32:])
            self.public_key().verify(utils.encode_dss_signature(r, s), signed.encode(), ec.ECDSA(hashes.SHA256()))
            claims = json.loads(_from_base64url(signed.partition(".")[2]))
        except (InvalidSignature, ValueError) as error:
            raise ObjectRejected("the token is not valid") from error
        if claims["exp"] <= self._wall():
            raise ObjectRejected("the token has expired")
        if audience not in claims["aud"]:
            raise ObjectRejected(f"the token is not for {audience}")
        of = claims["kubernetes.io"]
        node = of.get("node", {}).get("name", "")
        return ReviewedToken(of["namespace"], of["serviceaccount"]["name"], node)

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """What verifies the tokens."""
        return self._signing_key().public_key()

    def _signing_key(self) -> ec.EllipticCurvePrivateKey:
        if self._key is None:
            self._key = ec.generate_private_key(ec.SECP256R1())
        return self._key


def _key_id(key: ec.EllipticCurvePrivateKey) -> str:
    """As kube-apiserver does it: the hash of the public key's DER form."""
    der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return _base64url(hashlib.sha256(der).digest())


def _segment(data: Mapping[str, object]) -> str:
    return _base64url(json.dumps(data, separators=(",", ":")).encode())


def _from_base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
