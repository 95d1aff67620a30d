"""Link pairs from Python code: no signals, no event loop of its own, no environment, no files unless wanted.

What users import is ``bulklink``, see ``worker/public``. Importing this costs little: what does the work is
imported when a portal is opened.
"""

from worker.api.outcome import Counts, Outcome
from worker.api.portal import Portal, PortalOptions
from worker.api.run import LinkRun, link_pairs

__all__ = ["Counts", "LinkRun", "Outcome", "Portal", "PortalOptions", "link_pairs"]
