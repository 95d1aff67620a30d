"""Ways to damage the files of a ledger."""

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.crash.torn_sample import Sample
from worker.ledger.schema import PAGE_SIZE

DB, WAL, SHM = "ledger.db", "ledger.db-wal", "ledger.db-shm"
WAL_HEADER, FRAME_HEADER, PAGE = 32, 24, PAGE_SIZE
FRAME = FRAME_HEADER + PAGE

Damage = Callable[[Path], None]


def cut(name: str, at: int) -> Damage:
    return lambda run: os.truncate(run / name, at)


def overwritten(name: str, at: int, text: bytes) -> Damage:
    def damage(run: Path) -> None:
        with (run / name).open("r+b") as file:
            file.seek(at)
            file.write(text)

    return damage


def replaced(name: str, text: bytes | None) -> Damage:
    """The file becomes another; without ``text`` it becomes a folder."""

    def damage(run: Path) -> None:
        (run / name).unlink()
        (run / name).mkdir() if text is None else (run / name).write_bytes(text)

    return damage


def gone(*names: str) -> Damage:
    def damage(run: Path) -> None:
        for name in names:
            (run / name).unlink()

    return damage


def named_damages(sample: Sample) -> dict[str, Damage]:
    """The ways that have a name; those of the WAL only if there is one."""
    size = (sample.run / DB).stat().st_size
    found: dict[str, Damage] = {
        "nothing": lambda _: None,
        "db a folder": replaced(DB, None),
        "db text": replaced(DB, b"opportunity_id,contact_id\n" * 1000),
        "db gone": gone(DB),
    }
    found |= {f"db cut at {at}": cut(DB, at) for at in (0, 1, 50, 100, 4095, size // 2, size - 1)}
    for at in (0, 16, 18, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64, 92, 96):
        found[f"db header at {at} garbled"] = overwritten(DB, at, b"\x5a\xa5\x01\xff")
    if not (sample.run / WAL).exists():
        return found
    found |= {
        "wal gone": gone(WAL),
        "shm gone": gone(SHM),
        "wal and shm gone": gone(WAL, SHM),
        "shm empty": cut(SHM, 0),
        "shm short": cut(SHM, 100),
        "shm a folder": replaced(SHM, None),
        "wal a folder": replaced(WAL, None),
        "wal text": replaced(WAL, b"lorem ipsum\n" * 1000),
    }
    found |= {f"shm at {at} garbled": overwritten(SHM, at, b"\xa5" * 64) for at in (0, 48, 96, 136)}
    found |= {f"wal cut at {at}": cut(WAL, at) for at in (0, 10, 31, 32, 40, 56, 100)}
    for at in (0, 4, 8, 12, 16, 24, 28):
        found[f"wal header at {at} garbled"] = overwritten(WAL, at, b"\x5a\xa5\x01\xff")
    return found


def drawn_damage(sample: Sample, name: str, rng: Random) -> tuple[str, Damage]:
    """One of the many ways that have only an offset: in the WAL, or in ``ledger.db``."""
    content = (sample.run / name).read_bytes()
    if name == WAL:
        start = WAL_HEADER + FRAME * rng.randrange((len(content) - WAL_HEADER) // FRAME)
        at = start + rng.choice([rng.randrange(FRAME_HEADER), rng.randrange(FRAME)])
        short = start + rng.choice([0, 0, 0, 12, 24, 2000])
    else:
        # Most pages are full of Contacts, which are the least of our troubles; and most that happens to a
        # page happens at its beginning or in its cells, which fill it from the end.
        pages = [
            p for p in range(0, len(content), PAGE) if rng.random() < 0.1 or _plain(content[p : p + PAGE])
        ]
        start = rng.choice(pages)
        at = start + rng.choice([rng.randrange(100), rng.randrange(PAGE)])
        short = rng.choice([start, at])
    length = rng.choice([1, 2, 8, 32, 128, 512])
    match rng.choice(["cut", "garbage", "garbage", "flip", "flip", "zeros", "moved"]):
        case "cut":
            return f"{name} cut at {short}", cut(name, short)
        case "garbage":
            return f"{name} at {at}: {length} bytes of garbage", overwritten(name, at, rng.randbytes(length))
        case "flip":
            bit = 1 << rng.randrange(8)
            return f"{name} at {at}: byte ^ {bit}", overwritten(name, at, bytes([content[at] ^ bit]))
        case "zeros":
            sector = at // 512 * 512
            return f"{name} at {sector}: 512 zeros", overwritten(name, sector, bytes(512))
        case _:
            other = start + PAGE * rng.choice([-2, -1, 1, 2])
            return f"{name} at {start}: what is at {other}", overwritten(
                name, start, content[other : other + PAGE]
            )


def _plain(page: bytes) -> bool:
    return b"firstName" not in page and b"displayName" not in page
