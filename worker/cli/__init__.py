"""The command ``bulklink``: a file per verb. Verbs are imported when called, so that --help is quick."""

import importlib
import sys
import traceback
from contextlib import suppress

import click

from worker import __version__

# The verbs in the order of their use; each is a module here with a click command of the same name.
VERBS = {
    "run": "Link every pair of a CSV or JSONL file.",
    "resume": "Go on with an interrupted run.",
    "retry": "Try what a run has left once more, in a new one.",
    "verify": "Look for what a run says it linked.",
    "rollback": "Remove the links that a run made.",
    "work": "Link the pairs of a queue, until it is empty or for ever.",
    "publish": "Put the pairs of a CSV or JSONL file on a queue.",
    "dead": "List what a queue gave up, or put it back.",
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
    try:
        return int(bulklink.main(words, prog_name="bulklink", standalone_mode=False) or 0)
    except (Exception, KeyboardInterrupt, click.exceptions.Abort) as error:  # noqa: BLE001 - the last resort
        code, text = _explain(error)
        if {"-v", "--verbose"} & set(words):
            traceback.print_exception(error)
    # Whoever read our output may have left; then there is nobody to tell.
    with suppress(OSError):
        click.echo(f"bulklink: {text}", err=True)
    return code


def _explain(error: BaseException) -> tuple[int, str]:
    from worker.errors import Exit, WorkerError  # noqa: PLC0415 - not needed for --help

    if isinstance(error, WorkerError):
        return error.exit_code, str(error)
    if isinstance(error, click.ClickException):
        return Exit.USAGE, error.format_message()
    if isinstance(error, (KeyboardInterrupt, click.exceptions.Abort)):
        return Exit.SIGINT, "stopped at once; what was recorded is kept, see 'bulklink runs'"
    if isinstance(error, BrokenPipeError):
        return Exit.CRASH, "nobody reads the output any more"
    return Exit.CRASH, f"internal error: {type(error).__name__}: {error}; -v shows where"
