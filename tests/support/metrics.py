"""What Prometheus would see: families as text, read back by its own parsers, and scrapes over a real socket."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_plain
from prometheus_client.registry import Collector

OPENMETRICS = "application/openmetrics-text; version=1.0.0"

Labels = frozenset[tuple[str, str]]


@dataclass
class Shown:
    """Samples by name and labels, and what is said of their families."""

    samples: dict[str, dict[Labels, float]] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.samples

    def one(self, name: str, **labels: str) -> float:
        """The value of the one sample with these labels, and maybe others."""
        (value,) = self.all(name, **labels).values()
        return value

    def all(self, name: str, **labels: str) -> Mapping[Labels, float]:
        """Those with these labels, and maybe others."""
        wanted = set(labels.items())
        return {key: value for key, value in self.samples.get(name, {}).items() if wanted <= key}

    def by(self, label: str, name: str, **labels: str) -> dict[str, float]:
        """Values by one of their labels."""
        return {dict(key)[label]: value for key, value in self.all(name, **labels).items()}


class Fixed(Collector):
    """Families that stay as they are."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = tuple(families)

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def shown(families: Iterable[Metric]) -> Shown:
    """The families, written as OpenMetrics and read back; the plain text must say the same."""
    registry = CollectorRegistry()
    registry.register(Fixed(families))
    found = read(generate_openmetrics(registry).decode(), openmetrics=True)
    plain = read(generate_latest(registry).decode(), openmetrics=False)
    assert plain.samples == found.samples
    return found


def read(text: str, *, openmetrics: bool) -> Shown:
    """Parse; a series that stands twice would make Prometheus refuse all of it."""
    found = Shown()
    for family in (parse_openmetrics if openmetrics else parse_plain)(text):
        found.types[family.name] = family.type
        if family.unit:
            found.units[family.name] = family.unit
        for sample in family.samples:
            labels = frozenset(sample.labels.items())
            series = found.samples.setdefault(sample.name, {})
            assert labels not in series, f"{sample.name} {sample.labels} stands twice"
            series[labels] = sample.value
    return found


@dataclass(frozen=True)
class Answer:
    """Of an HTTP server."""

    status: int
    content_type: str
    body: str


def ask(port: int, path: str = "/metrics", accept: str = "", method: str = "GET") -> Answer:
    """One request to loopback. Blocks."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=8.0)
    try:
        connection.request(method, path, headers={"Accept": accept} if accept else {})
        response = connection.getresponse()
        return Answer(response.status, response.headers["Content-Type"] or "", response.read().decode())
    finally:
        connection.close()


async def fetch(port: int, path: str = "/metrics", accept: str = "", method: str = "GET") -> Answer:
    """One request to loopback."""
    return await asyncio.to_thread(ask, port, path, accept, method)


async def scrape(port: int) -> Shown:
    """As Prometheus does it."""
    answer = await fetch(port, accept=OPENMETRICS)
    assert answer.status == 200, answer.body
    return read(answer.body, openmetrics=True)
