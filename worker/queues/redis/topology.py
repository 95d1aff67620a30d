"""The keys that make up a queue, and where a cluster keeps them."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Keys:
    """Where the parts of a queue are: the stream, its delayed messages, its dead letters."""

    stream: str
    delayed: str
    dead: str

    @classmethod
    def of(cls, name: str, *, cluster: bool) -> Self:
        """Keys of a queue; in a cluster all go where the stream is, or no script could use them together.

        What stands in braces decides where a key goes, and a name without braces goes where it would in them.
        """
        stem = f"{{{name}}}" if cluster and "{" not in name else name
        return cls(name, f"{stem}.delayed", f"{stem}.dead")
