"""Run directories: their names, their files, and finding one again."""

import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from worker.errors import LedgerError, LockedError, NeverBegan, UsageError
from worker.ledger import LedgerReader, RunLock, run_lock

_FIRST_FILES = {"ledger.db", "ledger.db-journal", "ledger.db-wal", "ledger.db-shm", "run.log"}
"""What a run has before it begins."""

CONDEMNED = ".removed-"
"""How the name of a folder begins that is being removed: what is left of it after a kill is no run."""


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The folder of one run. Only its owner may look into it: it holds people's names and addresses."""

    path: Path

    @property
    def run_id(self) -> str:
        """The run's name."""
        return self.path.name

    @property
    def ledger(self) -> Path:
        """The ledger's file."""
        return self.path / "ledger.db"

    @property
    def log(self) -> Path:
        """The log's file."""
        return self.path / "run.log"

    @classmethod
    def create(cls, runs_dir: Path, run_id: str | None) -> "RunDirectory":
        """Make a new one; without ``run_id`` its name tells the time, and sorts by it.

        What a run that never began left under that name is no obstacle.

        Raises:
            UsageError: the name is taken, or the folder cannot be made.
        """
        name = run_id or f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        path = runs_dir / name
        try:
            runs_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{runs_dir}: {error.strerror}") from error
        try:
            path.mkdir(mode=0o700)
        except FileExistsError as error:
            if not cls(path).clear():
                raise UsageError(
                    f"{path}: there is such a run already; choose another --run-id, or resume it"
                ) from error
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from error
        return cls(path)

    def clear(self) -> bool:
        """Make it as new, if nobody works on it and all there is are traces of a run that never began.

        So has a plan that was never done: it has only read, and cannot be gone on with.
        """
        try:
            with run_lock(self.path):
                if not {path.name for path in self.path.iterdir()} <= _FIRST_FILES:
                    return False
                if self.ledger.exists():
                    with suppress(NeverBegan), LedgerReader(self.ledger) as reader:
                        facts = reader.facts()
                        if "plans" not in facts or "planned" in facts:
                            return False
                for name in _FIRST_FILES:
                    (self.path / name).unlink(missing_ok=True)
                return True
        except (OSError, LockedError, LedgerError):
            return False

    def discard(self) -> None:
        """Remove a run that ended before it had a single row."""
        shutil.rmtree(self.path, ignore_errors=True)


def new_run(runs_dir: Path, run_id: str | None) -> tuple[RunDirectory, RunLock]:
    """Make the directory of a new run, see :meth:`RunDirectory.create`, and hold its lock.

    Raises:
        UsageError: the name is taken, or the folder cannot be made.
        LedgerError: it cannot be locked.
        LockedError: another process took the same name at the same moment, and was quicker.
    """
    directory = RunDirectory.create(runs_dir, run_id)
    try:
        lock = run_lock(directory.path)
    except LedgerError:
        directory.discard()
        raise
    if directory.ledger.exists():
        lock.release()
        raise LockedError(f"run {directory.run_id} is being worked on by another process")
    return directory, lock


def list_runs(runs_dir: Path) -> list[RunDirectory]:
    """All runs with a ledger, oldest first; none if there is no such folder.

    Raises:
        UsageError: the folder cannot be looked into.
    """
    try:
        there = [path for path in runs_dir.iterdir() if not path.name.startswith(CONDEMNED)]
        found = [RunDirectory(path) for path in there if _has_ledger(path)]
    except FileNotFoundError:
        found = []
    except OSError as error:
        raise UsageError(f"{runs_dir}: {error.strerror}") from error
    return sorted(found, key=lambda run: (_started(run), run.run_id))


def find_run(runs_dir: Path, name: str | None) -> RunDirectory:
    """A run by its name or its path; without a name the latest.

    Raises:
        UsageError: there is none, or the folder cannot be looked into.
    """
    if name is None:
        runs = list_runs(runs_dir)
        if not runs:
            raise UsageError(f"{runs_dir}: no runs here")
        return runs[-1]
    for path in (runs_dir / name, Path(name)):
        if _has_ledger(path):
            return RunDirectory(path.resolve())
    raise UsageError(f"{name}: no such run in {runs_dir}")


def _has_ledger(path: Path) -> bool:
    """Also if only its owner may look: whoever asks for it then hears that, and not that there is none."""
    try:
        return (path / "ledger.db").is_file()
    except PermissionError:
        return True


def _started(run: RunDirectory) -> float:
    try:
        with LedgerReader(run.ledger) as reader:
            sessions = reader.sessions()
    except LedgerError:
        # Listed first rather than hidden; whoever asks for it by name hears what is wrong.
        return 0.0
    return sessions[0][0] if sessions else 0.0
