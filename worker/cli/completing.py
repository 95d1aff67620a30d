"""What the shell can complete: runs, files, and the values of options that take one of a few."""

from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import click

    Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_FILES = {"FILE": "file", "DIR": "dir"}


def files(_context: "click.Context", _param: "click.Parameter", _begun: str) -> list[CompletionItem]:
    """The shell's own completion of files."""
    return [CompletionItem("", type="file")]


def runs(context: "click.Context", _param: "click.Parameter", begun: str) -> list[CompletionItem]:
    """The runs in the runs folder, the latest first."""
    from worker.errors import WorkerError  # noqa: PLC0415 - not needed to parse a command
    from worker.run.directory import list_runs  # noqa: PLC0415 - same
    from worker.settings import load_settings  # noqa: PLC0415 - same

    flags = {"runs_dir": context.params.get("runs_dir"), "config": context.params.get("config")}
    try:
        found = list_runs(load_settings(flags).runs_dir)
    except WorkerError:
        return []  # pressing a key is no place to be told what is wrong with a setting
    return [CompletionItem(run.run_id) for run in reversed(found) if run.run_id.startswith(begun)]


def words(known: "Iterable[str]") -> "Completer":
    """One of a few words."""

    def complete(_context: "click.Context", _param: "click.Parameter", begun: str) -> list[CompletionItem]:
        return [CompletionItem(word) for word in known if word.startswith(begun)]

    return complete


def value_of(metavar: str) -> "Completer | None":
    """What an option with this metavar takes; None if only the user knows."""
    if metavar in _FILES:
        kind = _FILES[metavar]
        return lambda _context, _param, _begun: [CompletionItem("", type=kind)]
    if "|" in metavar:
        # What stands in capitals is a value of the user's own.
        return words([word for word in metavar.split("|") if not word.isupper()])
    return None
