"""The commands that users are told to go on with, each as it can be typed where the last one was."""

from collections.abc import Mapping
from typing import Any

from worker.run.directory import RunDirectory
from worker.settings import Settings


def named(directory: RunDirectory, settings: Settings) -> str:
    """What a verb has to be told to find this run: its name, or its path if it is in another folder."""
    try:
        is_here = directory.path.resolve().parent == settings.runs_dir.resolve()
    except OSError:  # the folder we are in is gone
        is_here = True
    return directory.run_id if is_here else str(directory.path)


def mend_then(command: str) -> str:
    """What is said of a file that cannot be written, and that is made anew by that command alone."""
    return f"nothing is lost; mend that, then: {command}"


def go_on(directory: RunDirectory, settings: Settings, facts: Mapping[str, Any]) -> str:
    """The command that does what a run has left undone.

    Args:
        directory: the run.
        settings: of the command that speaks of it.
        facts: what the ledger says of its input, and which portal it is for.
    """
    if facts.get("input_kind") != "queue":
        return settings.command("resume", named(directory, settings))
    # A run of a queue is not gone on with: the broker hands out what it left, to any other.
    words = ["work"]
    if settings.queue_url is None:
        words.append(facts["input_path"])
    portal = facts.get("portal") or settings.portal
    if portal:
        words += ["--portal", portal]
    if settings.drain:
        words.append("--drain")
    return settings.command(*words)
