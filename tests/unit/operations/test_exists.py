"""Is an opportunity or a contact there: asked as often as is worth it, and never the reason of trouble."""

import pytest

from tests.recordings.portal_wire import exchanges
from worker.models import Ask, Attempt, Kind, Result
from worker.operations.base import LOST_WAITS, Again
from worker.operations.exists import MOST_TRIES, MOST_UNHEARD, Entity, Existence, Exists
from worker.portal.calls import attempt_of, call_for, judge, read_answer

CONTACT = Entity("contact", 88)
THERE = Attempt(Result.OK, http_status=200, body=b'{"id":88}')
GONE = Attempt(Result.PERMANENT, "not_found", 404)
REFUSED = Attempt(Result.PERMANENT, "forbidden", 403)
BUSY = Attempt(Result.TRANSIENT, "unavailable", 503)
THROTTLED = Attempt(Result.THROTTLED, "throttled", 429)
LOST = Attempt(Result.AMBIGUOUS, "connection_lost", shared=True)


def test_each_side_is_asked_for_by_itself_and_again_with_the_reason() -> None:
    one, other = Exists(CONTACT), Exists(Entity("opportunity", 7))
    assert one.ask() == Ask(Kind.EXISTS, 0, (88,))
    assert other.ask() == Ask(Kind.EXISTS, 7, ())
    other.leaves()
    other.returns()
    assert one.take(BUSY) == Again(is_retry=True)
    assert one.ask() == Ask(Kind.EXISTS, 0, (88,), "unavailable")


@pytest.mark.parametrize(("answer", "there"), [(THERE, True), (GONE, False), (REFUSED, None)])
def test_an_answer_that_tells_ends_it(answer: Attempt, there: bool | None) -> None:
    assert Exists(CONTACT).take(answer) == Existence(CONTACT, there)


@pytest.mark.parametrize(
    ("answer", "most", "again"),
    [
        (BUSY, MOST_TRIES, Again(is_retry=True)),
        (THROTTLED, MOST_UNHEARD, Again()),
        (LOST, MOST_UNHEARD, Again(LOST_WAITS[0])),
    ],
)
def test_what_tells_nothing_is_asked_a_few_times_and_no_more(
    answer: Attempt, most: int, again: Again
) -> None:
    one = Exists(CONTACT)
    steps = [one.take(answer) for _ in range(most)]
    assert steps == [*[again] * (most - 1), Existence(CONTACT, None)]


@pytest.mark.parametrize(
    ("number", "there"),
    [
        (99, True),
        (100, True),
        (105, True),
        (101, False),
        (103, False),
        (104, False),
        (106, False),
        (108, False),
    ],
)
def test_what_the_vendors_server_answered_is_understood(number: int, there: bool) -> None:
    """A contact whose status no longer exists is told as missing, too (contract 4.6)."""
    recorded = next(one for one in exchanges() if one.n == number)
    *_, side, id_ = recorded.target.split("/")
    one = Exists(Entity("contact" if side == "contact" else "opportunity", int(id_)))
    call = call_for(one.ask())
    assert (call.method, f"/api/2.0/{call.path}", call.query) == ("GET", recorded.target, {"fields": "id"})
    read = read_answer(one.ask(), "application/json", (recorded.answer or "").encode())
    attempt = attempt_of(one.ask(), judge(read, recorded.status, writes=False), read, recorded.status)
    assert one.take(attempt) == Existence(one.entity, there)
