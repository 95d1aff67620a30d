"""``bulklink bench``: what bulklink does on this machine; a word after it measures something else than speed.

Each word is a module here with a click command ``command``, imported when it is called.
"""

import importlib
from difflib import get_close_matches

import click
from click.core import ParameterSource

WORDS: dict[str, str] = {}
"""What can be measured but speed: word and what it is."""


class _Words(click.Group):
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in WORDS:
            close = get_close_matches(args[0], WORDS, n=1)
            hint = f"did you mean {close[0]}?" if close else "'bulklink bench --help' lists what there is"
            raise click.UsageError(f"bench measures no {args[0]!r}; {hint}")
        given = [
            option.opts[0]
            for option in self.params
            if ctx.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        ]
        if given:
            raise click.UsageError(
                f"{given[0]} is for the bench without a word; {args[0]} has its own options"
            )
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - named by click
        return list(WORDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - same
        if cmd_name not in WORDS:
            return None
        command: click.Command = importlib.import_module(f"worker.cli.bench.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - same
        if WORDS:
            with formatter.section("Commands"):
                formatter.write_dl(list(WORDS.items()))


@click.group("bench", cls=_Words, invoke_without_command=True, subcommand_metavar="[WORD [OPTIONS]]")
@click.option(
    "--pairs",
    type=click.IntRange(100, 10_000_000),
    default=10_000,
    show_default=True,
    help="How many to link.",
)
@click.option(
    "--concurrency", type=click.IntRange(1, 256), default=8, show_default=True, help="Requests in flight."
)
@click.option(
    "--queue", metavar="URL", help="Also publish them on this queue and work it off; it must be empty."
)
@click.pass_context
def command(ctx: click.Context, pairs: int, concurrency: int, queue: str | None) -> int:
    """Link PAIRS pairs on a simulated portal without latency, in a process of its own, without a limit.

    Compare ratios, not figures: all contenders ran on the same machine, one after the other.
    """
    if ctx.invoked_subcommand is not None:
        return 0
    from worker.cli.bench.speed import measure_speed  # noqa: PLC0415 - not needed for a word

    return measure_speed(pairs, concurrency, queue)
