"""Link contacts to opportunities of an ONLYOFFICE CRM portal, and look at their links, from Python.

See :func:`link_pairs` and :class:`Portal`.
"""

from worker import __version__
from worker.api import (
    Counts,
    LinkRun,
    Lookup,
    Members,
    Outcome,
    Portal,
    PortalOptions,
    Presence,
    Verified,
    link_pairs,
)
from worker.errors import (
    InputError,
    LedgerError,
    OutageError,
    PortalError,
    PortalRefused,
    UsageError,
)
from worker.errors import WorkerError as BulklinkError
from worker.models import Status

__all__ = [
    "BulklinkError",
    "Counts",
    "InputError",
    "LedgerError",
    "LinkRun",
    "Lookup",
    "Members",
    "OutageError",
    "Outcome",
    "Portal",
    "PortalError",
    "PortalOptions",
    "PortalRefused",
    "Presence",
    "Status",
    "UsageError",
    "Verified",
    "__version__",
    "link_pairs",
]
