"""Who looks at the live page: each has a box with what it has not been sent yet, of bounded size."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Box:
    """What one viewer is still to be sent: the newest text of each part, so a slow one never lags behind."""

    def __init__(self) -> None:
        self._parts: dict[str, str] = {}
        self._news = asyncio.Event()
        self._closed = False

    def put(self, parts: Mapping[str, str]) -> None:
        """Add parts; each takes the place of an older one of its name."""
        self._parts |= parts
        self._news.set()

    def close(self) -> None:
        """Nothing more comes."""
        self._closed = True
        self._news.set()

    async def take(self) -> dict[str, str] | None:
        """Wait for parts, and take them all; None when nothing more comes."""
        while not self._parts:
            if self._closed:
                return None
            self._news.clear()
            await self._news.wait()
        parts, self._parts = self._parts, {}
        return parts


class Viewers:
    """All of them; each is sent what has changed, and at first everything."""

    def __init__(self) -> None:
        self._boxes: set[Box] = set()
        self._shown: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._boxes)

    def show(self, parts: Mapping[str, str]) -> None:
        """Send the parts that have changed to everyone."""
        changed = {name: text for name, text in parts.items() if self._shown.get(name) != text}
        self._shown |= changed
        if changed:
            for box in self._boxes:
                box.put(changed)

    @contextmanager
    def one(self) -> Iterator[Box]:
        """A viewer, for as long as the block lasts; it begins with what was shown last."""
        box = Box()
        box.put(self._shown)
        self._boxes.add(box)
        try:
            yield box
        finally:
            self._boxes.discard(box)

    def close(self) -> None:
        """Nothing more comes for anyone."""
        for box in self._boxes:
            box.close()
