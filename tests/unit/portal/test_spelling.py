"""How a path is spelled after it was refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.portal.spelling import PATIENCE, Spellings
from worker.portal.wire import WireFormat

PATH = "crm/opportunity/1/contact/2"


def refuse(spellings: Spellings, path: str = PATH, times: int = PATIENCE) -> None:
    for _ in range(times):
        spellings.learn(path, spellings.of(path), refused=True)


@pytest.mark.parametrize(("wire", "usual", "other"), [("json", "", ".json"), ("xml", ".xml", ".tml")])
def test_a_refused_path_is_sent_once_more_and_then_under_the_other_spelling_in_turns(
    wire: WireFormat, usual: str, other: str
) -> None:
    spellings = Spellings(wire)
    sent = []
    for _ in range(6):
        sent.append(spellings.of(PATH).removeprefix(PATH))
        refuse(spellings, times=1)
    assert sent == [usual, usual, other, other, usual, usual]
    assert spellings.of("crm/opportunity/1/contact/3").endswith("3" + usual)


def test_a_spelling_that_works_is_kept() -> None:
    spellings = Spellings("json")
    refuse(spellings)
    for _ in range(5):
        assert spellings.of(PATH) == PATH + ".json"
        spellings.learn(PATH, PATH + ".json", refused=False)


def test_refusals_that_lie_apart_do_not_add_up() -> None:
    spellings = Spellings("json")
    for _ in range(PATIENCE):
        refuse(spellings, times=PATIENCE - 1)
        spellings.learn(PATH, PATH, refused=False)
    assert spellings.of(PATH) == PATH


def test_a_spelling_is_on_trial_until_it_is_answered() -> None:
    spellings = Spellings("json")
    assert not spellings.is_on_trial(PATH)
    refuse(spellings)
    assert spellings.is_on_trial(PATH)
    spellings.learn(PATH, PATH + ".json", refused=False)
    assert not spellings.is_on_trial(PATH)
    refuse(spellings)
    assert spellings.is_on_trial(PATH)
    assert spellings.of(PATH) == PATH


def test_what_is_said_about_the_spelling_that_was_left_changes_nothing() -> None:
    """Requests that left before the change are answered after it."""
    spellings = Spellings("json")
    refuse(spellings)
    for refused in (True, True, False):
        spellings.learn(PATH, PATH, refused=refused)
        assert spellings.of(PATH) == PATH + ".json"
        assert spellings.is_on_trial(PATH)


@given(
    st.integers(1, 6),
    st.lists(st.integers(0, 5), max_size=60),
    st.sampled_from(["", ".json"]),
)
def test_however_many_are_on_their_way_few_are_refused_while_one_spelling_works(
    at_once: int, steps: list[int], good: str
) -> None:
    """Answers come in any order; whoever leaves after the change goes by the spelling that works."""
    spellings = Spellings("json")
    under_way = [spellings.of(PATH) for _ in range(at_once)]
    refused = 0
    for which in steps:
        address = under_way.pop(which % at_once)
        is_refused = address != PATH + good
        refused += is_refused
        spellings.learn(PATH, address, refused=is_refused)
        under_way.append(spellings.of(PATH))
    assert refused <= PATIENCE - 1 + at_once


def test_what_is_kept_of_refused_paths_is_bounded_and_the_one_in_use_stays() -> None:
    spellings = Spellings("json")
    refuse(spellings)
    refuse(spellings, "batch")
    for number in range(1000):
        refuse(spellings, f"{PATH}{number}", times=1)
        spellings.learn("batch", "batch.json", refused=False)
    assert spellings.of(PATH) == PATH
    assert spellings.of("batch") == "batch.json"
