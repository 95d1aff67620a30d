"""Members read page by page; a list that may not be whole says so."""

import pytest

from tests.unit.dealt import Highest
from worker.models import Ask, Attempt, Kind, Page, Result
from worker.operations.base import LOST_WAITS, MOST_LOST, Again
from worker.operations.members import PAGE, MemberList, ReadMembers
from worker.operations.policy import RetryPolicy
from worker.reasons import INCOMPLETE

POLICY = RetryPolicy(max_throttled=20, max_unreadable=3, base=4.0)
THROTTLED = Attempt(Result.THROTTLED, "throttled", 429)
UNREADABLE = Attempt(Result.AMBIGUOUS, "server_page", 500)
GONE = Attempt(Result.PERMANENT, "not_found", 404)
LOST = Attempt(Result.AMBIGUOUS, "timeout", shared=True)


def page(
    ids: range, *, items: int | None = None, count: int | None = None, total: int | None = None
) -> Attempt:
    found = dict.fromkeys(ids, b"{}")
    said = Page(len(found) if items is None else items, count, total)
    return Attempt(Result.OK, http_status=200, found=found, page=said)


def read(*answers: Attempt) -> MemberList:
    one = ReadMembers(5, POLICY, Highest(0))
    steps = [one.take(answer) for answer in answers]
    assert all(isinstance(step, Again) for step in steps[:-1]), "it came to its end too early"
    assert isinstance(steps[-1], MemberList)
    return steps[-1]


def test_a_short_page_is_the_whole_list() -> None:
    one = ReadMembers(5, POLICY, Highest(0))
    assert one.ask() == Ask(Kind.MEMBERS, 5, ())
    one.leaves()
    assert one.take(page(range(3))) == MemberList(5, {0: b"{}", 1: b"{}", 2: b"{}"})
    one.returns()


def test_a_list_without_anybody_is_whole() -> None:
    assert read(page(range(0))) == MemberList(5, {})


@pytest.mark.parametrize("beyond", [0, 1, PAGE - 1])
def test_pages_are_read_until_one_is_not_full(beyond: int) -> None:
    one = ReadMembers(5, POLICY, Highest(0))
    total = PAGE + beyond if beyond else None  # said only of a list that is longer than a page
    assert one.take(page(range(PAGE), total=total)) == Again()
    assert one.ask() == Ask(Kind.MEMBERS, 5, (), start=PAGE)
    end = one.take(page(range(PAGE, PAGE + beyond), total=total))
    assert isinstance(end, MemberList)
    assert (len(end.found), end.trouble) == (PAGE + beyond, "")


@pytest.mark.parametrize(
    "answers",
    [
        (page(range(3), items=4),),  # one that cannot be read, or is there twice
        (page(range(3), count=4),),
        (page(range(3), total=4),),
        (page(range(PAGE + 1)),),  # no page of CommunityServer
        (page(range(PAGE)), page(range(PAGE, PAGE + 5))),  # more than a page, and no total
        (page(range(PAGE), total=1005), page(range(PAGE, PAGE + 4), total=1005)),
        (page(range(PAGE), total=1005), page(range(PAGE, PAGE + 5), total=1006)),
        (page(range(PAGE), total=1005), page(range(PAGE - 1, PAGE + 4), total=1005)),
        (page(range(PAGE), total=2000), page(range(PAGE), total=2000)),  # startIndex is ignored
    ],
)
def test_a_list_that_does_not_add_up_may_not_be_whole(answers: tuple[Attempt, ...]) -> None:
    assert read(*answers).trouble == INCOMPLETE


def test_a_page_that_tells_nothing_is_asked_for_again_a_few_times() -> None:
    one = ReadMembers(5, POLICY, Highest(0))
    assert one.take(THROTTLED) == Again(0.0)
    assert one.take(UNREADABLE) == Again(4.0, is_retry=True)
    assert one.ask().because == "server_page"
    assert read(THROTTLED, UNREADABLE, page(range(2))).trouble == ""
    assert read(UNREADABLE, UNREADABLE, UNREADABLE).trouble == "server_page"


def test_what_is_spent_on_one_page_is_not_held_against_the_next() -> None:
    one, two = page(range(PAGE), total=1001), page(range(PAGE, PAGE + 1), total=1001)
    assert read(UNREADABLE, UNREADABLE, one, UNREADABLE, UNREADABLE, two).trouble == ""


def test_an_opportunity_that_is_not_found_has_no_list() -> None:
    assert read(GONE) == MemberList(5, {}, "not_found")


def test_success_without_a_page_tells_nothing() -> None:
    assert read(Attempt(Result.OK)) == MemberList(5, {}, INCOMPLETE)


def test_requests_of_many_that_are_lost_do_not_count() -> None:
    one = ReadMembers(5, POLICY, Highest(0))
    for _ in range(MOST_LOST):
        assert one.take(LOST) == Again(LOST_WAITS[1])
    assert one.take(LOST) == Again(4.0, is_retry=True)
