"""What the processes of one user on one machine tell each other: whose turn it is, and who links what."""

from worker.host.claims import Claim, Taken, claim
from worker.host.folder import common_folder, portal_name
from worker.host.turns import HostTurns

__all__ = ["Claim", "HostTurns", "Taken", "claim", "common_folder", "portal_name"]
