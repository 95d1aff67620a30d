"""What a run wants, beside what the portal holds: which looks that takes, and what they tell of each pair."""

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.unit.dealt import Highest
from worker.models import Attempt, Kind, Outcome, Pair, PreState, Result, Status
from worker.operations.compare import Compared, compare, looks
from worker.operations.look import MOST_SOUGHT, Told
from worker.operations.policy import RetryPolicy

READ = Attempt(Result.OK, http_status=200)
GONE = Attempt(Result.PERMANENT, "not_found", 404)
UNREADABLE = Attempt(Result.AMBIGUOUS, "unavailable", 503)
THROTTLED = Attempt(Result.THROTTLED, "throttled", 429)


def body(contact_id: int) -> bytes:
    return b'{"id":%d}' % contact_id


def pairs(*ids: tuple[int, int]) -> list[Pair]:
    """Rows from 1 on that ask for these opportunities and contacts."""
    return [Pair(row, row + 1, *both) for row, both in enumerate(ids, 1)]


def of_one(count: int) -> list[Pair]:
    return pairs(*[(1, contact_id) for contact_id in range(1, count + 1)])


def absent(pair: Pair) -> Pair:
    return replace(pair, pre=PreState.ABSENT, in_doubt=False)


def doubtful(pair: Pair) -> Pair:
    return replace(pair, in_doubt=True)


def sought(todo: Iterable[Pair]) -> list[tuple[int, list[int]]]:
    """Whose members are asked for, and for whom; each look is for the pairs that it seeks."""
    found = []
    for look in looks(todo, RetryPolicy(), Highest(0)):
        ask = look.ask()
        assert (ask.kind, ask.because) == (Kind.LOOK, "")
        assert {pair.opportunity_id for pair in look.about} == {ask.opportunity_id}
        assert [pair.contact_id for pair in look.about] == list(ask.contact_ids)
        found.append((ask.opportunity_id, list(ask.contact_ids)))
    return found


def test_pairs_of_one_opportunity_cost_one_request_wherever_they_stand() -> None:
    ids = [(opportunity, contact) for contact in range(1, 21) for opportunity in (3, 1, 2)]
    assert sought(pairs(*ids)) == [(opportunity, list(range(1, 21))) for opportunity in (1, 2, 3)]


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, []), (1, [1]), (100, [100]), (101, [100, 1]), (250, [100, 100, 50])]
)
def test_a_request_seeks_at_most_a_hundred_contacts(count: int, sizes: list[int]) -> None:
    found = sought(of_one(count))
    assert [len(contacts) for _, contacts in found] == sizes
    assert [contact for _, contacts in found for contact in contacts] == list(range(1, count + 1))


def test_pairs_of_one_opportunity_are_sought_in_input_order() -> None:
    assert sought(pairs((2, 9), (1, 5), (2, 3), (1, 8), (2, 7))) == [(1, [5, 8]), (2, [9, 3, 7])]


def test_a_look_is_repeated_as_the_policy_says() -> None:
    (look,) = looks(of_one(2), RetryPolicy(max_unreadable=1), Highest(0))
    assert look.take(UNREADABLE) == Told(tuple(of_one(2)), (UNREADABLE,))


def compared(todo: Iterable[Pair], *attempts: Attempt, members: Iterable[int] = ()) -> Compared:
    """What is made of a look whose last answer shows these members."""
    *earlier, last = attempts or (READ,)
    last = replace(last, found={contact_id: body(contact_id) for contact_id in members})
    return compare(Told(tuple(todo), (*earlier, last)))


def test_a_member_is_linked_already_with_its_contact_and_without_a_request_of_its_own() -> None:
    todo = of_one(5)
    done = compared(todo, members=(2, 4))
    assert done.settled == (
        Outcome(todo[1], Status.ALREADY_LINKED, (), http_status=200, found=body(2)),
        Outcome(todo[3], Status.ALREADY_LINKED, (), http_status=200, found=body(4)),
    )
    assert [outcome.body for outcome in done.settled] == [body(2), body(4)]
    assert done.to_link == (absent(todo[0]), absent(todo[2]), absent(todo[4]))


def test_what_is_not_there_is_to_be_linked_and_noted_as_absent() -> None:
    done = compared(of_one(3), members=(2,))
    assert (done.absent, done.in_doubt) == ([1, 3], [])


def test_nothing_is_to_be_linked_if_all_is_there() -> None:
    done = compared(of_one(3), members=(1, 2, 3))
    assert (done.to_link, done.absent, done.in_doubt) == ((), [], [])


@pytest.mark.parametrize("last", [UNREADABLE, THROTTLED])
def test_pairs_whose_look_cannot_be_read_end_as_retryable_with_its_reason(last: Attempt) -> None:
    todo = of_one(2)
    assert compared(todo, UNREADABLE, THROTTLED, last) == Compared(
        tuple(Outcome(pair, Status.RETRYABLE, (), last.reason, last.http_status) for pair in todo), ()
    )


