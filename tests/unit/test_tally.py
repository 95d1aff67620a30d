"""Running counts of a session."""

from worker.ledger import Admitted
from worker.models import Attempt, Kind, Outcome, Pair, Request, Result, Status
from worker.tally import MOST_CAUSES, OTHERS, RunTally


def outcome(status: Status) -> Outcome:
    return Outcome(Pair(1, 2, 3, 4), status, (Attempt(Result.OK),))


def test_rows_are_counted_as_they_are_admitted() -> None:
    tally = RunTally()
    tally.admitted(Admitted(5, 2, 1))
    tally.admitted(Admitted(1, 0, 1))

    assert tally.rows == 10
    assert tally.done == 4
    assert tally.by_state() == {"duplicate": 2, "invalid": 2}
    assert tally.settled_here == 0


def test_outcomes_are_counted_by_state() -> None:
    tally = RunTally()
    for status in (Status.LINKED, Status.LINKED, Status.REJECTED):
        tally.recorded(outcome(status))

    assert tally.by_state() == {"linked": 2, "rejected": 1}
    assert (tally.done, tally.settled_here) == (3, 3)


def test_requests_are_counted_with_those_that_were_throttled() -> None:
    tally = RunTally()
    for result in Result:
        tally.observe(Request(Kind.LINK, result))

    assert (tally.sent, tally.throttled) == (5, 1)


def test_tallies_share_nothing() -> None:
    RunTally().recorded(outcome(Status.LINKED))

    assert RunTally().done == 0


def test_causes_are_counted_and_rare_ones_together_beyond_the_first_so_many() -> None:
    tally = RunTally()
    for number in range(MOST_CAUSES + 5):
        failed = Outcome(Pair(1, 2, 3, 4), Status.REJECTED, (), f"reason {number}", 404)
        tally.recorded(failed)
        tally.recorded(failed)
    tally.recorded(outcome(Status.LINKED))

    assert tally.causes["reason 0", 404] == 2
    assert tally.causes[OTHERS, None] == 10
    assert len(tally.causes) == MOST_CAUSES + 1
