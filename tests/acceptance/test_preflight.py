"""check --portal and a dry run: what they say of the portal, and that nothing is written there or here."""

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

ID = "293bb997-28d8-4be0-8547-6eb50add0001"
ROWS = "opportunity_id,contact_id\n" + "".join(f"{n},{n + 100}\n" for n in range(1, 41)) + "1,101\n"


def write(bulklink: "CommandLine", rows: str = ROWS) -> None:
    (bulklink.folder / "pairs.csv").write_text(rows)


def assert_only_read(portal: "SimulatedPortal") -> None:
    """By the portal's books: GETs, and batches of GETs."""
    books = portal.books()
    assert (books["posts"], books["stored"], books["removed"]) == (0, 0, 0)
    visits = portal.books("/visits")
    assert visits
    assert {(kind, method) for _, method, kind, *_ in visits} <= {
        ("members", "GET"),
        ("self", "GET"),
        ("opportunity", "GET"),
        ("contact", "GET"),
        ("batch", "POST"),
        ("nginx", "POST"),
    }


@pytest.mark.parametrize(
    ("product", "scenario", "way", "requests"),
    [
        ("CommunityServer", "calm", "many pairs in one request", 4),
        (
            "AppServer",
            "appserver",
            "a request for each pair (HTTP 405 request_not_accepted)",
            # The batch is asked for twice: by whoever chooses the way, and to say why.
            5 + 20,
        ),
    ],
)
@pytest.mark.parametrize("verb", [("check",), ("run", "-n")])
def test_all_that_a_run_needs_is_told_and_nothing_is_written(
    bulklink: "CommandLine",
    simulate: "Simulate",
    verb: tuple[str, ...],
    product: str,
    scenario: str,
    way: str,
    requests: int,
) -> None:
    portal = simulate(scenario)
    write(bulklink)
    done = bulklink(*verb, "pairs.csv", "--portal", portal.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-3:] == [
        f"{portal.url}: {product}, CRM visible, as Demo User (user@portal.example), an administrator",
        f"  {way}",
        "  sample: 10 opportunities there; 10 contacts there",
    ]
    assert portal.books()["requests"] == requests
    assert_only_read(portal)
    assert [one.name for one in bulklink.folder.iterdir()] == ["pairs.csv"]


@pytest.mark.parametrize("transport", ["single", "auto"])
def test_a_script_is_told_the_same_and_which_ids_are_missing(
    bulklink: "CommandLine", simulate: "Simulate", transport: str
) -> None:
    portal = simulate(
        "[portal]\nmissing_opportunities = [3]\nprivate_contacts = [8]\n[auth]\nlimited_token = 'other'\n"
    )
    write(bulklink, "deal,contact\n1,7\n2,8\n3,9\n")
    words = ("check", "pairs.csv", "--portal", portal.url, "--transport", transport)
    done = bulklink(*words, "--json", "-q", BULKLINK_TOKEN="other")
    told: dict[str, Any] = json.loads(done.stdout)["portal"]
    said = "bulklink: pairs.csv: exit code 3: 2 ids of the sample missing or hidden\n"
    assert (done.returncode, done.stderr, told.pop("requests")) == (3, said, portal.books()["requests"])
    assert told == {
        "url": portal.url,
        "error": "",
        "user": {"name": "Limited User", "email": "limited.user@portal.example", "is_admin": False, "id": ID},
        "product": "CommunityServer",
        "crm": True,
        "batch": True,
        "why_no_batch": "",
        "swapped": False,
        "sample": {
            "opportunities": {"there": [1, 2], "missing": [3], "untold": []},
            "contacts": {"there": [7, 9], "missing": [8], "untold": []},
        },
    }
    missing = (f"{one} missing or hidden (of 3 looked at)" for one in ("opportunity 3", "contact 8"))
    last = bulklink(*words, BULKLINK_TOKEN="other").stdout.splitlines()[-1]
    assert last == f"  sample: {'; '.join(missing)}"
    assert_only_read(portal)


