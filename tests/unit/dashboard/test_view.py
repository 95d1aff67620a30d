"""The parts of the live page, and that nothing in them is run that somebody else wrote."""

import re
from typing import Any

import pytest
from lxml import html

from tests.unit.dashboard.seen import view
from tests.unit.report.test_html import HOSTILE
from worker.dashboard.view import MOST_CAUSES, PARTS, page_of, parts_of
from worker.dashboard.words import WORDS
from worker.ledger import Sample
from worker.reasons import HINTS_OF_SYNC, PRIMARY
from worker.tally import Doing

SAMPLES = [Sample(10.0, 100, 5, 0, 0.0, 2), Sample(20.0, 300, 15, 0, 5.0, 4)]


def words(text: str) -> str:
    return re.sub(r" ([.,:;])", r"\1", " ".join(" ".join(map(str, html.fromstring(text).itertext())).split()))


def part(name: str, **changes: Any) -> str:
    return words(f"<div>{parts_of(view(**changes), SAMPLES)[name]}</div>")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {},
            "2,000 of 5,000 rows have their last word; about 1:00 to go. At work, 50 links and 2.5 requests",
        ),
        ({"total": 400_000}, "about 2:12:40 to go"),
        ({"complete": False}, "2,000 of 5,000+ rows have their last word. At work"),
        ({"begun": False}, "It begins: the portal is asked"),
        ({"pause_left": 8.2}, "The portal makes everyone wait, 8s more."),
        ({"held": True, "pause_left": 8.2}, "Paused from this page. Nothing is sent until it is resumed."),
        ({"note": "the portal fails"}, "the portal fails"),
        ({"ended": "stopped by SIGTERM", "held": True}, "It has ended: stopped by SIGTERM."),
    ],
)
def test_it_says_how_the_run_is_now(changes: dict[str, Any], said: str) -> None:
    assert said in part("now", **changes)


def test_other_verbs_have_words_of_their_own() -> None:
    verifying = {
        "words": WORDS[Doing.VERIFYING],
        "settled": {"there": 3, "missing": 1},
        "done": 4,
        "total": 9,
    }

    assert "4 of 9 links are looked for" in part("now", **verifying)
    assert "missing 1 25.0 % all 4" in part("states", **verifying)
    assert "Links a second over" in part("pace", **verifying)
    assert set(parts_of(view(**verifying), SAMPLES)) == {"now", "states", "pace"}
    assert 'id="causes"' not in page_of(view(**verifying), parts_of(view(**verifying), SAMPLES))
    assert "Opportunities a second over" in part("pace", words=WORDS[Doing.READING])
    assert "Nothing yet." in part("states", words=WORDS[Doing.READING], settled={})


def test_links_that_were_kept_have_the_reasons_of_removals() -> None:
    text = part("causes", words=WORDS[Doing.PRUNING], causes={(PRIMARY, None): 2, ("timeout", None): 1})

    assert f"2 {PRIMARY} {HINTS_OF_SYNC[PRIMARY]}" in text
    assert "1 timeout No answer came in time" in text
    assert "none failed" in part("causes", words=WORDS[Doing.UNDOING], causes={})


def test_each_kind_of_work_has_words() -> None:
    assert set(WORDS) == set(Doing)


def test_between_two_works_it_says_what_follows_and_not_that_it_has_ended() -> None:
    text = part("now", ended="all is done", goes_on="Next, links are removed.")

    assert "Next, links are removed." in text
    assert "ended" not in text


def test_rows_have_states_with_the_look_of_the_report() -> None:
    assert "linked 1,500 75.0 % rejected 500 25.0 % all 2,000" in part("states")


def test_causes_so_far_have_hints_the_most_frequent_first() -> None:
    many = {(f"reason {n}", None): n for n in range(1, MOST_CAUSES + 4)}
    text = part("causes", causes=many)

    assert f"{MOST_CAUSES + 3} reason {MOST_CAUSES + 3}" in text
    assert "And 3 more" in text
    assert "reason 3 " not in text
    assert "500 not_found (HTTP 404) " in part("causes")
    assert "No pair has failed" in part("causes", causes={})


def test_pace_and_limits_are_told_and_drawn() -> None:
    text = part("pace")

    assert "requests 75, of which 20 retries; 1 throttled" in text
    assert "in flight 2 of 4" in text
    assert "rate 35.0 requests a second, at most 500/10s" in text
    assert "Links a second over the time at work, 20.0 at most" in text
    assert "Requests a second over the time at work, 1.0 at most" in text
    assert "<polyline" in parts_of(view(), SAMPLES)["pace"]
    assert "<polyline" not in parts_of(view(), [])["pace"]


def test_what_others_wrote_is_shown_and_not_run() -> None:
    seen = view(
        run_id=HOSTILE,
        source=HOSTILE,
        portal=HOSTILE,
        note=HOSTILE,
        stated=HOSTILE,
        causes={(HOSTILE, 404): 1},
    )
    page = page_of(seen, parts_of(seen, SAMPLES))
    tree = html.fromstring(page)

    assert len([one for one in tree.iter("script") if one.get("src") == "live.js"]) == 1
    assert len(list(tree.iter("script"))) == 1
    assert not list(tree.iter("img"))
    assert "".join(map(str, tree.itertext())).count(HOSTILE) >= 6


def test_each_part_has_its_place_in_the_page_and_the_page_has_nothing_that_its_policy_blocks() -> None:
    tree = html.fromstring(page_of(view(), parts_of(view(), SAMPLES)))

    assert all(tree.get_element_by_id(name) is not None for name in PARTS)
    assert not [one for one in tree.iter() if one.get("style") or one.get("onclick")]
    assert not list(tree.iter("style"))
