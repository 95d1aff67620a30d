"""What an outcome means for a link that was removed, and is to be made again. Pure."""

from worker.models import Outcome, Status
from worker.removals import Restored, Restoring

_MEANS = {
    Status.LINKED: Restored.RESTORED,
    Status.ALREADY_LINKED: Restored.THERE,
    Status.REJECTED: Restored.REFUSED,
}


def judge_restored(outcome: Outcome) -> Restoring:
    """The last word on such a link; its pair has its number in place of a row."""
    return Restoring(outcome.pair.row, _MEANS.get(outcome.status, Restored.FAILED), outcome.reason)
