"""Does a run agree with itself: its rows with each other, and its files with its ledger?"""

import filecmp
import tempfile
from pathlib import Path

from worker.errors import OutputError
from worker.ledger import LedgerReader, audit
from worker.run.directory import RunDirectory
from worker.run.finish import WRITTEN, write_files
from worker.sinks import CHECK_PREFIX


def audit_run(directory: RunDirectory) -> list[str]:
    """What is wrong, a line each, beginning with the name of the file; empty if all is well.

    Every file is made again from the ledger, beside the run, and compared byte by byte.

    Raises:
        LedgerError: the ledger cannot be read.
        OutputError: there is no room to make the files again.
    """
    with LedgerReader(directory.ledger) as reader:
        faults = audit(reader)
    if faults:
        # Files of a ledger that contradicts itself would prove nothing.
        return [f"{directory.ledger.name}: {fault}" for fault in faults]
    found = []
    try:
        room = tempfile.TemporaryDirectory(prefix=CHECK_PREFIX, dir=directory.path)
    except OSError as error:
        raise OutputError(f"{directory.path}: {error.strerror}") from error
    with room as folder:
        write_files(directory, into=Path(folder))
        for name in WRITTEN:
            ours, theirs = Path(folder) / name, directory.path / name
            if not theirs.is_file():
                found.append(f"{name}: is missing")
            elif not filecmp.cmp(ours, theirs, shallow=False):
                found.append(f"{name}: is not what the ledger says{_lines(ours, theirs)}")
    return found


def _lines(ours: Path, theirs: Path) -> str:
    should, has = (sum(1 for _ in path.open("rb")) for path in (ours, theirs))
    return f" ({has:,} lines, should be {should:,})" if has != should else ""
