"""A hub's authority and moments in time that the identity tests share."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from arbora.identity.authority import Authority, make_authority


@pytest.fixture(scope="session")
def now() -> datetime:
    return datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def authority(now: datetime) -> Authority:
    return make_authority("prod.example.org", now)


@pytest.fixture(scope="session")
def stranger(now: datetime) -> Authority:
    """Another authority that bears the same name."""
    return make_authority("prod.example.org", now)
