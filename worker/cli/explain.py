"""``bulklink explain REASON``: what a word of a report means, and what to do."""

import json
from difflib import get_close_matches
from typing import Any

import click

from worker.cli.completing import words
from worker.cli.options import settings_options
from worker.cli.output import hand_over
from worker.cli.topics import AFTERWARDS, EXIT_CODES, STATES
from worker.errors import UsageError
from worker.reasons import HINTS, HINTS_OF_ROLLBACK, HINTS_OF_SYNC


def _known() -> dict[str, tuple[str, str]]:
    """Each word: what kind of word it is, and what there is to say."""
    known = {
        code: ("exit code", meaning) for codes, meaning in EXIT_CODES.items() for code in codes.split(", ")
    }
    states = {**STATES, **AFTERWARDS}
    known |= {state: ("state", f"{meaning}; see {file}") for state, (meaning, file) in states.items()}
    removals = {**HINTS_OF_ROLLBACK, **HINTS_OF_SYNC}
    of_removals = {word: f"{text[:1].upper()}{text[1:]}." for word, text in removals.items()}
    return known | {word: ("reason", text) for word, text in {**of_removals, **HINTS}.items()}


@click.command("explain")
@click.argument("word", metavar="[REASON]", required=False, shell_complete=words(sorted(_known())))
@settings_options("as_json", of="explain")
def command(word: str | None, **flags: Any) -> int:
    """Say what REASON means and what to do; without it, list all reasons.

    REASON is a word of a report or of the column _reason. A state of a row or of a link, or an exit code,
    will do, too.
    """
    known = _known()
    if word is not None and word not in known:
        close = get_close_matches(word, known, n=1)
        hint = f"did you mean {close[0]}?" if close else "'bulklink explain' lists all"
        raise UsageError(f"{word!r} is no reason, state or exit code; {hint}")
    chosen = [one for one, (kind, _) in known.items() if kind == "reason"] if word is None else [word]
    for one in sorted(chosen):
        kind, text = known[one]
        if flags["json"]:
            hand_over(json.dumps({"word": one, "kind": kind, "meaning": text.replace("`", "")}))
        else:
            hand_over((f"{one}: {text}" if kind == "reason" else f"{kind} {one}: {text}").replace("`", ""))
    return 0
