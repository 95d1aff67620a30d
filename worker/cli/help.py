"""``bulklink help TOPIC``: what a user may want to look up without leaving the terminal."""

from difflib import get_close_matches

import click

from worker.cli.completing import words
from worker.cli.output import hand_over
from worker.cli.topics import TOPICS, topic
from worker.errors import UsageError

_WIDTH = 100


@click.command("help")
@click.argument("name", metavar="[TOPIC]", required=False, shell_complete=words(TOPICS))
@click.pass_context
def command(ctx: click.Context, name: str | None) -> int:
    """Tell about TOPIC: exit-codes, files, states, queues or environment; a verb's name shows its options."""
    from worker.cli import VERBS, bulklink  # noqa: PLC0415 - which imports this

    if name is None:
        hand_over((ctx.parent or ctx).get_help(), "", f"Topics of 'bulklink help TOPIC': {', '.join(TOPICS)}")
    elif name in VERBS:
        verb = bulklink.get_command(ctx, name)
        assert verb is not None  # noqa: S101 - it is one of the verbs
        with click.Context(verb, info_name=name, parent=ctx.parent) as own:
            hand_over(verb.get_help(own))
    elif name in TOPICS:
        hand_over(told(name))
    else:
        close = get_close_matches(name, [*TOPICS, *VERBS], n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(TOPICS)}"
        raise UsageError(f"{name!r} is no topic; {hint}")
    return 0


def told(name: str) -> str:
    """A topic as text, no wider than a terminal usually is."""
    terms, said = topic(name)
    formatter = click.HelpFormatter(width=_WIDTH)
    formatter.write_dl([(term, meaning.replace("`", "")) for term, meaning in terms], col_max=36)
    for paragraph in said:
        formatter.write_paragraph()
        formatter.write_text(paragraph)
    return formatter.getvalue().rstrip("\n")
