"""How a path is spelled after it was refused."""

import pytest

from worker.portal.spelling import PATIENCE, Spellings
from worker.portal.wire import WireFormat

PATH = "crm/opportunity/1/contact/2"


@pytest.mark.parametrize(("wire", "usual", "other"), [("json", "", ".json"), ("xml", ".xml", ".tml")])
def test_a_refused_path_is_sent_once_more_and_then_under_the_other_spelling(
    wire: WireFormat, usual: str, other: str
) -> None:
    spellings = Spellings(wire)
    sent = []
    for _ in range(4):
        sent.append(spellings.of(PATH).removeprefix(PATH))
        spellings.learn(PATH, refused=True)
    assert sent == [usual, usual, other, other]
    assert spellings.of("crm/opportunity/1/contact/3").endswith("3" + usual)


def test_the_first_other_answer_brings_the_usual_spelling_back() -> None:
    spellings = Spellings("json")
    for _ in range(PATIENCE):
        spellings.learn(PATH, refused=True)
    assert spellings.is_other(PATH)
    spellings.learn(PATH, refused=False)
    assert spellings.of(PATH) == PATH


def test_what_is_kept_of_refused_paths_is_bounded() -> None:
    spellings = Spellings("json")
    for _ in range(PATIENCE):
        spellings.learn(PATH, refused=True)
    for number in range(1000):
        spellings.learn(f"{PATH}{number}", refused=True)
    assert not spellings.is_other(PATH)
