"""`python -m arbora`: the same as the `arbora` command."""

from arbora.cli.main import run

run()
