"""What is said of options that are refused."""

from typing import Any

import pytest

from worker.errors import Exit, UsageError
from worker.settings import load_settings


def refused(flags: dict[str, Any], saved: dict[str, Any] | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        load_settings(flags, saved)
    assert caught.value.exit_code is Exit.USAGE
    return str(caught.value)
