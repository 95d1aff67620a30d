"""run.log: one JSON object a line, for machines. Failures and a heartbeat, not a line per success."""

import errno
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import structlog
from structlog.typing import FilteringBoundLogger

from worker.errors import OutputError, UsageError
from worker.models import Outcome, Result, Status
from worker.removals import Undo, Undoing

STANDARD_ERROR = Path("-")

_DEBUG, _INFO = 10, 20

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK
"""A pipe without a reader is an error, and a full one loses lines: either would hold up run and signals."""


def _standard_error() -> int:
    if sys.stderr is None:  # closed by whoever started us
        return os.open(os.devnull, os.O_WRONLY)
    return os.dup(sys.stderr.fileno())


@contextmanager
def open_log(
    path: Path, *, verbose: bool, largest: int | None = None, **bound: Any
) -> Iterator[FilteringBoundLogger]:
    """A logger that appends to ``path``, with ``bound`` in each line; only the owner may read the file.

    Args:
        path: of the file; ``-`` is standard error. ``run.log`` has a ``largest``, a user's choice has none.
        verbose: each attempt, too.
        largest: bytes beyond which the file is moved to one whose name ends in ``.1``, in the place of an
            older one, and begun anew; None for no limit.
        bound: fields of every line.

    Raises:
        OutputError: the run's own file cannot be opened.
        UsageError: one that the user chose cannot be opened, or is a pipe that nobody reads.
    """
    try:
        handle = _standard_error() if path == STANDARD_ERROR else os.open(path, _FLAGS, 0o600)
    except OSError as error:
        # Only a pipe without a reader says so.
        why = "a pipe that nobody reads" if error.errno == errno.ENXIO else error.strerror
        if largest is None:
            raise UsageError(f"--log-file {path}: {why}") from error
        raise OutputError(f"{path}: {why}") from error
    with _Lenient(io.FileIO(handle, "ab"), path, largest) as file:
        yield structlog.wrap_logger(
            structlog.BytesLogger(file),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(serializer=_dumps),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(_DEBUG if verbose else _INFO),
            **bound,
        )


class _Lenient(io.BufferedWriter):
    """A file that swallows what it cannot write: a full disk stops a run by its ledger, not by its log."""

    def __init__(self, raw: io.FileIO, path: Path, largest: int | None) -> None:
        super().__init__(raw)
        self._path = path
        self._largest = largest
        self._written = 0 if largest is None else os.fstat(raw.fileno()).st_size

    def write(self, data: Any) -> int:
        with suppress(OSError):
            if self._largest is not None and self._written + len(data) > self._largest:
                self._begin_anew()
            self._written += len(data)
            return super().write(data)
        return 0

    def _begin_anew(self) -> None:
        self._written = 0  # also if it fails: to try again at each line would help nobody
        super().flush()
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        handle = os.open(self._path, _FLAGS, 0o600)
        os.dup2(handle, self.fileno())
        os.close(handle)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


_OK = Result.OK
_GOOD = (Status.LINKED, Status.ALREADY_LINKED)


def log_outcome(log: FilteringBoundLogger, outcome: Outcome) -> None:
    """Note a pair that did not end well, and under it, if verbose, each attempt that failed."""
    pair = outcome.pair
    for number, attempt in enumerate(outcome.attempts, 1):
        if attempt.result is not _OK:
            log.debug(
                "attempt.failed",
                row=pair.row,
                number=number,
                result=attempt.result,
                reason=attempt.reason,
                http_status=attempt.http_status,
                seconds=round(attempt.seconds, 4),
            )
    if outcome.status not in _GOOD:
        log.warning(
            "pair.failed",
            row=pair.row,
            line=pair.line,
            opportunity_id=pair.opportunity_id,
            contact_id=pair.contact_id,
            status=outcome.status,
            reason=outcome.reason,
            http_status=outcome.http_status,
            attempts=len(outcome.attempts),
        )


def log_what_is_left(log: FilteringBoundLogger, settled: Sequence[Undoing]) -> None:
    """Note links that a rollback leaves."""
    for one in settled:
        if one.state in {Undo.KEPT, Undo.FAILED}:
            log.warning("link.left", row=one.row, state=one.state, reason=one.reason)


def _dumps(value: Any, **_: Any) -> bytes:
    return orjson.dumps(value, default=str)