def test_a_look_that_is_read_at_the_third_time_tells_as_well_as_one_at_the_first() -> None:
    todo = of_one(2)
    assert compared(todo, UNREADABLE, THROTTLED, READ, members=(1,)) == compared(todo, members=(1,))


@pytest.mark.parametrize("in_doubt", [False, True])
def test_all_pairs_of_an_opportunity_that_is_not_there_are_rejected_and_none_is_to_be_linked(
    *, in_doubt: bool
) -> None:
    todo = [replace(pair, in_doubt=in_doubt) for pair in of_one(3)]
    assert compared(todo, GONE) == Compared(
        tuple(Outcome(pair, Status.REJECTED, (), "opportunity_missing", 404) for pair in todo), ()
    )


def test_a_pair_in_doubt_that_is_there_is_given_still_in_doubt_and_tells_nothing_of_before() -> None:
    """Perhaps it was us: who calls that present leaves a link of ours behind, or absent, takes another's."""
    first, second = of_one(2)
    done = compared([doubtful(first), second], members=(1, 2))
    assert done.to_link == (doubtful(first),)
    assert done.to_link[0].pre is PreState.UNREAD
    assert (done.absent, done.in_doubt) == ([], [1])
    assert [outcome.pair for outcome in done.settled] == [second]


def test_a_pair_in_doubt_that_is_not_there_is_in_doubt_no_more() -> None:
    (pair,) = of_one(1)
    done = compared([doubtful(pair)])
    assert done.to_link == (replace(pair, in_doubt=False, pre=PreState.ABSENT),)
    assert (done.absent, done.in_doubt) == ([1], [])


def test_a_pair_in_doubt_whose_look_cannot_be_read_is_not_called_retryable() -> None:
    """Retryable means certainly not stored. To send it once more is safe."""
    first, second = of_one(2)
    done = compared([doubtful(first), second], UNREADABLE)
    assert done.to_link == (doubtful(first),)
    assert (done.absent, done.in_doubt) == ([], [1])
    assert [(outcome.pair, outcome.status) for outcome in done.settled] == [(second, Status.RETRYABLE)]


@dataclass(frozen=True)
class Story:
    """Pairs, what the portal has of them, and how it answers for each opportunity."""

    todo: list[Pair]
    members: set[tuple[int, int]]
    answers: dict[int, Attempt]


@st.composite
def stories(draw: st.DrawFn) -> Story:
    chance = Random(draw(st.integers(0, 10**6)))  # noqa: S311 - for a story
    answers = draw(
        st.lists(st.sampled_from([READ, READ, GONE, UNREADABLE, THROTTLED]), min_size=1, max_size=5)
    )
    ids = [
        (opportunity, contact)
        for opportunity in range(1, len(answers) + 1)
        for contact in range(1, draw(st.sampled_from([0, 1, 3, 20, 99, 100, 101, 230])) + 1)
    ]
    chance.shuffle(ids)
    odd, share = draw(st.sampled_from([0.0, 0.1, 0.5])), draw(st.sampled_from([0.0, 0.3, 1.0]))
    return Story(
        [replace(pair, in_doubt=chance.random() < odd) for pair in pairs(*ids)],
        {both for both in ids if chance.random() < share},
        dict(enumerate(answers, 1)),
    )


def expected(story: Story, pair: Pair) -> Pair | Status:
    """The pair as it is to be linked, or how it is to end."""
    answer = story.answers[pair.opportunity_id]
    if answer is GONE:
        return Status.REJECTED
    if answer is not READ:
        return pair if pair.in_doubt else Status.RETRYABLE
    if (pair.opportunity_id, pair.contact_id) not in story.members:
        return absent(pair)
    return pair if pair.in_doubt else Status.ALREADY_LINKED


@given(story=stories())
def test_every_pair_either_has_its_outcome_or_is_to_be_linked_whatever_the_portal_has(story: Story) -> None:
    came: dict[int, list[Pair | Status]] = {pair.row: [] for pair in story.todo}
    all_looks = list(looks(story.todo, RetryPolicy(), Highest(0)))
    for look in all_looks:
        last = story.answers[look.about[0].opportunity_id]
        if last is READ:
            there = [p.contact_id for p in look.about if (p.opportunity_id, p.contact_id) in story.members]
            last = replace(last, found={contact_id: body(contact_id) for contact_id in there})
        done = compare(Told(look.about, (last,)))
        for pair in done.to_link:
            came[pair.row].append(pair)
        for outcome in done.settled:
            came[outcome.pair.row].append(outcome.status)
        assert sorted([*done.absent, *done.in_doubt]) == sorted(pair.row for pair in done.to_link)
        assert done.absent == [pair.row for pair in done.to_link if not pair.in_doubt]
    assert came == {pair.row: [expected(story, pair)] for pair in story.todo}
    sizes = [sum(pair.opportunity_id == at for pair in story.todo) for at in story.answers]
    assert len(all_looks) == sum(-(-size // MOST_SOUGHT) for size in sizes)
