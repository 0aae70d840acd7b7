"""`arbora apply`: submit workloads from files, and wait for them if asked to."""

from typing import TYPE_CHECKING, Annotated

import typer

from arbora.cli.connection import hub_command
from arbora.cli.formats import Format
from arbora.cli.options import Output

if TYPE_CHECKING:
    from arbora.client import HubClient
    from arbora.manifests.documents import WorkloadDocument


def register(root: typer.Typer, panel: str) -> None:
    """Add the command to the root."""
    hub_command(
        root,
        "apply",
        "arbora apply -f train.yaml --wait",
        "arbora apply -f configmap.yaml --name web --members edge-7,edge-8",
        "kustomize build . | arbora apply -f - --name web --selector gpu=h100",
        panel=panel,
    )(apply)


async def apply(
    hub: "HubClient",
    files: Annotated[
        list[str], typer.Option("--filename", "-f", metavar="FILE|DIR|-", help="What to apply; - is stdin.")
    ],
    recursive: Annotated[bool, typer.Option("--recursive", "-R", help="Also below a directory.")] = False,
    name: Annotated[
        str, typer.Option("--name", help="Name of the workload for objects that are in no Workload.")
    ] = "",
    members: Annotated[str, typer.Option("--members", metavar="A,B", help="Where these objects go.")] = "",
    selector: Annotated[
        str, typer.Option("--selector", "-l", metavar="SELECTOR", help="Or: to members with these labels.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Let the hub check it; change nothing.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until all is available or complete.")] = False,
    timeout: Annotated[str, typer.Option("--timeout", metavar="DURATION", help="How long to wait.")] = "5m",
    output: Output = Format.TABLE,
) -> None:  # fmt: skip
    """Create or change workloads from YAML or JSON files.

    All files are read and checked before anything is submitted. Repeating it changes nothing.
    """
    from arbora.cli.applying import gather
    from arbora.cli.console import say, write
    from arbora.cli.durations import parse_duration
    from arbora.cli.output import show_data
    from arbora.cli.plain import enum_word, to_plain
    from arbora.cli.sources import read_sources
    from arbora.v1 import workload_pb2

    limit = parse_duration(timeout, "--timeout").total_seconds()
    documents = gather(read_sources(files, recursive), name, members, selector)
    answers = []
    for document in documents:
        answer = await hub.workloads.apply_document(document, dry_run=dry_run)
        answers.append(answer)
        for warning in answer.warnings:
            say(f"warning: workload/{document.name}: {warning}")
        if output in (Format.TABLE, Format.WIDE):
            outcome = enum_word(workload_pb2.ApplyOutcome.DESCRIPTOR, answer.outcome).lower()
            write(f"workload/{document.name} {outcome}{' (dry run)' if dry_run else ''}")
    if output in (Format.JSON, Format.YAML):
        show_data({"items": [to_plain(answer) for answer in answers]}, output)
    if wait and not dry_run:
        await _wait(hub, documents, limit)


async def _wait(hub: "HubClient", documents: "list[WorkloadDocument]", limit: float) -> None:
    """Wait for all of them; then raise the first failure, so that one doesn't hide how the others went."""
    import asyncio

    from arbora.cli.progress import Progress
    from arbora.workloads.model import State

    with Progress() as progress:
        ends = await asyncio.gather(
            *(hub.workloads.wait(document.name, State.AVAILABLE, limit, progress.seen) for document in documents),
            return_exceptions=True,
        )
    for end in ends:
        if isinstance(end, BaseException):
            raise end
