"""The `arbora` command: puts the nouns together. The entry point is `run`.

Must start fast: nothing here, and nothing that the nouns import at their top, loads grpc, protobuf, Rich's
tables or YAML. How failures end is in `failures.py`, how a command gets its hub in `connection.py`.
"""

from typing import Any

import typer

from arbora.cli import (
    access,
    agent,
    apply,
    events,
    gpu,
    gpus,
    hub,
    join_token,
    kubeconfig,
    members,
    simulate,
    token,
    version,
    workloads,
)
from arbora.cli.failures import EXIT_CODES, ArboraGroup

_CODES = "\n".join(("Exit codes:", *(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())))

FLEET, WORK, RECORD, RUN, ACCESS = PANELS = ("Fleet", "Work", "What happened", "Run", "Access")


class _Root(ArboraGroup):
    """Lists its commands panel by panel; Typer would list groups after all others."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the help."""
        panels = {name: getattr(each, "rich_help_panel", "") for name, each in self.commands.items()}
        return sorted(
            panels, key=lambda name: PANELS.index(panels[name]) if panels[name] in PANELS else len(PANELS)
        )


app = typer.Typer(
    cls=_Root,
    name="arbora",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Arbora joins GPU clusters into one tree.",
    epilog="Example:\n  $ arbora members list\n\n" + _CODES,
)

app.add_typer(members.app, name="members", rich_help_panel=FLEET)
app.add_typer(gpus.app, name="gpus", rich_help_panel=FLEET)
apply.register(app, WORK)
app.add_typer(workloads.app, name="workloads", rich_help_panel=WORK)
simulate.register(app, WORK)
app.add_typer(token.app, name="token", rich_help_panel=WORK)
kubeconfig.register(app, ACCESS)
events.register(app, RECORD)
app.add_typer(hub.app, name="hub", rich_help_panel=RUN)
app.add_typer(agent.app, name="agent", rich_help_panel=RUN)
app.add_typer(gpu.app, name="gpu", rich_help_panel=RUN)
app.add_typer(join_token.app, name="join-token", rich_help_panel=ACCESS)
app.add_typer(access.app, name="access", rich_help_panel=ACCESS)
version.register(app, ACCESS)


@app.callback()
def arbora() -> None:
    """Arbora joins GPU clusters into one tree."""


def run() -> None:
    """Run the command line of this process; exits."""
    app(prog_name="arbora")


if __name__ == "__main__":
    run()