def test_ids_that_are_there_only_the_other_way_round_are_said_to_be_swapped(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate("[portal]\nopportunities = 50\ncontacts = 5000\n")
    swapped = "".join(f"{n + 1000},{n}\n" for n in range(1, 41))
    write(bulklink, f"opportunity_id,contact_id\n{swapped}")
    done = bulklink("check", "pairs.csv", "--portal", portal.url)
    assert done.returncode == 3
    said = "swapped, all of the sample is there: are the two columns meant the other way? see --columns"
    assert done.stdout.splitlines()[-1] == f"  {said}"
    assert_only_read(portal)
    told = json.loads(bulklink("check", "pairs.csv", "--portal", portal.url, "--json").stdout)
    assert told["portal"]["swapped"] is True

    columns = "opportunity=contact_id,contact=opportunity_id"
    done = bulklink("check", "pairs.csv", "--portal", portal.url, "--columns", columns)
    assert done.returncode == 0
    write(bulklink, "opportunity_id,contact_id\n" + "".join(f"{n + 9000},{n}\n" for n in range(1, 41)))
    assert "swapped" not in bulklink("check", "pairs.csv", "--portal", portal.url).stdout


def test_when_nothing_of_the_sample_is_there_the_user_is_asked_whether_it_is_the_right_portal(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate("[portal]\nopportunities = 3\ncontacts = 3\n")
    write(bulklink)
    done = bulklink("check", "pairs.csv", "--portal", portal.url)
    assert done.returncode == 3
    assert done.stdout.splitlines()[-1].startswith("  sample: opportunities ")
    write(bulklink, "deal,contact\n8,9\n")
    done = bulklink("check", "pairs.csv", "--portal", portal.url)
    assert done.stdout.splitlines()[-1] == (
        "  none of the sample is there: is it the right portal, and the right user?"
    )


FORBIDDEN = '[[faults]]\nkind = "forbidden_403"\non = "get"\n'
CLOSED = '[[outages]]\nkind = "payment_402"\n'
SLOW = '[[outages]]\nkind = "status"\nstatus = 503\nretry_after = "900"\n'


@pytest.mark.parametrize(
    ("scenario", "variables", "code", "said"),
    [
        ("calm", {"BULKLINK_TOKEN": "bad"}, 6, "unauthorized"),
        ("calm", {"BULKLINK_TOKEN": ""}, 2, "no credentials"),
        (FORBIDDEN, {}, 6, "crm_not_allowed"),
        (CLOSED, {}, 6, "payment_required"),
        (SLOW, {}, 6, "asks to wait"),
    ],
)
def test_a_portal_that_would_not_do_is_one_clear_line_after_what_the_input_holds(
    bulklink: "CommandLine",
    simulate: "Simulate",
    scenario: str,
    variables: dict[str, str],
    code: int,
    said: str,
) -> None:
    portal = simulate(scenario)
    write(bulklink)
    words = ("check", "pairs.csv", "--portal", portal.url)
    done = bulklink(*words, **variables)
    assert (done.returncode, done.stderr.count("\n")) == (code, 1)
    assert said in done.stderr
    assert done.stdout.splitlines()[0] == "pairs.csv: 41 rows, 40 pairs, 1 duplicate"
    done = bulklink(*words, "--json", "-q", **variables)
    told = json.loads(done.stdout)
    assert (done.returncode, told["pairs"], told["portal"]["url"]) == (code, 40, portal.url)
    assert f"bulklink: {told['portal']['error']}\n" == done.stderr


def test_where_nothing_listens_is_told_within_seconds_and_an_input_that_is_none_comes_first(
    bulklink: "CommandLine",
) -> None:
    write(bulklink)
    done = bulklink("check", "pairs.csv", "--portal", "http://127.0.0.1:1")
    assert (done.returncode, done.stderr.count("\n")) == (6, 1)
    assert "no connection" in done.stderr
    done = bulklink("check", "nowhere.csv", "--portal", "http://127.0.0.1:1")
    assert (done.returncode, done.stdout, "nowhere.csv" in done.stderr) == (2, "", True)


def test_a_portal_that_is_only_in_the_environment_is_not_asked_by_check(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate("calm")
    write(bulklink)
    done = bulklink("check", "pairs.csv", "--json", BULKLINK_PORTAL=portal.url)
    assert (done.returncode, "portal" in json.loads(done.stdout)) == (0, False)
    assert portal.books()["requests"] == 0


def test_a_log_in_is_all_that_is_posted_by_who_has_no_token(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate("calm")
    write(bulklink)
    user = {"BULKLINK_USERNAME": "user@portal.example", "BULKLINK_PASSWORD": "demo-password"}
    done = bulklink("check", "pairs.csv", "--portal", portal.url, BULKLINK_TOKEN="", **user)
    assert (done.returncode, done.stderr) == (0, "")
    posted = [kind for _, method, kind, *_ in portal.books("/visits") if method == "POST"]
    assert posted[0] == "login"
    assert set(posted[1:]) == {"batch"}
    assert portal.books()["posts"] == 0
