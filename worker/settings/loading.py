"""Settle all options.

A flag wins over the environment, the environment over the file, the file over what a resumed run was started
with, and that over the default.
"""

import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from worker.errors import UsageError
from worker.settings.addresses import is_loopback
from worker.settings.fields import PREFIX, Settings, option_name, options
from worker.settings.wording import refusal

ON_END_VARIABLES = ("exit_code", "run_directory")
"""What the command of ``on_end`` is told beside the report; it may call us again."""


def load_settings(flags: Mapping[str, Any], saved: Mapping[str, Any] | None = None) -> Settings:
    """Settle all options.

    Args:
        flags: options given on the command line, by option name; ``config`` names the TOML file.
        saved: what a run to be resumed was started with.

    Raises:
        UsageError: a value is wrong, or a name unknown; the message says where it was set.
    """
    given = {name: value for name, value in flags.items() if value is not None and name != "config"}
    _refuse_unknown_variables()
    variables = _variables()
    texts = {name: text for name, (_, text) in variables.items()}
    named = texts.pop("config", None)
    config = flags.get("config") or named
    file = {} if config is None else _read_file(Path(config))

    def origin(name: str) -> tuple[str, object]:
        """Where an option was set, and to what."""
        if name in given:
            return f"--{name.replace('_', '-')}", given[name]
        if name in variables:
            return variables[name]
        return (f"{config}: {name}", file[name]) if name in file else (name, (saved or {}).get(name))

    try:
        settings = Settings(**{**(saved or {}), **file, **texts, **given})
    except ValidationError as error:
        raise _refused(error, origin) from None
    _refuse_plain_http(settings, origin("portal")[0])
    return settings.repeating(_again(flags))


def settings_of(options: Mapping[str, Any]) -> Settings:
    """Settle options that a program gives, by option name: neither environment nor file is looked at.

    Raises:
        UsageError: a value is wrong.
    """
    try:
        settings = Settings(**options)
    except ValidationError as error:
        raise _refused(error, lambda name: (name, options.get(name))) from None
    _refuse_plain_http(settings, "portal", "allow_http=True")
    return settings


def _refused(error: ValidationError, origin_of: Callable[[str], tuple[str, object]]) -> UsageError:
    """What is wrong with options; ``origin_of`` says where one was set, and to what."""
    first = error.errors()[0]
    name = str(first["loc"][0])
    origin, value = origin_of(name)
    if first["type"] == "extra_forbidden":
        return UsageError(f"{origin}: no such option{_suggest(name, _names())}")
    field = next(one for one in Settings.model_fields if option_name(one) == name)
    # Not from the error: it quotes what was given, and with -v that would be printed.
    return UsageError(f"{origin}: {refusal(Settings.model_fields[field], options()[field], first, value)}")


def _again(flags: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """What of a command line the next one about the same run needs: in which verbs, the flag, its value."""
    if flags.get("config"):
        yield (), "--config", str(flags["config"])
    for field, option in options().items():
        value = str(flags.get(option_name(field)) or "")
        # A password in an address is not for the screen; the next command asks for what it misses.
        if option.again and value and not ("://" in value and "@" in value):
            yield option.again, f"--{option_name(field).replace('_', '-')}", value


def _variables() -> dict[str, tuple[str, str]]:
    """What the environment sets, by option: the variable as it is written there, and its text."""
    found = {variable.upper(): (variable, text) for variable, text in os.environ.items() if text}
    known = {name: PREFIX + name.upper() for name in [*_names(), "config"]}
    return {name: found[variable] for name, variable in known.items() if variable in found}


def _names() -> list[str]:
    return [option_name(field) for field in Settings.model_fields]


def _suggest(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _refuse_unknown_variables() -> None:
    known = [PREFIX + name.upper() for name in [*_names(), "config", *ON_END_VARIABLES]]
    for variable in os.environ:
        if variable.upper().startswith(PREFIX) and variable.upper() not in known:
            raise UsageError(f"{variable}: no such variable{_suggest(variable.upper(), known)}")


def _read_file(path: Path) -> dict[str, Any]:
    try:
        # Windows editors write a byte order mark.
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8: save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not TOML: {error}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets in brackets
        raise UsageError(f"{path}: not TOML: a value in it is too long or too deep") from error
    return {name.replace("-", "_"): value for name, value in content.items()}


def _refuse_plain_http(settings: Settings, origin: str, anyway: str = "--allow-http") -> None:
    url = urlsplit(settings.portal or "")
    if url.scheme == "http" and not is_loopback(url.hostname or "") and not settings.allow_http:
        raise UsageError(
            f"{origin}: plain http:// would send the token readable to {url.hostname};"
            f" use https://, or {anyway} if you must"
        )
