"""The standard streams as the caller left them: closed, full, or with nobody at the other end."""

import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import TextIO


def fill_gaps() -> None:
    """Open what the caller closed, as nothing: the next file opened, a ledger say, must not get its number.

    Standard input is opened for writing: to read from it stays an error.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_WRONLY)  # gets the lowest number that is free: this one


def escape_the_rest() -> None:
    """Show what standard output's encoding does not have as escapes, as standard error does by itself."""
    if isinstance(sys.stdout, TextIOWrapper):  # neither closed nor somebody's own
        sys.stdout.reconfigure(errors="backslashreplace")


def silence(stream: TextIO) -> None:
    """Write no more there: what is still buffered would fail once more at exit, and change the exit code."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def let_go() -> None:
    """Write out what is buffered; what cannot be written is dropped."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except OSError:
                with suppress(OSError):  # it has no descriptor
                    silence(stream)
