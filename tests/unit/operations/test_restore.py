"""What an outcome means for a link that is made again."""

import pytest

from worker.models import Outcome, Pair, Status
from worker.operations.restore import judge_restored
from worker.removals import Restored, Restoring


@pytest.mark.parametrize(
    ("status", "restored"),
    [
        (Status.LINKED, Restored.RESTORED),
        (Status.ALREADY_LINKED, Restored.THERE),
        (Status.REJECTED, Restored.REFUSED),
        (Status.RETRYABLE, Restored.FAILED),
        (Status.UNKNOWN, Restored.FAILED),
    ],
)
def test_each_outcome_says_whether_the_link_is_there_again(status: Status, restored: Restored) -> None:
    assert judge_restored(Outcome(Pair(4, 0, 1, 2), status, (), "why")) == Restoring(4, restored, "why")
