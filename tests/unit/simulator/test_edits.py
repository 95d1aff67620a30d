"""What others do meanwhile: when it happens, and what the portal shows of it."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from worker.simulator import Books, Edit, Holdings, Portal, Scenario
from worker.simulator.edits import Others

Ask = Callable[..., Awaitable[tuple[str, dict[str, str], bytes]]]

CRM = "/api/2.0/crm"
HELD = frozenset({(2, 7), (2, 9), (3, 7)})


def others(*edits: Edit) -> tuple[Others, Books]:
    books = Books(HELD)
    return Others(edits, books), books


def test_an_edit_is_made_just_before_its_call_and_once() -> None:
    made, books = others(
        Edit(do="unlink", opportunity=2, contact=7, at_call=2), Edit(opportunity=4, contact=1)
    )

    made.called(10.0)
    assert (books.edits, books.links()) == (1, [(2, 7), (2, 9), (3, 7), (4, 1)])

    made.called(10.0)
    assert (books.edits, books.links()) == (2, [(2, 9), (3, 7), (4, 1)])

    books.link(2, 7)
    made.called(10.0)
    assert (books.edits, books.holds(2, 7)) == (2, True)


def test_an_edit_after_some_time_counts_from_the_first_call_and_shows_without_another() -> None:
    made, books = others(
        Edit(opportunity=4, contact=1, after_seconds=5.0),
        Edit(opportunity=4, contact=2, after_seconds=5.0, at_call=2),
    )

    made.catch_up(100.0)
    made.called(200.0)
    made.catch_up(204.9)
    assert books.edits == 0

    made.catch_up(205.0)
    assert (books.edits, books.members(4)) == (1, [1])

    made.called(206.0)
    assert sorted(books.members(4)) == [1, 2]


def test_what_others_link_and_unlink_is_not_counted_as_asked_for() -> None:
    made, books = others(Edit(opportunity=4, contact=1), Edit(do="unlink", opportunity=2, contact=7))

    made.called(0.0)

    assert (books.stored, books.created, books.removed, books.posts) == (0, 0, 0, 0)
    assert books.summary()["edits"] == 2


def test_what_is_deleted_takes_its_links_with_it_and_what_is_hidden_keeps_them() -> None:
    made, books = others(
        Edit(do="delete", contact=7),
        Edit(do="hide", opportunity=2, at_call=2),
        Edit(do="show", opportunity=2, at_call=3),
        Edit(do="delete", opportunity=2, at_call=4),
    )

    made.called(0.0)
    assert (books.links(), made.sees_contact(7), made.sees_contact(9)) == ([(2, 9)], False, True)

    made.called(0.0)
    assert (books.links(), made.sees_opportunity(2)) == ([(2, 9)], False)

    made.called(0.0)
    assert made.sees_opportunity(2)

    made.called(0.0)
    assert (books.links(), made.sees_opportunity(2)) == ([], False)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ({"do": "link", "contact": 7}, "'do' link needs 'opportunity' and 'contact'"),
        ({"do": "unlink", "opportunity": 7}, "'do' unlink needs 'opportunity' and 'contact'"),
        ({"do": "hide"}, "'do' hide needs either 'opportunity' or 'contact'"),
        ({"do": "delete", "opportunity": 7, "contact": 7}, "either"),
    ],
)
def test_an_edit_about_nothing_or_too_much_is_refused(edit: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Edit(**edit)


async def test_the_next_call_sees_what_was_done_and_nobody_sees_what_is_hidden(ask: Ask) -> None:
    edits = (
        Edit(do="hide", contact=9, at_call=2),
        Edit(do="hide", opportunity=3, at_call=2),
        Edit(do="delete", contact=7, at_call=4),
    )
    async with Portal(Scenario(portal=Holdings(linked=HELD), edits=edits)) as portal:

        async def members() -> list[int]:
            _, _, body = await ask(portal, "GET", f"{CRM}/opportunity/2/contact?fields=id")
            return sorted(one["id"] for one in json.loads(body)["response"])

        assert await members() == [7, 9]
        assert await members() == [7]
        status, *_ = await ask(portal, "GET", f"{CRM}/opportunity/3/contact")
        assert status.startswith("404")
        assert await members() == []
        for method, path in (("POST", "opportunity/2/contact/9"), ("GET", "contact/7"), ("GET", "contact/9")):
            status, *_ = await ask(portal, method, f"{CRM}/{path}")
            assert status.startswith("404")
        _, _, body = await ask(portal, "GET", f"{CRM}/contact/filter?sortBy=id&count=10&fields=id")
        assert [one["id"] for one in json.loads(body)["response"]] == [1, 2, 3, 4, 5, 6, 8, 10, 11, 12]
        assert portal.books.links() == [(2, 9)]


async def test_a_scenario_starts_with_its_edits_again(ask: Ask) -> None:
    async with Portal(Scenario(edits=(Edit(opportunity=1, contact=1, at_call=1),))) as portal:
        for _ in range(2):
            await ask(portal, "GET", f"{CRM}/contact/1")
            assert (portal.books.edits, portal.books.links()) == (1, [(1, 1)])
            portal.reset()
            assert (portal.books.edits, portal.books.links()) == (0, [])


def test_edits_are_read_from_a_scenario() -> None:
    text = (
        '[[edits]]\ndo = "hide"\ncontact = 7\nat_call = 3\n'
        "[[edits]]\nopportunity = 1\ncontact = 2\nafter_seconds = 1.5\n"
    )

    assert Scenario.from_toml(text).edits == (
        Edit(do="hide", contact=7, at_call=3),
        Edit(opportunity=1, contact=2, after_seconds=1.5),
    )
    with pytest.raises(ValueError, match=r"edits\[0\]: 'do' hide needs either"):
        Scenario.from_toml('[[edits]]\ndo = "hide"\n')
