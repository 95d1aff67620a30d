"""``bulklink simulate``: a portal to try things on."""

import asyncio
import os
from contextlib import suppress

import click

from worker.cli.output import hand_over
from worker.errors import UsageError
from worker.simulator import Scenario, serve


@click.command("simulate")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8092, show_default=True, help="0 takes a free one."
)
@click.option(
    "--scenario", metavar="NAME|FILE", default="calm", show_default=True, help="Which faults to play."
)
@click.option("--list", "list_names", is_flag=True, help="List the built-in scenarios.")
def command(port: int, scenario: str, *, list_names: bool) -> int:
    """Serve a simulated portal on this machine until interrupted.

    What it holds and what it was asked is at /_books, /_books/links and /_books/posts.
    """
    if list_names:
        hand_over(*Scenario.names())
        return 0
    try:
        plan = Scenario.named(scenario) if scenario in Scenario.names() else Scenario.load(scenario)
    except FileNotFoundError:
        raise UsageError(f"--scenario: {scenario!r} is neither a file nor in --list") from None
    except OSError as error:
        raise UsageError(f"--scenario: {scenario}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"--scenario: {error}") from error
    with suppress(KeyboardInterrupt):
        try:
            asyncio.run(serve(plan, "127.0.0.1", port, lambda url: hand_over(f"listening on {url}")))
        except OSError as error:
            why = os.strerror(error.errno or 0).lower()  # asyncio puts an address and a number around it
            raise UsageError(f"--port {port}: cannot listen on 127.0.0.1: {why}") from error
    return 0
