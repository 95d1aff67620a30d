"""The yardstick of ``bulklink bench``: post every pair with aiohttp and keep nothing.

No limit, no retry, no ledger, no report: the fastest that this machine can ask this portal in Python.
"""

import asyncio
import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp

HEADERS = {"Authorization": "demo-token", "Accept-Encoding": "identity"}


async def _post(url: str, pairs: Iterator[list[str]], concurrency: int) -> None:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=concurrency), headers=HEADERS
    ) as session:

        async def lane() -> None:
            for opportunity, contact in pairs:
                path = f"{url}/api/2.0/crm/opportunity/{opportunity}/contact/{contact}"
                async with session.post(path) as answer:
                    await answer.read()

        await asyncio.gather(*(lane() for _ in range(concurrency)))


def main(url: str, path: str, concurrency: str) -> None:
    """Post the pairs of a CSV file with a header."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        pairs = csv.reader(file)
        next(pairs)
        asyncio.run(_post(url, pairs, int(concurrency)))


if __name__ == "__main__":
    main(*sys.argv[1:])
