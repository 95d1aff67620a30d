"""The command ``bulklink``: a file per verb. Verbs are imported when called, so that --help is quick."""

import importlib
import re
import shlex
import sys
import traceback
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker import __version__
from worker.cli.asked import say_since_when
from worker.cli.streams import escape_the_rest, fill_gaps, let_go

if TYPE_CHECKING:
    from typing import Any

# The verbs in the order of their use; each is a module here with a click command of the same name.
VERBS = {
    "run": "Link every pair of a CSV or JSONL file or a workbook.",
    "plan": "Say what a run would do, from a look at the portal.",
    "resume": "Go on with an interrupted run.",
    "retry": "Try what a run has left once more, in a new one.",
    "sync": "Make the links of the opportunities in a file those of the file.",
    "verify": "Look for what a run says it linked.",
    "rollback": "Remove the links that a run made.",
    "work": "Link the pairs of a queue, until it is empty or for ever.",
    "publish": "Put the pairs of a CSV or JSONL file or a workbook on a queue.",
    "dead": "List what a queue gave up, or put it back.",
    "check": "Read and judge an input, without a network.",
    "report": "Rebuild the files and the report of a run.",
    "runs": "List runs.",
    "status": "Say how far a run is, also one at work.",
    "explain": "Say what a reason, a state or an exit code means.",
    "simulate": "Serve the portal simulator.",
    "demo": "Simulator, sample input, run and report, without any set-up.",
    "bench": "Measure throughput and memory on this machine.",
    "help": "Tell about exit codes, files, states, queues or variables.",
    "completion": "Make bash, zsh or fish complete the words of bulklink.",
}


_NEVER_FLAGS = {
    "--token": "the token is never a flag: set BULKLINK_TOKEN or BULKLINK_TOKEN_FILE",
    "--token-file": "the token's file is never a flag: set BULKLINK_TOKEN_FILE",
    "--username": "the user name is never a flag: set BULKLINK_USERNAME",
    "--password": "the password is never a flag: set BULKLINK_PASSWORD or BULKLINK_PASSWORD_FILE",
    "--password-file": "the password's file is never a flag: set BULKLINK_PASSWORD_FILE",
    "--queue-url": "the queue is no flag: write its URL after the verb, or set BULKLINK_QUEUE_URL",
}
"""What a command line must not hold, for all users of the machine can read it."""

_BEYOND = re.compile(r"Got unexpected extra arguments? \((.*)\)", re.DOTALL)
"""How click says that there are more words than a verb takes."""


class _Verbs(click.Group):
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        if word not in VERBS:
            close = get_close_matches(word, VERBS, n=1)
            hint = f"did you mean {close[0]}?" if close else "'bulklink --help' lists them"
            if not close and Path(word).is_file():
                hint = f"did you mean: bulklink run {shlex.quote(word)}"
            raise click.UsageError(f"{word!r} is no verb; {hint}")
        return super().resolve_command(ctx, args)

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
    epilog="'bulklink VERB --help' tells a verb's options, 'bulklink help exit-codes' what a code means.",
)
@click.version_option(__version__, prog_name="bulklink")
def bulklink() -> None:
    """Make (opportunity, contact) pairs links in an ONLYOFFICE CRM portal, losing nothing."""


def main() -> None:
    """Run the command; the one place where an error becomes a line and an exit code."""
    fill_gaps()
    escape_the_rest()
    say_since_when(sys.argv[1:])
    code = _main(sys.argv[1:])
    let_go()
    sys.exit(code)


def _main(words: list[str]) -> int:
    try:
        # The bare command is somebody who looks around, not a mistake.
        return int(bulklink.main(words or ["--help"], prog_name="bulklink", standalone_mode=False) or 0)
    except (Exception, KeyboardInterrupt, click.exceptions.Abort) as error:  # noqa: BLE001 - the last resort
        from worker.cli.output import complain  # noqa: PLC0415 - not needed for --help

        code, text = _explain(error)
        if {"-v", "--verbose"} & set(words):
            with suppress(OSError):
                traceback.print_exception(error)
    except SystemExit:
        # How click ends when a pipe broke. Verbs know themselves that a reader has left; help does not.
        if not words or {"-h", "--help", "--version"} & set(words):
            return 0
        raise
    complain(text)
    return code


def _explain(error: BaseException) -> tuple[int, str]:
    from worker.errors import Exit, WorkerError  # noqa: PLC0415 - not needed for --help

    if isinstance(error, WorkerError):
        return error.exit_code, str(error)
    if isinstance(error, click.NoSuchOption):
        return Exit.USAGE, _NEVER_FLAGS.get(error.option_name) or _no_such_option(error)
    if isinstance(error, click.ClickException):
        return Exit.USAGE, _usage(error)
    if isinstance(error, (KeyboardInterrupt, click.exceptions.Abort)):
        return Exit.SIGINT, "stopped at once; what was recorded is kept, see 'bulklink runs'"
    if isinstance(error, OSError):
        # Of a file that no stage has a better word for: a folder that went away, one of somebody else.
        where = f"{error.filename}: " if error.filename else ""
        return Exit.CRASH, f"{where}{error.strerror or type(error).__name__}"
    return Exit.CRASH, f"internal error: {type(error).__name__}: {error}; -v shows where"


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    see = f"; see '{context.command_path} --help'" if context is not None else ""
    if isinstance(error, click.BadParameter) and error.param is not None and context is not None:
        name = _name_of(error.param, context)
        if isinstance(error, click.MissingParameter):
            return f"{name} is missing{see}"
        return f"{name}: {_refusal(error.message, error.param.type)}"
    if isinstance(error, click.BadOptionUsage):
        takes_none = error.message.endswith("does not take a value.")
        return f"{error.option_name}: {'it takes no value' if takes_none else 'its value is missing'}"
    if beyond := _BEYOND.fullmatch(error.message):
        return f"{beyond[1]}: more than '{context.command_path if context else 'bulklink'}' takes{see}"
    return error.format_message()


def _name_of(param: click.Parameter, context: click.Context) -> str:
    return param.opts[0] if isinstance(param, click.Option) else param.make_metavar(context)


def _refusal(said: str, kind: "click.ParamType[Any]") -> str:
    """Why a value is none of a kind, in the words that the options of the settings have for it."""
    value = repr(said.partition(" is not ")[0].strip("'"))
    if isinstance(kind, click.IntRange):
        most = "on" if kind.max is None else f"to {kind.max}"
        return f"{value} is not a whole number from {kind.min} {most}"
    if isinstance(kind, click.Choice):
        *others, last = kind.choices
        return f"{value} is not {', '.join(others)} or {last}"
    return said.rstrip(".")


def _no_such_option(error: click.NoSuchOption) -> str:
    # Without the dashes, for these alone make any two short options alike.
    names = {one.lstrip("-"): one for one in error.possibilities or ()}
    known = [names[one] for one in get_close_matches(error.option_name.lstrip("-"), names, n=1)]
    verb = error.ctx.command_path if error.ctx and error.ctx.parent else None
    hint = f"did you mean {known[0]}?" if known else f"'{verb} --help' lists them"
    if verb is None and not known:
        hint = "an option comes after its verb"
    return f"{error.option_name}: no such option; {hint}"
