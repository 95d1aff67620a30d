"""Errors that end a command, each with its exit code. What only ends a pair is a value, not an error."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command. An unknown non-zero code means failure."""

    OK = 0
    CRASH = 1
    USAGE = 2
    REJECTED = 3
    TOO_MANY_ERRORS = 4
    RETRYABLE = 5
    PORTAL = 6
    LOCKED = 7
    DIFFERENCES = 8
    MAX_DURATION = 10
    SIGINT = 130
    SIGTERM = 143


def one_line(text: str) -> str:
    """The text as one line that moves nothing on a terminal: what cannot be seen is shown as an escape.

    It may quote a file's name or an answer of the portal, which hold whatever somebody put there.
    """
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


class WorkerError(Exception):
    """Root of all errors that reach a user; the message is one line that names the thing."""

    exit_code: Exit = Exit.CRASH

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class UsageError(WorkerError):
    """An option, a variable or a configuration file is wrong."""

    exit_code = Exit.USAGE


class InputError(WorkerError):
    """The input cannot be read at all; a bad row is never an error."""

    exit_code = Exit.USAGE


class TooFewRows(InputError):
    """The input has fewer rows than the user expects; nothing was sent."""

    def __init__(self, name: str, rows: int, least: int) -> None:
        there = "only 1 row" if rows == 1 else f"only {rows:,} rows" if rows else "no rows"
        super().__init__(f"{name}: {there}, expected are {least:,} or more (--min-rows); nothing was sent")


class LedgerError(WorkerError):
    """The ledger cannot be opened, read or written; without it nothing may be sent."""


class LedgerBlocked(LedgerError):
    """Something beside the ledger is in its way, such as a full disk; what is in it is sound.

    Args:
        what: is wrong, and what to do about it.
        go_on: the command to give then; empty if who raises does not know it.
    """

    def __init__(self, what: str, go_on: str = "") -> None:
        super().__init__(f"{what}, then: {go_on}" if go_on else what)
        self.what = what


class LedgerBusy(LedgerBlocked):
    """Another program has the ledger open, in a way that keeps us from writing."""


class NeverBegan(LedgerError):
    """The run was killed before its ledger said what it was about; it has sent nothing."""

    def __init__(self, ledger: object) -> None:
        super().__init__(f"{ledger}: killed before it began; nothing was sent, start it anew")


class OutputError(WorkerError):
    """A file of the run directory cannot be written; the ledger still holds all of it."""


class LockedError(WorkerError):
    """Another process works on the same run, or on the same input."""

    exit_code = Exit.LOCKED


class PortalError(WorkerError):
    """The portal says no to us, not to a pair: nothing later can succeed."""

    exit_code = Exit.PORTAL


class PortalRefused(PortalError):
    """The portal rejects our identity or our rights (contract 3.3, 3.4, 6)."""


class PortalClosed(PortalError):
    """The portal is suspended, unpaid, in maintenance, or does not let our address in (contract 3.4)."""


class WrongBaseUrl(PortalError):
    """Something answers at the address, but it is not the API of a portal (contract 1.4)."""


class CannotUndo(PortalError):
    """This portal would remove more than the link it is asked to (contract 4.4)."""


class NoBatches(PortalError):
    """Batches are wanted, and this portal takes none (contract 7.8)."""


class PortalUnreachable(PortalError):
    """Nothing answers at the address."""


class QueueError(WorkerError):
    """The broker says no, and will say it again: wrong credentials, no rights, no such queue."""

    exit_code = Exit.PORTAL

    def with_more(self, text: str) -> "QueueError":
        """The same, with what it means to whoever is told of it."""
        kind = QueueUnavailable if isinstance(self, QueueUnavailable) else QueueError
        return kind(f"{self}; {text}")


class QueueMissing(QueueError):
    """The broker is there, and has no such queue yet."""

    def __init__(self, shown: str, kind: str, name: str) -> None:
        super().__init__(f"{shown}: there is no {kind} {name}; 'bulklink publish' makes it")


class QueueUnavailable(QueueError):
    """The broker cannot be reached just now."""


class OutageError(WorkerError):
    """The portal itself has failed for too long; rows not tried yet are worth another run."""

    exit_code = Exit.RETRYABLE


class TooManyErrors(WorkerError):
    """More pairs failed than the user allows."""

    exit_code = Exit.TOO_MANY_ERRORS


class DurationReached(WorkerError):
    """The run has lasted as long as the user allows."""

    exit_code = Exit.MAX_DURATION


class StalePlan(WorkerError):
    """What was planned is not what there is now; nothing was sent because of it."""

    exit_code = Exit.DIFFERENCES


class StoppedError(WorkerError):
    """A signal ended the command at once, without the files it would have written."""

    def __init__(self, exit_code: Exit, go_on: str) -> None:
        super().__init__(f"stopped at once; nothing is lost, go on with: {go_on}")
        self.exit_code = exit_code
