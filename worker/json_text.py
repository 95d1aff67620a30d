r"""JSON as it is met: a surrogate that stands alone is JSON, though no strict reader takes it.

A text cut in the middle of an emoji ends in half of one, and whoever thinks in UTF-16 (.NET, Java,
JavaScript) writes that half as the escape ``\ud83d``. It is read as the six characters that it is written
with, so that nothing is lost and the result can be written as UTF-8.
"""

import json
import re

import orjson

_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|[\s\S])"
)
"""Every escape; a surrogate without its other half is the group."""

_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")


def mend(text: str) -> str:
    """The same JSON with each lone surrogate spelled out."""
    return _ESCAPE.sub(lambda found: f"\\\\{found[1]}" if found[1] else found[0], text)


def in_ascii(text: str) -> str:
    """The same JSON in characters that every encoding has: the others are written as escapes."""
    return _BEYOND_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)


def dump_texts(texts: tuple[str, ...]) -> str:
    """Texts as a JSON array that UTF-8 can hold: half of a surrogate is written as its escape."""
    try:
        return orjson.dumps(texts).decode()
    except TypeError:  # it writes nothing that no strict reader takes
        return json.dumps(texts)


def load_texts(text: str) -> tuple[str, ...]:
    """What :func:`dump_texts` has written.

    Raises:
        ValueError: it is no JSON.
        TypeError: it is no array.
    """
    try:
        return tuple(orjson.loads(text))
    except orjson.JSONDecodeError:
        return tuple(json.loads(text))
