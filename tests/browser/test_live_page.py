"""The live page of a run of the command, in a browser: figures that change, and buttons that work."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.test_undo import call
from tests.browser.conftest import EXTREMES, LOOKS, OpenTab
from tests.conftest import ONE_BY_ONE, CommandLine, SimulatedPortal

if TYPE_CHECKING:
    import subprocess

Simulate = Callable[[str], SimulatedPortal]

PAIRS = 6000
MADE = 400
KEPT = 60


def made_before(bulklink: CommandLine, portal: SimulatedPortal) -> None:
    """A run of before, of whose links others have removed some; and a file that no longer has them."""
    rows = [f"{n},{contact}" for n in range(1, MADE + 1) for contact in (88, 89)]
    pairs = bulklink.folder / "pairs.csv"
    pairs.write_text("\n".join(["opportunity_id,contact_id", *rows, ""]))
    done = bulklink("run", "pairs.csv", "--portal", portal.url, "--run-id", "made", "--rate", "5000/s")
    assert done.returncode == 0
    call(portal, "DELETE", 1, 88)
    pairs.write_text("\n".join(["opportunity_id,contact_id", *rows[: 2 * KEPT : 2], ""]))


@contextmanager
def at_work(bulklink: CommandLine, portal: SimulatedPortal, verb: str = "run") -> Iterator[str]:
    """A verb that takes long; gives the address of its page. It is ended by the block's end."""
    pairs = bulklink.folder / "pairs.csv"
    if verb in {"verify", "rollback", "sync"}:
        made_before(bulklink, portal)
    if verb in {"run", "plan"}:
        rows = [f"{n},{999_999 if n % 4 == 0 else 88}" for n in range(1, PAIRS + 1)]
        pairs.write_text("\n".join(["opportunity_id,contact_id", *rows, "oops,88", ""]))
    what: tuple[str, ...] = (verb, "made") if verb in {"verify", "rollback"} else (verb, "pairs.csv")
    if verb == "sync":
        what += ("--prune", "own", "--allow-removals", str(KEPT))
    slowly = ("--rate", "20/s", "--dashboard-port", "0")
    alone = ONE_BY_ONE if verb == "run" else ("--transport", "single")
    run: subprocess.Popen[str] = bulklink.start(*what, "--portal", portal.url, *slowly, *alone)
    assert run.stderr is not None
    with run:
        found = re.fullmatch(r"live page: (http://127\.0\.0\.1:\d+/#\S+)\n", run.stderr.readline())
        assert found
        try:
            yield found[1]
        finally:
            run.terminate()
            run.communicate(timeout=30)
    assert run.returncode == 143


def test_the_page_is_right_in_all_looks_and_follows_the_run(
    open_tab: OpenTab, bulklink: CommandLine, simulate: Simulate
) -> None:
    with at_work(bulklink, simulate("calm")) as address:
        for width, scheme in LOOKS:
            with open_tab(width, scheme) as tab:
                tab.go(address)
                tab.page.wait_for_selector("text=At work")
                before = tab.page.inner_text("#now strong")
                tab.page.wait_for_function(
                    "was => document.querySelector('#now strong').textContent !== was", arg=before
                )
                tab.page.wait_for_selector("#pace svg")
                tab.kept(f"live-{width}-{scheme}")
                assert tab.too_wide() == 0, (width, scheme)
                assert tab.hard_to_use() == [], (width, scheme)
                assert tab.wrong == []
                assert {one.split("/")[2] for one in tab.asked if not one.startswith("data:")} == {
                    address.split("/")[2]
                }
                assert "#" not in tab.page.url  # the token is not left in the bar


@pytest.mark.parametrize(
    ("verb", "said", "states", "has_causes"),
    [
        ("verify", "links are looked for", "there", False),
        ("rollback", "links have their last word", "gone", True),
        ("plan", "pairs are compared with the portal", "not linked", False),
    ],
)
def test_other_verbs_have_the_same_page_and_show_what_they_count(
    open_tab: OpenTab,
    bulklink: CommandLine,
    simulate: Simulate,
    verb: str,
    said: str,
    states: str,
    has_causes: bool,
) -> None:
    with at_work(bulklink, simulate("calm"), verb) as address:
        for width, scheme in EXTREMES:
            with open_tab(width, scheme) as tab:
                tab.go(address)
                tab.page.wait_for_selector(f"#now >> text={said}")
                tab.page.wait_for_selector(f"#states >> text={states}")
                tab.page.wait_for_selector("#pace svg")
                tab.kept(f"live-{verb}-{width}-{scheme}")
                assert (tab.page.query_selector("#causes") is not None) == has_causes
                assert (tab.too_wide(), tab.hard_to_use(), tab.wrong) == (0, [], [])
                asked = {one.split("/")[2] for one in tab.asked if not one.startswith("data:")}
                assert asked == {address.split("/")[2]}
                tab.page.click("text=Pause")
                tab.page.wait_for_selector("text=Paused from this page.")
                tab.page.click("text=Resume")
                tab.page.wait_for_selector("text=At work")


