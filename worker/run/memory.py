"""What was learned of portals, kept beside the runs: the next one starts where the last one ended."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from worker.errors import OutputError
from worker.host import portal_name
from worker.limits.change import Learned
from worker.sinks import replaced

FOLDER = ".portals"
VERSION = 1

LONGEST = 30 * 86_400.0
"""Seconds after which what was learned is not believed any more: portals move, grow and get other limits."""

_MOST = {"rate": 1e6, "concurrency": 256, "batch_size": 200}
_WHOLE = {"concurrency", "batch_size"}


class Memory:
    """What is known of one portal.

    Each thing has the time at which it was learned, so that one that is learned again and again does not keep
    the others alive. A file that is damaged, or of another version, counts for nothing.

    Args:
        runs_dir: folder of the runs.
        portal: address of the portal.
    """

    def __init__(self, runs_dir: Path, portal: str) -> None:
        self.path = runs_dir / FOLDER / f"{portal_name(portal)}.json"

    def forget(self) -> None:
        """Begin as if nobody had been at the portal before.

        Raises:
            OutputError: the file cannot be removed.
        """
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{self.path}: {error.strerror}") from error

    def recall(self, now: float) -> tuple[Learned, str]:
        """What is known, and what is wrong with the file, if anything is; ``now`` in seconds since 1970."""
        try:
            known = self._read()
        except FileNotFoundError:
            return Learned(), ""
        except OSError as error:
            return Learned(), f"{self.path}: {error.strerror}; what was learned of this portal is not used"
        except ValueError:
            return Learned(), f"{self.path}: damaged; what was learned of this portal is not used"
        fresh = {name: value for name, (value, at) in known.items() if now - LONGEST <= at <= now + 86_400}
        return Learned(**fresh), ""

    def keep(self, learned: Learned, now: float) -> None:
        """Keep what is not None of it; the rest stays as it was. What cannot be written is not kept."""
        try:
            known = self._read()
        except (OSError, ValueError):
            known = {}
        known |= {name: (value, now) for name, value in asdict(learned).items() if value is not None}
        if not known:
            return
        said = {name: {"value": value, "at": at} for name, (value, at) in known.items()}
        try:
            self.path.parent.mkdir(mode=0o700, exist_ok=True)
            with replaced(self.path) as file:
                json.dump({"version": VERSION, **said}, file)
        except (OSError, OutputError):
            return  # a start from nothing costs a minute, and no row

    def _read(self) -> dict[str, tuple[Any, float]]:
        """What stands in the file, each with its time.

        Raises:
            OSError: it cannot be read, or is not there.
            ValueError: it is none of ours.
        """
        with os.fdopen(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK), encoding="utf-8") as file:
            said = json.load(file)
        if not isinstance(said, dict) or said.get("version") != VERSION:
            raise ValueError(said)
        return {
            field.name: _checked(field.name, said[field.name])
            for field in fields(Learned)
            if field.name in said
        }


def _checked(name: str, said: Any) -> tuple[Any, float]:
    """A value and its time.

    Raises:
        ValueError: they are none.
    """
    if not isinstance(said, Mapping):
        raise ValueError(said)  # noqa: TRY004 - of what was read
    value, at = _number(said.get("value")), _number(said.get("at"))
    if not 0 < value <= _MOST[name] or (name in _WHOLE and not isinstance(value, int)):
        raise ValueError(value)
    return value, at


def _number(said: Any) -> float:
    if isinstance(said, bool) or not isinstance(said, int | float) or not math.isfinite(said):
        raise ValueError(said)
    return said
