"""What this member lets others ask for. The hub can't widen it: it is kept here. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from arbora.errors import InvalidInput
from arbora.identity.names import check_name


@dataclass(frozen=True, slots=True)
class TokenPolicy:
    """Service accounts for which tokens may be minted, and for how long at most."""

    accounts: frozenset[tuple[str, str]]
    """(namespace, service account)"""
    max_seconds: int

    @classmethod
    def parse(cls, texts: tuple[str, ...], max_seconds: int) -> TokenPolicy:
        """From texts such as `default/reader`. Raises InvalidInput."""
        accounts = set()
        for text in texts:
            namespace, separator, account = text.partition("/")
            if not separator or not account or "/" in account:
                raise InvalidInput(f"{text!r} is not of the form namespace/service-account", field="allow_tokens")
            accounts.add((check_name(namespace, "allow_tokens"), account))
        return cls(frozenset(accounts), max_seconds)

    def refusal(self, namespace: str, account: str, seconds: int) -> str:
        """Why a token is not minted, in a sentence; empty if it may be."""
        if (namespace, account) not in self.accounts:
            return f"the allow-list of this member does not name {namespace}/{account}"
        if seconds > self.max_seconds:
            return f"this member lets tokens live {self.max_seconds} s at most, not {seconds} s"
        return ""
