"""Serve a portal as a process of its own: ``python -m worker.simulator``."""

import argparse
import asyncio
import signal
import sys
from contextlib import suppress
from pathlib import Path

from worker.simulator.scenario import Scenario
from worker.simulator.server import serve


def main() -> int:
    """Read the arguments, serve until SIGTERM or SIGINT, and leave with 0."""
    parser = argparse.ArgumentParser(prog="python -m worker.simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free port")
    parser.add_argument(
        "--scenario", default="calm", help=f"{', '.join(Scenario.names())}, or the path of a TOML file"
    )
    arguments = parser.parse_args()
    try:
        name = arguments.scenario
        scenario = Scenario.named(name) if name in Scenario.names() else Scenario.load(Path(name))
    except (OSError, ValueError) as error:
        parser.error(str(error))
    with suppress(asyncio.CancelledError):
        asyncio.run(_until_told(scenario, arguments.host, arguments.port))
    return 0


async def _until_told(scenario: Scenario, host: str, port: int) -> None:
    serving = asyncio.create_task(serve(scenario, host, port, _announce))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    await serving


def _announce(url: str) -> None:
    # Flushed: whoever started us reads this line from a pipe to learn the port.
    print(f"listening on {url}", flush=True)  # noqa: T201 - the one line this program says


if __name__ == "__main__":
    sys.exit(main())
