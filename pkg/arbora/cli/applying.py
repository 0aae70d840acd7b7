"""What `apply` is going to submit: the workloads of all sources, with plain objects put into one of their own.

Pure; everything is read and checked here before the first call is made, so a mistake in the last file leaves
nothing half done.
"""

from __future__ import annotations

from collections.abc import Iterable

from arbora.errors import InvalidInput
from arbora.manifests.documents import Documents, WorkloadDocument, read
from arbora.manifests.objects import Manifest, ref_of
from arbora.manifests.placement_document import PlacementDocument
from arbora.manifests.selectors import parse_selector


def gather(
    sources: Iterable[tuple[str, str]], name: str = "", members: str = "", selector: str = ""
) -> list[WorkloadDocument]:
    """The workloads of `sources` (name and text each), in order.

    name, members (comma-separated), selector: for the objects that are in no Workload. Raises InvalidInput.
    """
    found: list[Documents] = [read(text, source) for source, text in sources]
    workloads = [workload for documents in found for workload in documents.workloads]
    if fleets := [fleet for documents in found for fleet in documents.fleets]:
        raise InvalidInput(
            f"{fleets[0].source}:{fleets[0].line}: a Fleet can't be applied",
            hint="It is for `arbora simulate -f fleet.yaml -f workload.yaml`.",
        )
    objects = [manifest for documents in found for manifest in documents.objects]
    if objects:
        workloads.append(_wrapped(objects, name, members, selector))
    elif name or members or selector:
        raise InvalidInput(
            "--name, --members and --selector are for objects that are in no Workload; there are none",
            hint="A Workload says its name and placement itself.",
        )
    if not workloads:
        raise InvalidInput("there is nothing to apply: no document in what was given")
    check_unique(workloads)
    return workloads


def check_unique(workloads: Iterable[WorkloadDocument]) -> None:
    """Raises InvalidInput naming both places of a workload that is there twice."""
    seen: dict[str, WorkloadDocument] = {}
    for workload in workloads:
        first = seen.setdefault(workload.name, workload)
        if first is not workload:
            raise InvalidInput(
                f"{workload.source}:{workload.line}: a second workload {workload.name}, "
                f"first at {first.source}:{first.line}"
            )


def _wrapped(objects: list[Manifest], name: str, members: str, selector: str) -> WorkloadDocument:
    what = f"{ref_of(objects[0])}" + (f" and {len(objects) - 1} more" if len(objects) > 1 else "")
    if not name:
        raise InvalidInput(
            f"{what} is in no Workload",
            field="--name",
            hint="Name a workload and its place: --name web --members a,b (or --selector gpu=h100).",
        )
    if not members and not selector:
        raise InvalidInput(
            f"nothing says where {what} goes", field="--members", hint="Add --members a,b or --selector gpu=h100."
        )
    refs = [ref_of(manifest) for manifest in objects]
    if twice := [ref for index, ref in enumerate(refs) if ref in refs[:index]]:
        raise InvalidInput(f"{twice[0]} is there twice")
    listed = tuple(member.strip() for member in members.split(",") if member.strip())
    wanted = parse_selector(selector, "--selector") if selector else None
    return WorkloadDocument(name, PlacementDocument(listed, wanted), tuple(objects), source="--name")
