"""What an error of SQLite, or a fault found in a ledger, means to a user, and what helps."""

import sqlite3
from pathlib import Path

from worker.errors import LedgerBlocked, LedgerBusy, LedgerError, one_line

_PRIMARY = 0xFF
"""SQLite's extended error codes have the plain one in their low byte."""


def trouble(path: Path, error: Exception) -> LedgerError:
    """What to say of an error, of SQLite as a rule."""
    text = one_line(str(error)[:200])  # it may quote what it found
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_ROLLBACK:
        killed = "whoever wrote it was killed, and it can only be put right where it may be written"
        return LedgerError(f"{path}: {killed}; nothing is lost")
    match getattr(error, "sqlite_errorcode", 0) & _PRIMARY:
        case sqlite3.SQLITE_FULL:
            return disk_full(path)
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return LedgerBusy(
                f"{path}: another program has it open ({text}); nothing is lost; close that program"
            )
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return damaged(path, text)
    return LedgerError(f"{path}: {text}")


def damaged(path: Path, what: str) -> LedgerError:
    """What to say of a ledger that cannot be believed."""
    return LedgerError(f"{path}: the ledger is damaged: {what}; the CSV files beside it are as last written")


def disk_full(path: Path) -> LedgerBlocked:
    """What to say of a ledger that cannot grow."""
    return LedgerBlocked(f"{path}: the disk is full; all done so far is kept; make room")
