"""``bulklink completion SHELL``: what makes a shell complete verbs, options, runs and values."""

import click
from click.shell_completion import get_completion_class

from worker.cli.completing import words
from worker.cli.grouped import GroupedCommand
from worker.cli.output import hand_over

_SHELLS = ("bash", "zsh", "fish")

_VARIABLE = "_BULKLINK_COMPLETE"

_EXAMPLES = (
    ("""echo 'eval "$(bulklink completion bash)"' >> ~/.bashrc""", "For bash, in each new shell."),
    ("""echo 'eval "$(bulklink completion zsh)"' >> ~/.zshrc""", "The same for zsh."),
    ("bulklink completion fish > ~/.config/fish/completions/bulklink.fish", "The same for fish."),
)


@click.command("completion", cls=GroupedCommand, examples=_EXAMPLES)
@click.argument("shell", metavar="SHELL", type=click.Choice(_SHELLS), shell_complete=words(_SHELLS))
def command(shell: str) -> int:
    """Print what makes SHELL complete the words of bulklink: verbs, options, their values, runs and files.

    SHELL is bash, zsh or fish.
    """
    from worker.cli import bulklink  # noqa: PLC0415 - which imports this

    made = get_completion_class(shell)
    assert made is not None  # noqa: S101 - click has all three
    completing = made(bulklink, {}, "bulklink", _VARIABLE)
    hand_over((completing.source_template % completing.source_vars()).strip())
    return 0
