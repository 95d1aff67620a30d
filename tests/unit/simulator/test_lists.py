import pytest

from worker.simulator import Holdings, lists
from worker.simulator.lists import Query
from worker.simulator.people import People

VIEW = People(Holdings()).listed
IDS = list(range(1, 1501))


def test_a_lone_value_is_split_at_commas_but_not_in_brackets() -> None:
    """Contract 5.3: ``filterValue=Acme, Inc.`` searches for Acme."""
    assert Query("a=x,y").values("a") == ["x", "y"]
    assert Query("a[]=x,y").values("A") == ["x,y"]
    assert Query("a=x,y&a=z").values("a") == ["x,y", "z"]
    assert Query("fields=id, displayName").fields == {"id", " displayname"}


@pytest.mark.parametrize(
    ("query", "shown", "start", "following", "total"),
    [
        ("", 1000, 0, 1001, 1500),
        ("count=5000", 1000, 0, 1001, 1500),
        ("count=x&startIndex=-1", 1000, 0, 1001, 1500),
        ("count=0", 1500, 0, None, 1500),
        ("count=500&startIndex=1000", 500, 1000, None, 1500),
        ("count=400&startIndex=1000", 400, 1000, 1401, 1500),
        ("count=10&startIndex=9999", 0, 9999, None, 1500),
    ],
)
def test_a_loaded_list_is_paged_in_memory(
    query: str, shown: int, start: int, following: int | None, total: int | None
) -> None:
    page = lists.cut_in_memory(IDS, Query(query))

    assert (len(page.ids), page.start, page.following, page.total) == (shown, start, following, total)


def test_a_list_without_a_limit_names_its_total_unless_it_is_empty() -> None:
    """Contract 10.5."""
    assert lists.cut_in_memory([7], Query("count=0")).total == 1
    assert lists.cut_in_memory([], Query("count=0")).total is None


def test_a_filter_route_always_names_its_total_and_takes_zero_for_one() -> None:
    page = lists.cut_in_sql(IDS, Query("count=0"))

    assert (page.ids, page.total) == ([1], 1500)
    assert lists.cut_in_sql([], Query("")).total == 0


@pytest.mark.parametrize(
    ("query", "chosen"),
    [
        ("filterBy=id&filterOp=equals&filterValue=12,34,9999", [12, 34]),
        ("filterBy=id&filterValue=12", [12]),
        (
            "filterBy=ID&filterOp=startsWith&filterValue=149&sortBy=id&sortOrder=descending",
            [*range(1499, 1489, -1), 149],
        ),
        ("filterBy=displayName&filterOp=endsWith&filterValue=CT 1234", [1234]),
        ("filterBy=displayName&filterOp=contains&filterValue[]=ny 1495", [1495]),
        ("filterBy=displayName&filterOp=present&filterValue[]=NY 1495", []),
        (
            "filterBy=taskCount&filterOp=equals&filterValue=3&type=company&sortBy=id&sortOrder=Descending&x",
            "late companies",
        ),
        ("filterBy=nothing&filterValue=1", []),
        ("filterBy=id&filterOp=equals&filterValue=", IDS),
        ("filterBy=id&filterOp=equals&filterValue=,", IDS),
        ("filterBy=id&filterOp=equals&filterValue=,12", [12]),
    ],
)
def test_lists_are_filtered_and_sorted_by_member(query: str, chosen: list[int] | str) -> None:
    expected = [one for one in IDS if one % 4 == 3 and one % 5 == 0] if chosen == "late companies" else chosen

    assert lists.choose(IDS, Query(query), VIEW) == expected


def test_an_unknown_sort_field_leaves_the_order() -> None:
    assert lists.choose([3, 1, 2], Query("sortBy=nothing"), VIEW) == [3, 1, 2]
    assert lists.choose([3, 1, 2], Query("sortBy=isCompany,displayName"), VIEW) == [1, 2, 3]
