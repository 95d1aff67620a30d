"""``bulklink bench``: what bulklink does on this machine; a word after it measures something else than speed.

Each word is a module here with a click command ``command``, imported when it is called.
"""

import importlib
import json
from difflib import get_close_matches

import click
from click.core import ParameterSource

from worker.cli.output import draw, hand_over

WORDS = {
    "limits": "Show what is learned of portals of all kinds, beside fixed settings, in virtual time.",
    "size": "Measure a large input: memory, first request, resume, files at the end.",
    "viewers": "Measure what people who look at the live page take from the run.",
}
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
            raise click.UsageError(f"{given[0]} is for the bench without a word, not for {args[0]}")
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - named by click
        return list(WORDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - same
        if cmd_name not in WORDS:
            return None
        command: click.Command = importlib.import_module(f"worker.cli.bench.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - same
        with formatter.section("Commands"):
            formatter.write_dl(list(WORDS.items()))


@click.group("bench", cls=_Words, invoke_without_command=True, subcommand_metavar="[WORD [OPTIONS]]")
@click.option(
    "--pairs",
    type=click.IntRange(200, 1_000_000),
    default=10_000,
    show_default=True,
    help="How many to link one by one; by batch it is five times as many.",
)
@click.option(
    "--concurrency", type=click.IntRange(1, 256), default=8, show_default=True, help="Requests in flight."
)
@click.option(
    "--queue", metavar="URL", help="Also publish them on this queue and work it off; it must be empty."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def command(ctx: click.Context, pairs: int, concurrency: int, queue: str | None, *, as_json: bool) -> int:
    """Link pairs at a stub of a portal that does nothing but answer fast, one contender after the other.

    The contenders are a bare aiohttp loop that keeps nothing, curl, and bulklink, one by one and by batch.
    Each gets a few pairs first; without what these took is without start and end. Compare the ratios: all ran
    on the same machine. It takes about a minute; with a word it measures something else.
    """
    if ctx.invoked_subcommand is not None:
        return 0
    from worker.cli.bench.speed import measure_speed, table  # noqa: PLC0415 - not needed for a word

    result = measure_speed(pairs, concurrency, queue, lambda text: draw(f"{text}\n"))
    hand_over(json.dumps(result, indent=2)) if as_json else hand_over(*table(result))
    return 0
