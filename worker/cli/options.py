"""Make click options of the settings, so that none is spelled twice; print them as README's table."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from worker.cli.completing import files, value_of
from worker.quantities import format_duration
from worker.settings import DOCUMENTED, PREFIX, Option, Settings, option_name, options
from worker.timetable import Timetable

_INHERITED = "as the run was told"

_F = TypeVar("_F", bound=Callable[..., Any])

RUN = (
    "portal",
    "rate",
    "link_rate",
    "timezone",
    "shared_rate",
    "concurrency",
    "forget",
    "existing",
    "transport",
    "batch_size",
    "wire",
    "contacts",
    "max_attempts",
    "max_errors",
    "max_duration",
    "give_up_after",
    "timeout",
    "grace",
    "allow_http",
    "ca_file",
    "client_cert",
    "client_key",
    "proxy",
    "wait_for_broker",
    "runs_dir",
    "as_json",
    "progress",
    "dashboard_port",
    "dashboard_host",
    "on_end",
    "log_file",
    "quiet",
    "verbose",
)
"""What every verb that sends takes."""

_OF_LINKING = {
    *("existing", "contacts", "max_attempts", "max_errors", "max_duration", "grace"),
    "on_end",
}

ABOUT_A_RUN = tuple(field for field in RUN if field not in _OF_LINKING)
"""What every verb takes that goes to the portal about a run."""

QUEUE = ("results", "lease", "max_deliveries", "retry_delay")
"""What only a verb that works on a queue takes."""

CHECK = (
    "portal",
    "rate",
    "timezone",
    "shared_rate",
    "transport",
    "wire",
    "timeout",
    "allow_http",
    "ca_file",
    "client_cert",
    "client_key",
    "proxy",
)
"""What a verb takes that asks the portal about an input, and sends nothing of it."""

INPUT = ("columns", "delimiter", "sheet", "limit", "min_rows")
"""What every verb that reads an input takes."""


def settings_options(*fields: str, of: str = "", inherits: bool = False) -> Callable[[_F], _F]:
    """Add an option for each field, and ``--config``; an option not given is None.

    Args:
        fields: of the settings.
        of: the verb, if some of them do something else there than elsewhere.
        inherits: what is not given is as the run was told that the verb is about.
    """

    def decorate(command: _F) -> _F:
        for field in reversed(fields):
            command = _option(field, options()[field], of, inherits=inherits)(command)
        config = click.option(
            "--config", metavar="FILE", help="TOML file with any of these options.", shell_complete=files
        )
        return config(command)

    return decorate


def _option(field: str, option: Option, verb: str, *, inherits: bool) -> Callable[[_F], _F]:
    info = Settings.model_fields[field]
    name = option_name(field)
    words = [f"--{name.replace('_', '-')}", *([option.short] if option.short else []), name]
    default = _INHERITED if inherits and option.saved else _default(field)
    said = option.help_of.get(verb, info.description)
    text = f"{said}{f'  [default: {default}]' if default and option.metavar else ''}"
    if option.metavar:
        complete = value_of(option.metavar)
        return click.option(*words, metavar=option.metavar, default=None, help=text, shell_complete=complete)
    return click.option(*words, is_flag=True, flag_value=True, default=None, help=text)


def _default(field: str) -> str:
    value = Settings.model_fields[field].default
    if value is DOCUMENTED or (value is None and options()[field].metavar.startswith("auto|")):
        return "auto"
    if value is None or value is False:
        return ""
    if isinstance(value, Timetable):
        return str(value)
    return format_duration(value) if isinstance(value, float) else str(value)


def options_table() -> str:
    """Every setting as a row of Markdown, for README."""
    rows = ["| option | variable | default | meaning |", "| --- | --- | --- | --- |"]
    for field, option in options().items():
        name = option_name(field)
        flag = f"`--{name.replace('_', '-')}{' ' + option.metavar if option.metavar else ''}`"
        if option.short:
            flag = f"`{option.short}`, {flag}"
        cells = [
            "(never a flag)" if option.secret else flag,
            f"`{PREFIX}{name.upper()}`",
            f"`{_default(field)}`" if _default(field) else "",
            Settings.model_fields[field].description or "",
        ]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)
