"""What this member lets others ask for. The hub can't widen it: it is kept here. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from arbora.errors import InvalidInput
from arbora.identity.names import check_name


@dataclass(frozen=True, slots=True)
class TokenPolicy:
    """Service accounts for which tokens may be minted, and for how long at most."""

    accounts: frozenset[tuple[str, str]]
    """(namespace, service account)"""
    max_seconds: int
    namespaces: frozenset[str] = frozenset()
    """Those of which every account is allowed."""

    @classmethod
    def parse(cls, texts: Sequence[str], max_seconds: int) -> TokenPolicy:
        """From texts such as `default/reader` or `team/*`. Raises InvalidInput."""
        accounts, namespaces = set(), set()
        for text in texts:
            namespace, separator, account = text.partition("/")
            if not separator or not account or "/" in account or ("*" in account and account != "*"):
                raise InvalidInput(f"{text!r} is not of the form namespace/service-account", field="allow_tokens")
            check_name(namespace, "allow_tokens")
            if account == "*":
                namespaces.add(namespace)
            else:
                accounts.add((namespace, account))
        return cls(frozenset(accounts), max_seconds, frozenset(namespaces))

    def refusal(self, namespace: str, account: str, seconds: int) -> str:
        """Why a token is not minted, in a sentence; empty if it may be."""
        if namespace not in self.namespaces and (namespace, account) not in self.accounts:
            return (
                f"the allow-list of this member does not name {namespace}/{account}; "
                f"--allow-token {namespace}/{account} would"
            )
        if seconds > self.max_seconds:
            return f"this member lets tokens live {self.max_seconds} s at most, not {seconds} s"
        return ""
