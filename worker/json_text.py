r"""JSON as it is met: a surrogate that stands alone is JSON, though no strict reader takes it.

A text cut in the middle of an emoji ends in half of one, and whoever thinks in UTF-16 (.NET, Java,
JavaScript) writes that half as the escape ``\ud83d``. It is read as the six characters that it is written
with, so that nothing is lost and the result can be written as UTF-8.
"""

import re

_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|[\s\S])"
)
"""Every escape; a surrogate without its other half is the group."""


def mend(text: str) -> str:
    """The same JSON with each lone surrogate spelled out."""
    return _ESCAPE.sub(lambda found: f"\\\\{found[1]}" if found[1] else found[0], text)