def test_the_page_of_a_sync_goes_on_from_its_links_to_its_removals(
    open_tab: OpenTab, bulklink: CommandLine, simulate: Simulate
) -> None:
    with open_tab(390, "dark") as tab:
        with at_work(bulklink, simulate("calm"), "sync") as address:
            tab.go(address)
            tab.page.wait_for_selector("#now >> text=rows have their last word")
            tab.page.wait_for_selector("#now >> text=links that the file does not name have their last word")
            tab.page.wait_for_selector("#states >> text=removed")
            tab.kept("live-sync")
            tab.page.click("text=Pause")  # with the token of before
            tab.page.wait_for_selector("text=Paused from this page.")
            assert (tab.too_wide(), tab.hard_to_use()) == (0, [])
            # While one server took the place of the other, nobody answered.
            assert [one for one in tab.wrong if "net::ERR_" not in one] == []
        tab.page.wait_for_selector("text=The run has ended.")


def test_buttons_pause_resume_and_slow_it_down(
    open_tab: OpenTab, bulklink: CommandLine, simulate: Simulate
) -> None:
    portal = simulate("calm")
    with at_work(bulklink, portal) as address, open_tab() as tab:
        tab.go(address)
        tab.page.click("text=Pause")
        tab.page.wait_for_selector("text=Paused from this page.")
        tab.kept("live-paused")
        tab.page.wait_for_selector("#pace >> text=0 of")
        links = len(portal.links())
        tab.page.fill("#rate", "10/s")
        tab.page.click("text=Change the rate")
        tab.page.wait_for_selector("text=rate changed from the live page: 10/s")
        assert len(portal.links()) == links
        tab.page.reload()
        tab.page.click("text=Resume")
        tab.page.wait_for_selector("text=At work")
        tab.page.wait_for_selector("text=10.0 requests a second, at most 20/s")
        tab.page.fill("#rate", "500/s")
        tab.page.click("text=Change the rate")
        tab.page.wait_for_selector("text=500/s is more than 20/s")
        assert [one for one in tab.wrong if "422" not in one] == []


def test_without_the_token_the_page_shows_and_steers_nothing(
    open_tab: OpenTab, bulklink: CommandLine, simulate: Simulate
) -> None:
    with at_work(bulklink, simulate("calm")) as address, open_tab() as tab:
        tab.go(address.partition("#")[0])
        tab.page.wait_for_selector("text=At work")
        assert not tab.page.is_visible("#pause")
        assert "open the page by the address that it printed" in tab.words()


def test_at_the_end_the_page_says_so(open_tab: OpenTab, bulklink: CommandLine, simulate: Simulate) -> None:
    with open_tab(390, "dark") as tab:
        with at_work(bulklink, simulate("calm")) as address:
            tab.go(address)
            tab.page.wait_for_selector("text=At work")
        tab.page.wait_for_selector("text=It has ended: stopped by SIGTERM.")
        tab.page.wait_for_selector("text=The run has ended.")
        tab.kept("live-ended")
        assert not tab.page.is_visible("#pause")


@pytest.mark.parametrize("width", [320, 1280])
def test_without_scripts_the_page_still_tells_how_it_goes(
    chromium: object, bulklink: CommandLine, simulate: Simulate, width: int
) -> None:
    with at_work(bulklink, simulate("calm")) as address:
        context = chromium.new_context(java_script_enabled=False, viewport={"width": width, "height": 800})  # type: ignore[attr-defined]  # playwright's
        page = context.new_page()
        page.goto(address)
        assert "rows have their last word" in page.inner_text("body")
        assert "Load the page again for newer figures" in page.inner_text("body")
        context.close()
