"""Who links which input: the same one at the same portal twice at once is a mistake, as a rule."""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from worker.host.held import hold, let_go, sweep


class Taken(Exception):  # noqa: N818 - it says what is so
    """Another process has claimed it.

    Attributes:
        by: what that process said of itself; empty if it cannot be read.
    """

    def __init__(self, by: dict[str, str]) -> None:
        super().__init__()
        self.by = by


class Claim:
    """Holds an input, until :meth:`release` or the end of this process."""

    def __init__(self, held: dict[Path, int]) -> None:
        self._held = held

    def release(self) -> None:
        """Let others have it; may be called twice."""
        while self._held:
            let_go(*self._held.popitem())


def claim(folder: Path, portal: str, path: Path, who: dict[str, str], *, anyway: bool = False) -> Claim:
    """Claim an input, known by where it is, and by what is in it.

    Args:
        folder: where processes meet.
        portal: address of the portal; at another one it is another claim.
        path: of the input; one that is no file is known by its path alone.
        who: what to tell others.
        anyway: what others have claimed is not claimed, and no obstacle.

    Raises:
        Taken: another process has.
        OSError: the folder cannot be used.
    """
    held: dict[Path, int] = {}
    sweep(folder, "input-*")
    try:
        for key in _keys(path):
            name = hashlib.sha256(f"{portal}\0{key}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
            place = folder / f"input-{name}"
            handle = _hold(place, anyway=anyway)
            if handle is not None:
                held[place] = handle
                os.ftruncate(handle, 0)
                os.pwrite(handle, json.dumps(who).encode(), 0)
    except BaseException:
        Claim(held).release()
        raise
    return Claim(held)


def _hold(place: Path, *, anyway: bool) -> int | None:
    held = hold(place, alone=True)
    if held is None and not anyway:
        raise Taken(_said(place))
    return held and held[0]


def _keys(path: Path) -> list[str]:
    keys = [f"path {path.resolve()}"]
    with suppress(OSError):
        if path.is_file():  # to open a pipe would wait for who writes to it
            with path.open("rb") as file:
                keys.append(f"content {hashlib.file_digest(file, 'sha256').hexdigest()}")
    return keys


def _said(place: Path) -> dict[str, str]:
    with suppress(OSError, ValueError):
        said = json.loads(place.read_bytes())
        if isinstance(said, dict):
            return {str(key): str(value) for key, value in said.items()}
    return {}
