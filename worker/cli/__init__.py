"""The command ``bulklink``: a file per verb. Verbs are imported when called, so that --help is quick."""

import importlib
import sys
from pathlib import Path

import click

from worker import __version__

# The verbs in the order of their use; each is a module here with a click command of the same name.
VERBS = {
    "run": "Link every pair of a CSV or JSONL file.",
    "resume": "Go on with an interrupted run.",
    "check": "Read and judge an input, without a network.",
    "report": "Rebuild the files and the report of a run.",
    "runs": "List runs.",
    "simulate": "Serve the portal simulator.",
    "demo": "Simulator, sample input, run and report, without any set-up.",
    "bench": "Measure throughput and memory on this machine.",
}


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - named by click
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - same
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"worker.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - same
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.command(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="'bulklink VERB --help' tells a verb's options. Exit codes and files: see README.",
)
@click.version_option(__version__, prog_name="bulklink")
def bulklink() -> None:
    """Make (opportunity, contact) pairs links in an ONLYOFFICE CRM portal, losing nothing."""


def main() -> None:
    """Run the command; the one place where an error becomes a line and an exit code."""
    sys.exit(_main(sys.argv[1:]))


def _main(words: list[str]) -> int:
    from worker.errors import Exit, WorkerError  # noqa: PLC0415 - not needed for --help

    try:
        code = bulklink.main(words, prog_name="bulklink", standalone_mode=False)
    except click.exceptions.Abort:
        return Exit.SIGINT
    except click.ClickException as error:
        click.echo(f"bulklink: {error.format_message()}", err=True)
        return Exit.USAGE
    except WorkerError as error:
        click.echo(f"bulklink: {error}", err=True)
        return error.exit_code
    except KeyboardInterrupt:
        click.echo("bulklink: stopped at once; nothing is lost, see 'bulklink resume'", err=True)
        return Exit.SIGINT
    except BrokenPipeError:
        # Whoever read our output has left; there is nobody to tell.
        sys.stderr.close()
        return Exit.CRASH
    except Exception as error:  # noqa: BLE001 - the last resort: no traceback reaches a user
        return _crashed(error, verbose="-v" in words or "--verbose" in words)
    return int(code or 0)


def _crashed(error: Exception, *, verbose: bool) -> int:
    from worker.errors import Exit  # noqa: PLC0415 - not needed for --help

    click.echo(f"bulklink: internal error: {type(error).__name__}: {error}", err=True)
    if verbose:
        import traceback  # noqa: PLC0415 - only here

        log = Path("bulklink-crash.log")
        log.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        click.echo(f"bulklink: the traceback is in {log}", err=True)
    else:
        click.echo("bulklink: nothing recorded is lost; run again with -v for a traceback", err=True)
    return Exit.CRASH
