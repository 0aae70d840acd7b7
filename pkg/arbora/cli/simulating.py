"""What `simulate` works with: the one Fleet and all Workloads of its sources. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from arbora.cli.applying import check_unique
from arbora.errors import InvalidInput
from arbora.manifests.documents import WorkloadDocument, read
from arbora.manifests.fleet_document import FleetDocument
from arbora.manifests.objects import ref_of


def gather(sources: Iterable[tuple[str, str]]) -> tuple[FleetDocument, list[WorkloadDocument]]:
    """The fleet and the workloads of `sources` (name and text each), in order. Raises InvalidInput."""
    found = [read(text, source) for source, text in sources]
    fleets = [fleet for documents in found for fleet in documents.fleets]
    workloads = [workload for documents in found for workload in documents.workloads]
    if objects := [manifest for documents in found for manifest in documents.objects]:
        raise InvalidInput(
            f"{ref_of(objects[0])} is in no Workload", hint="Put it into spec.manifests of a Workload."
        )
    if not fleets:
        raise InvalidInput("there is no Fleet in what was given", hint="Add one: -f fleet.yaml")
    if len(fleets) > 1:
        places = ", ".join(f"{fleet.source}:{fleet.line}" for fleet in fleets)
        raise InvalidInput(f"there are {len(fleets)} Fleets: {places}", hint="Give one.")
    if not workloads:
        raise InvalidInput("there is no Workload in what was given", hint="Add one: -f workload.yaml")
    check_unique(workloads)
    return fleets[0], workloads
