"""Where processes of one user meet: a folder that is the same for all of them, and names in it."""

import hashlib
import os
import re
import stat
from pathlib import Path
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}
_ODD = re.compile(r"[^a-z0-9.]+")


def common_folder(parent: Path = Path("/tmp")) -> Path:  # noqa: S108 - made and looked at below
    """The folder of this user, made if it is not there.

    It does not go by ``TMPDIR`` or ``XDG_RUNTIME_DIR``: a job of cron and a shell have others, and would not
    meet. All that is in it is of use only while somebody holds it, so it may be emptied at any time.

    Args:
        parent: where it is; a folder in which anybody may make one.

    Raises:
        OSError: it cannot be made, or is somebody else's.
    """
    path = parent / f"bulklink-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(0, "is not a folder that only this user can write to", str(path))
    return path


def portal_name(url: str) -> str:
    """A name for files about a portal, the same for all paths of one server."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    server = f"{host}:{parts.port or _PORTS.get(parts.scheme, 0)}"
    digest = hashlib.sha256(server.encode()).hexdigest()[:8]
    return f"{_ODD.sub('-', server)[:80]}-{digest}"
