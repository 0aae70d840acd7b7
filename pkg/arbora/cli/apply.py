"""`arbora apply`: submit workloads from files, and wait for them if asked to; or only say what would happen."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from arbora.cli.connection import run_with_hub
from arbora.cli.formats import Format, View
from arbora.cli.options import ContextName, HubConfig, Output, examples

if TYPE_CHECKING:
    from arbora.client import HubClient
    from arbora.manifests.documents import WorkloadDocument
    from arbora.v1 import workload_pb2 as pb


class DryRun(StrEnum):
    """How much is done."""

    NONE = "none"
    CLIENT = "client"
    SERVER = "server"


class _ApplyCommand(TyperCommand):
    """Takes `--dry-run` without a value as `--dry-run=server`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the value in where none was given."""
        following = [*args[1:], ""]
        values = set(DryRun)
        given = [
            f"{each}={DryRun.SERVER.value}" if each == "--dry-run" and after not in values else each
            for each, after in zip(args, following, strict=True)
        ]
        return super().parse_args(ctx, given)


def register(root: typer.Typer, panel: str) -> None:
    """Add the command to the root."""
    shown = (
        "arbora apply -f train.yaml --wait",
        "arbora apply -f train.yaml --dry-run=server",
        "arbora apply -f configmap.yaml --name web --members edge-7,edge-8",
        "kustomize build . | arbora apply -f - --name web --selector gpu=h100",
    )
    root.command("apply", cls=_ApplyCommand, epilog=examples(*shown), rich_help_panel=panel)(apply)


def apply(
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
    dry_run: Annotated[
        DryRun,
        typer.Option("--dry-run", help="client: only read and check. server: the hub says what would happen."),
    ] = DryRun.NONE,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until all is available or complete.")] = False,
    timeout: Annotated[str, typer.Option("--timeout", metavar="DURATION", help="How long to wait.")] = "5m",
    output: Output = Format.TABLE,
    context: ContextName = "",
    hub_config: HubConfig = None,
) -> None:
    """Create or change workloads from YAML or JSON files.

    All files are read and checked before anything is submitted. Repeating it changes nothing.
    --dry-run=server shows where each workload would go, why, and what overrides change there.
    """
    from arbora.cli.applying import gather
    from arbora.cli.durations import parse_duration
    from arbora.cli.sources import read_sources

    limit = parse_duration(timeout, "--timeout").total_seconds()
    documents = gather(read_sources(files, recursive), name, members, selector)
    view = View(output)
    if dry_run is DryRun.CLIENT:
        _show_checked(documents, view)
        return

    async def submit(hub: "HubClient") -> None:
        await _submit(hub, documents, dry_run is DryRun.SERVER, view)
        if wait and dry_run is DryRun.NONE:
            await _wait(hub, documents, limit)

    run_with_hub(submit, hub_config, context)


def _show_checked(documents: "list[WorkloadDocument]", view: View) -> None:
    from arbora.cli.console import write
    from arbora.cli.output import show_data
    from arbora.client.workloads import request_of
    from arbora.manifests.documents import as_plain

    for document in documents:
        request_of(document)  # what can't be sent is told now, too
    if view.structured:
        show_data({"items": [as_plain(document) for document in documents]}, view.format)
        return
    for document in documents:
        write(f"workload/{document.name} checked (dry run: client)")


async def _submit(hub: "HubClient", documents: "list[WorkloadDocument]", dry_run: bool, view: View) -> None:
    from arbora.cli.answer_view import answer_lines, unexplained
    from arbora.cli.console import say, write
    from arbora.cli.output import show_data
    from arbora.cli.plain import to_plain

    answers: list[pb.ApplyWorkloadResponse] = []
    for document in documents:
        answer = await hub.workloads.apply_document(document, dry_run=dry_run)
        answers.append(answer)
        for warning in unexplained(answer) if dry_run and not view.structured else answer.warnings:
            say(f"warning: workload/{document.name}: {warning}")
        if not view.structured:
            if dry_run and len(answers) > 1:
                write("")
            write("\n".join(answer_lines(document.name, answer, dry_run, view.wide)))
            if not dry_run and answer.workload.pending:
                say(f"workload/{document.name} waits: see `arbora workloads explain {document.name}`")
    if view.structured:
        show_data({"items": [to_plain(answer) for answer in answers]}, view.format)


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
