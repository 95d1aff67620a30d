"""Who looks at the live page: each has a box with what it has not been sent yet, of bounded size.

What all are sent is written once, however many they are; only one that lags behind gets a text of its own.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

Written = Callable[[Mapping[str, str]], bytes]
"""Makes of parts what is sent."""


class Box:
    """What one viewer is still to be sent: the newest text of each part, so a slow one never lags behind."""

    def __init__(self, written: Written) -> None:
        self._written = written
        self._parts: Mapping[str, str] = {}
        self._text: bytes | None = None
        self._news = asyncio.Event()
        self._closed = False

    def put(self, parts: Mapping[str, str], text: bytes) -> None:
        """Add parts, with what they are when written; each takes the place of an older one of its name."""
        self._parts, self._text = ({**self._parts, **parts}, None) if self._parts else (parts, text)
        self._news.set()

    def close(self) -> None:
        """Nothing more comes."""
        self._closed = True
        self._news.set()

    async def take(self) -> bytes | None:
        """Wait for parts, and take them all, written; None when nothing more comes."""
        while not self._parts:
            if self._closed:
                return None
            self._news.clear()
            await self._news.wait()
        parts, text = self._parts, self._text
        self._parts, self._text = {}, None
        return self._written(parts) if text is None else text


class Viewers:
    """All of them; each is sent what has changed, and at first everything.

    Args:
        written: makes of parts what is sent.
    """

    def __init__(self, written: Written) -> None:
        self._written = written
        self._boxes: set[Box] = set()
        self._shown: dict[str, str] = {}
        self._text: bytes | None = None

    def __len__(self) -> int:
        return len(self._boxes)

    def show(self, parts: Mapping[str, str]) -> None:
        """Send the parts that have changed to everyone."""
        changed = {name: text for name, text in parts.items() if self._shown.get(name) != text}
        if not changed:
            return
        self._shown |= changed
        self._text = None
        text = self._written(changed) if self._boxes else b""
        for box in self._boxes:
            box.put(changed, text)

    @contextmanager
    def one(self) -> Iterator[Box]:
        """A viewer, for as long as the block lasts; it begins with what was shown last."""
        box = Box(self._written)
        if self._text is None:
            self._text = self._written(self._shown)
        box.put(dict(self._shown), self._text)
        self._boxes.add(box)
        try:
            yield box
        finally:
            self._boxes.discard(box)

    def close(self) -> None:
        """Nothing more comes for anyone."""
        for box in self._boxes:
            box.close()
