"""Link contacts to opportunities of an ONLYOFFICE CRM portal, from Python; see :func:`link_pairs`."""

from worker import __version__
from worker.api import Counts, LinkRun, Outcome, Portal, PortalOptions, link_pairs
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
    "OutageError",
    "Outcome",
    "Portal",
    "PortalError",
    "PortalOptions",
    "PortalRefused",
    "Status",
    "UsageError",
    "__version__",
    "link_pairs",
]
