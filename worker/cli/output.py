"""All that a verb prints.

What it was asked for goes to standard output, so that it can be piped; notes, progress and errors go to
standard error. Whatever the text quotes, a file's name or an answer of the portal, it comes as one line and
moves nothing on the terminal.
"""

import codecs
import sys
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from worker.cli.streams import silence
from worker.errors import OutputError, one_line
from worker.json_text import in_ascii
from worker.settings import Settings

_AT_ONCE = 1000
_ERASE = "\r\x1b[K"

_unfinished: list[object] = []
"""The stream on which a line was drawn that has no end yet; none if there is none."""


def say(settings: Settings, *lines: str) -> None:
    """Lines for people, on standard error; nothing with --quiet, or when their terminal is gone."""
    if not settings.quiet:
        _tell(lines)


def complain(text: str) -> None:
    """Say what is wrong, on standard error; also with --quiet."""
    _tell((f"bulklink: {text}",))


def draw(text: str) -> None:
    """Write to the terminal as it stands, on standard error; nothing if it is gone."""
    if sys.stderr is None or not text:
        return
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
        _unfinished[:] = [] if text.endswith("\n") else [sys.stderr]
    except OSError:
        silence(sys.stderr)


def hand_over(*lines: str, kept: str = "") -> None:
    """Print what was asked for on standard output; that its reader has left is no failure of ours.

    Args:
        lines: without their ends.
        kept: the file that has the same.

    Raises:
        OutputError: it cannot be written, and not because nobody reads on.
    """
    if sys.stdout is None:
        return
    try:
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
    except BrokenPipeError:
        silence(sys.stdout)
    except OSError as error:
        silence(sys.stdout)
        more = f"; {kept} has the same" if kept else ""
        raise OutputError(f"standard output: {error.strerror}{more}") from error


def hand_over_json(text: str, *, kept: str = "") -> None:
    """Print JSON on standard output; in ASCII where that is not UTF-8, which a reader of JSON expects.

    Args:
        text: of the JSON.
        kept: the file that has the same.

    Raises:
        OutputError: it cannot be written, and not because nobody reads on.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    hand_over((text if codecs.lookup(encoding).name == "utf-8" else in_ascii(text)).rstrip("\n"), kept=kept)


def pour(lines: Iterable[str]) -> None:
    """Print a result of any length on standard output, some lines at a time.

    Raises:
        OutputError: it cannot be written, and not because nobody reads on.
    """
    rest = iter(lines)
    while some := tuple(islice(rest, _AT_ONCE)):
        hand_over(*some)


def answer(settings: Settings, lines: list[str], as_json: str, *, kept: str = "") -> None:
    """Print a result: the lines on standard output, or with --json that, and the lines for people.

    Args:
        settings: all options.
        lines: the result in words; none with --quiet.
        as_json: the same for scripts.
        kept: the file that has the same.
    """
    if settings.as_json:
        say(settings, *lines)
        hand_over_json(as_json, kept=kept)
    elif not settings.quiet:
        hand_over(*map(one_line, lines), kept=kept)


def shown(path: Path) -> str:
    """The path as it is typed from here, if it is below."""
    try:
        here = Path.cwd()
    except OSError:  # removed while we were at work
        return str(path)
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _tell(lines: tuple[str, ...]) -> None:
    # A line of progress that stands there is drawn again below, if the work goes on.
    begin = _ERASE if any(stream is sys.stderr for stream in _unfinished) and lines else ""
    draw(begin + "".join(f"{one_line(line)}\n" for line in lines))
