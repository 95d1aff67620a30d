"""Link pairs, and look for links, from Python code: no signals, no environment, no files unless wanted.

What users import is ``bulklink``, see ``worker/public``. Importing this costs little: what does the work is
imported when a portal is opened.
"""

from worker.api.lookup import Lookup
from worker.api.outcome import Counts, Outcome
from worker.api.portal import Portal, PortalOptions
from worker.api.run import LinkRun, link_pairs
from worker.api.told import Members, Presence, Verified

__all__ = [
    "Counts",
    "LinkRun",
    "Lookup",
    "Members",
    "Outcome",
    "Portal",
    "PortalOptions",
    "Presence",
    "Verified",
    "link_pairs",
]
