"""What can go wrong with a batch, as scenario data, over a socket."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote

import pytest

from worker.simulator import Fault, Holdings, Latency, Portal, Scenario

Answer = tuple[str, dict[str, str], bytes]
Ask = Callable[..., Coroutine[None, None, Answer]]
Post = Callable[..., Coroutine[None, None, Answer]]

LINK = "/api/2.0/crm/opportunity/1/contact/"


@pytest.fixture
def post(portal: Portal, ask: Ask) -> Post:
    """Send a batch that links these contacts to opportunity 1, and looks at its members at the end."""

    async def send(*contacts: int) -> Answer:
        items: list[dict[str, Any]] = [
            {"name": f"{one}", "relativeUrl": f"{LINK}{one}?fields=id", "method": "POST", "body": "_=1"}
            for one in contacts
        ]
        body = f"batch={quote(json.dumps(items))}".encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return await ask(portal, "POST", "/api/2.0/batch?fields=name,status,data", headers, body)

    return send


def toml(text: str) -> tuple[Fault, ...]:
    return Scenario.from_toml(f"[[faults]]\n{text}").faults


def linked(portal: Portal) -> list[int]:
    return sorted(portal.books.members(1))


def shown(answer: Answer) -> list[Any]:
    found: list[Any] = json.loads(answer[2])["response"]
    return found


@pytest.mark.parametrize(
    ("text", "status", "done"),
    [
        ("kind = 'doubled_envelope'\nitems_done = 2", "500 Server error", [1, 2]),
        ("status = 502\nbody = 'html'\nitems_done = 3", "502 Bad Gateway", [1, 2, 3]),
        ("status = 502\nbody = 'html'\nitems_done = 99", "502 Bad Gateway", [1, 2, 3, 4, 5]),
        ("status = 504\nbody = 'html'\nafter_store = true", "504 Gateway Timeout", [1, 2, 3, 4, 5]),
        ("status = 403\nbody = 'html'", "403 Forbidden", []),
        ("status = 404\nbody = 'html'", "404 Not Found", []),
        ("kind = 'html_200'", "200 OK", []),
        ("kind = 'empty_201'\nafter_store = true", "201 Created", [1, 2, 3, 4, 5]),
        ("kind = 'doubled_envelope'\nonly = [[1, 3]]", "500 Server error", [1, 2]),
        ("status = 500\nonly = [[1, 3]]\nafter_store = true", "500 Server error", [1, 2, 3, 4, 5]),
        ("status = 500\nonly = [[2, 3]]", "201 Created", [1, 2, 3, 4, 5]),
        ("kind = 'status'\nshare = 0.0", "201 Created", [1, 2, 3, 4, 5]),
    ],
)
async def test_a_batch_goes_wrong_as_a_whole_with_as_much_done_as_it_says(
    portal: Portal, post: Post, text: str, status: str, done: list[int]
) -> None:
    portal.faults = toml(f"on = 'batch'\n{text}")
    got, _, body = await post(1, 2, 3, 4, 5)

    assert (got, linked(portal)) == (status, done)
    assert portal.books.visits[-1].items == portal.books.items == len(done)
    if "doubled" in text:
        assert body[: len(body) // 2] == body[len(body) // 2 :]


async def test_how_much_is_done_can_be_left_to_the_seed(portal: Portal, post: Post) -> None:
    portal.faults = toml("on = 'batch'\nstatus = 502\nitems_done = -1")

    async def counts() -> list[int]:
        portal.reset()
        found = []
        for _ in range(12):
            before = portal.books.items
            await post(1, 2, 3, 4, 5)
            found.append(portal.books.items - before)
        return found

    first = await counts()
    assert len(set(first)) > 2
    assert set(first) <= set(range(6))
    assert await counts() == first


async def test_a_connection_that_is_reset_leaves_a_part_done(portal: Portal, post: Post) -> None:
    portal.faults = toml("on = 'batch'\nkind = 'reset'\nitems_done = 2")
    with pytest.raises(ConnectionResetError):
        await post(1, 2, 3)

    assert linked(portal) == [1, 2]


async def test_a_truncated_batch_is_done_and_half_told(portal: Portal, post: Post) -> None:
    portal.faults = toml("on = 'batch'\nkind = 'truncated'")
    _, headers, body = await post(1, 2, 3)

    assert 0 < len(body) < int(headers["content-length"])
    assert linked(portal) == [1, 2, 3]


NAMES = ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("text", "names", "contacts"),
    [
        ("kind = 'null_item'\nitem = 2", ["1", None, "3", "4"], [1, None, 3, 4]),
        ("kind = 'missing_item'\nitem = 2", ["1", "3", "4"], [1, 3, 4]),
        ("kind = 'missing_item'\nitem = 9", ["1", "2", "3"], [1, 2, 3]),
        ("kind = 'extra_item'\nitem = 2", ["1", "2", "2", "3", "4"], [1, 2, 2, 3, 4]),
        ("kind = 'permuted_items'", ["2", "3", "4", "1"], [2, 3, 4, 1]),
        ("kind = 'renamed_item'\nitem = 4", ["1", "2", "3", "nobody"], [1, 2, 3, 4]),
        ("kind = 'swapped_names'", ["2", "3", "4", "1"], [1, 2, 3, 4]),
        ("kind = 'broken_item'\nitem = 1", NAMES, [None, 2, 3, 4]),
        ("kind = 'cut_items'\nitem = 3", ["1", "2", "3"], [1, 2, 3]),
    ],
)
async def test_the_list_of_results_is_bent_while_all_is_done(
    portal: Portal, post: Post, text: str, names: list[str | None], contacts: list[int | None]
) -> None:
    portal.faults = toml(f"on = 'batch'\n{text}")
    answer = await post(1, 2, 3, 4)

    assert answer[0] == "201 Created"
    assert [one and one["name"] for one in shown(answer)] == names
    assert [contact_of(one) for one in shown(answer)] == contacts
    assert linked(portal) == [1, 2, 3, 4]


def contact_of(result: dict[str, str] | None) -> int | None:
    try:
        number: int | None = json.loads(result["data"])["response"]["id"] if result else None
    except json.JSONDecodeError:
        return None
    return number


async def test_a_cut_list_says_how_long_it_was(portal: Portal, post: Post) -> None:
    portal.faults = toml("on = 'batch'\nkind = 'cut_items'\nitem = 3")
    body = json.loads((await post(1, 2, 3, 4))[2])

    assert (body["count"], body["total"]) == (3, 4)


async def test_which_result_is_bent_can_be_left_to_the_seed(portal: Portal, post: Post) -> None:
    portal.faults = toml("on = 'batch'\nkind = 'null_item'")
    places = [shown(await post(1, 2, 3, 4)).index(None) for _ in range(10)]
    portal.reset()

    assert len(set(places)) > 2
    assert [shown(await post(1, 2, 3, 4)).index(None) for _ in range(10)] == places


@pytest.mark.parametrize(
    ("text", "said", "stored"),
    [
        ("status = 500", (500, None), False),
        ("status = 500\nafter_store = true", (500, None), True),
        ("kind = 'wrong_id'", (201, 3), False),
        ("kind = 'odd_body'", (201, 2), True),
        ("kind = 'internal_403'", (403, None), False),
        ("kind = 'forbidden_403'", (403, None), False),
    ],
)
async def test_what_the_api_may_answer_alone_hits_items_as_well(
    portal: Portal, post: Post, text: str, said: tuple[int, int | None], stored: bool
) -> None:
    portal.faults = toml(f"only = [[1, 2]]\n{text}")
    items = shown(await post(1, 2, 3))
    body = json.loads(items[1]["data"])

    assert [items[0]["status"], items[2]["status"]] == [201, 201]
    assert (items[1]["status"], body.get("response", {}).get("id")) == said
    assert (2 in linked(portal)) is stored


@pytest.mark.parametrize(
    "text",
    ["kind = 'reset'", "status = 502\nbody = 'html'", "kind = 'closed_503'", "kind = 'truncated'"],
)
async def test_what_a_proxy_or_a_connection_does_hits_no_item(portal: Portal, post: Post, text: str) -> None:
    portal.faults = toml(text)

    assert [one["status"] for one in shown(await post(1, 2))] == [201, 201]


async def test_any_is_any_whole_request(portal: Portal, post: Post, ask: Ask) -> None:
    portal.faults = toml("on = 'any'\nstatus = 500")
    answers = [await post(1, 2), await ask(portal, "GET", "/api/2.0/crm/contact/7")]

    assert [status[:3] for status, _, _ in answers] == ["500", "500"]
    assert linked(portal) == []


async def test_who_is_hit_is_the_same_alone_and_in_a_batch(portal: Portal, post: Post, ask: Ask) -> None:
    """So that one faulty portal can be asked both ways."""
    portal.scenario = Scenario(seed=3, faults=toml("status = 500\nshare = 0.4"))
    alone = [int((await ask(portal, "POST", f"{LINK}{one}"))[0][:3]) for one in range(100, 130)]
    portal.reset()
    together = [one["status"] for one in shown(await post(*range(100, 130)))]

    assert together == alone
    assert set(alone) == {201, 500}


async def test_a_fault_begins_with_its_post_also_inside_a_batch(portal: Portal, post: Post) -> None:
    portal.faults = toml("status = 500\nafter = 2\nuntil = 3")

    assert [one["status"] for one in shown(await post(1, 2, 3, 4))] == [201, 500, 500, 201]


async def test_monos_400_is_a_page_for_one_spelling_only(portal: Portal, post: Post, ask: Ask) -> None:
    """Contract 10.4: the same pair passes under another spelling, and in a batch."""
    portal.faults = toml("status = 400\nbody = 'html'\nextension = ''\nonly = [[1, 7]]")
    bare = await ask(portal, "POST", f"{LINK}7")
    spelt = await ask(portal, "POST", f"{LINK}7.json")

    assert (bare[0], bare[1]["content-type"]) == ("400 Bad Request", "text/html")
    assert spelt[0] == "201 Created"
    assert [one["status"] for one in shown(await post(7))] == [201]


@pytest.mark.parametrize(("after_store", "early"), [(True, [1, 2]), (False, [])])
async def test_a_slow_batch_is_done_before_or_after_its_wait(
    portal: Portal, post: Post, after_store: bool, early: list[int]
) -> None:
    portal.faults = (Fault(on="batch", kind="slow", delay=0.2, after_store=after_store),)
    asking = asyncio.create_task(post(1, 2))
    await asyncio.sleep(0.1)
    stored_early = linked(portal)
    status, _, _ = await asking

    assert (status, stored_early, linked(portal)) == ("201 Created", early, [1, 2])


async def test_a_read_in_a_batch_can_lose_the_race_of_filters(ask: Ask) -> None:
    """Contract 10.5: outside and inside run at the same time."""
    chosen = f"{LINK[:-1]}?filterBy=id&filterOp=equals&filterValue=7"
    batch = f"/api/2.0/batch?batch={quote(json.dumps([{'relativeUrl': chosen}]))}"
    holdings = Holdings(linked=frozenset({(1, 7)}))
    async with Portal(Scenario(portal=holdings, latency=Latency(compile_seconds=0.1))) as portal:
        first = asyncio.create_task(ask(portal, "GET", chosen))
        await asyncio.sleep(0.03)
        lost = shown(await ask(portal, "GET", batch))
        await first
        later = shown(await ask(portal, "GET", batch))

    assert [lost[0]["status"], later[0]["status"]] == [500, 200]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[faults]]\nkind = 'null_item'", "faults[0]: 'kind' null_item needs on = 'batch'"),
        ("[[faults]]\nitems_done = 3", "faults[0]: 'item' and 'items_done' need on = 'batch'"),
        ("[[faults]]\non = 'post'\nitem = 3", "faults[0]: 'item' and 'items_done' need on = 'batch'"),
        ("[[outages]]\nkind = 'cut_items'", "outages[0]: 'kind' cut_items is for faults on batches only"),
        ("[[faults]]\nextension = '.foo'", "'faults[0].extension' must be one of 'any', '', '.json', '.xml'"),
    ],
)
def test_a_fault_that_could_never_happen_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"\S") as caught:
        Scenario.from_toml(text)

    assert said in str(caught.value)


async def test_a_list_of_which_nothing_was_carried_out_cannot_be_cut(portal: Portal, post: Post) -> None:
    portal.faults = toml("on = 'batch'\nkind = 'cut_items'\nitems_done = 0")

    status, _, body = await post(1, 2)

    assert (status, json.loads(body)["response"], linked(portal)) == ("201 Created", [], [])
