"""`arbora gpu`: record what the GPUs of this machine say, and list the recordings that come with the program.

A recording can be played to a node agent (`arbora agent run --mode node --replay`), for tests and for faults that
nobody has at hand. How one is made stands in the agent's `gpu/recorded`, which is loaded only here.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arbora.cli.formats import Format, View
from arbora.cli.options import NoHeaders, Output, examples

if TYPE_CHECKING:
    import asyncio

app = typer.Typer(no_args_is_help=True, help="Recordings of what GPUs say, for playing them again.")


@app.command(
    "record",
    epilog=examples(
        "arbora gpu record --out node-3.jsonl --seconds 600",
        "arbora gpu record --out try.jsonl --replay h100x8-xid79 --seconds 90",
    ),
)
def record(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write it.")],
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, max=86_400.0, help="How long.")] = 60.0,
    interval: Annotated[
        float, typer.Option("--interval", min=0.1, max=600.0, help="Seconds between two readings.")
    ] = 10.0,
    about: Annotated[
        str, typer.Option("--about", metavar="TEXT", help="What is recorded; default: the devices.")
    ] = "",
    keep_ids: Annotated[
        bool, typer.Option("--keep-ids", help="Keep UUIDs, serial numbers and process ids as they are.")
    ] = False,
    replay: Annotated[
        str, typer.Option("--replay", metavar="NAME|FILE", help="Record what a recording plays, to try it out.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that exists.")] = False,
) -> None:
    """Record what the GPUs of this machine say: facts, readings, errors, as they come.

    Ctrl-C ends it in order. Numbers that tell a machine from all others are replaced, unless --keep-ids is given.
    """
    from arbora.cli.daemon import load, run_daemon
    from arbora.errors import Conflict

    if out.exists() and not force:
        raise Conflict(f"{out} exists", hint="Name another file, or overwrite it with --force.")
    module = load("arbora_agent.gpu.recorded.recorder", "agent")
    reader, said = _reader(replay)

    async def body(stop: "asyncio.Event") -> None:
        recorder = module.Recorder(reader, interval=interval, keep_ids=keep_ids)
        await _record(recorder, out, seconds, about or said, force, stop)

    run_daemon(body)


def _reader(replay: str) -> tuple[Any, str]:
    """Of NVIDIA's library, or of a recording; and what that one says it is."""
    from arbora.cli.daemon import load

    if not replay:
        return load("arbora_agent.gpu.nvml", "agent").NvmlReader(), ""
    recorded = load("arbora_agent.gpu.recorded", "agent")
    played = recorded.named(replay)
    return recorded.RecordedReader(played), played.about


async def _record(
    recorder: Any, out: Path, seconds: float, about: str, force: bool, stop: "asyncio.Event"
) -> None:
    """The file is only touched once the devices are reached."""
    import asyncio

    from arbora.cli.console import write
    from arbora.cli.recording_view import RecordingScreen, summary

    async with recorder:
        file = await asyncio.to_thread(_open, out, force)
        try:
            with RecordingScreen(recorder.progress, seconds) as screen:
                done = await recorder.record(file, seconds, stop, about, screen.seen)
        finally:
            await asyncio.to_thread(file.close)
    write(summary(done, str(out)))


def _open(out: Path, force: bool) -> Any:
    from arbora.errors import Conflict, StorageFailed

    try:
        return out.open("w" if force else "x", encoding="ascii", newline="\n")
    except FileExistsError as error:
        raise Conflict(f"{out} exists", hint="Name another file, or overwrite it with --force.") from error
    except OSError as error:
        raise StorageFailed(f"{out} can't be written: {error.strerror}") from error


@app.command("recordings", epilog=examples("arbora gpu recordings"))
def recordings(output: Output = Format.TABLE, no_headers: NoHeaders = False) -> None:
    """List the recordings that come with the program, for --replay."""
    from arbora.cli.daemon import load
    from arbora.cli.output import show_list
    from arbora.cli.recording_view import COLUMNS, Shown

    form = load("arbora_agent.gpu.recorded.form", "agent")
    found = [Shown.of(name, form.named(name)) for name in form.made()]
    show_list(found, COLUMNS, View(output, not no_headers), "recordings")
