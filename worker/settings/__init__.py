"""Every option, spelled once, and how its value is settled from flags, environment and file."""

from worker.settings.fields import PREFIX, Option, Settings, option_name, options
from worker.settings.loading import ON_END_VARIABLES, load_settings, settings_of
from worker.settings.values import DOCUMENTED

__all__ = [
    "DOCUMENTED",
    "ON_END_VARIABLES",
    "PREFIX",
    "Option",
    "Settings",
    "load_settings",
    "option_name",
    "options",
    "settings_of",
]
