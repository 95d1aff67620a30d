"""What a live page is about, and where it is served. Plain values: nothing of a server comes with them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Door:
    """Where a live page is served; port 0 is any that is free.

    Attributes:
        token: that its buttons need; a new one if it is empty, that of the page before if this one follows
            on it.
    """

    host: str
    port: int
    token: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """What a live page is about, and where it is.

    Attributes:
        run_id: of the run.
        source: what the run reads.
        portal: where it links.
        door: where it is served.
    """

    run_id: str
    source: str
    portal: str
    door: Door
