"""`python -m arbora`, and the `arbora` command."""

import sys


def main() -> None:
    """Run the command line of this process; exits."""
    if sys.argv[1:2] == ["credential-plugin"] and not {"-h", "--help"} & set(sys.argv[2:]):
        # A client of Kubernetes waits for it: what reads other commands' options would take longer than it does.
        from arbora.cli.credential_plugin import main as plugin

        sys.exit(plugin(sys.argv[2:]))
    from arbora.cli.main import run

    run()


if __name__ == "__main__":
    main()
