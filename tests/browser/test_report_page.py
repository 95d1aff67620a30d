"""report.html in a browser: whatever became of a run, on any screen, also without style and script."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import EXTREMES, LOOKS, OpenTab
from tests.unit.report.test_html import FIGURES, HOSTILE, report
from tests.unit.report.test_summary import ROLLBACK, VERIFY
from worker.models import Status
from worker.report.html import write_html

JENKINS = "sandbox; default-src 'none'; style-src 'self'"
"""The policy that Jenkins sends with files of a build: no script runs, and no style that is in the page."""

LONG = "x" * 400 + HOSTILE
_PLAIN = report().model_dump()

PAGES: dict[str, dict[str, Any]] = {
    "finished": {},
    "fine": {
        "status": "completed",
        "exit_code": 0,
        "message": "",
        "causes": (),
        "counts": {"rows": 8000, **dict.fromkeys(map(str, Status), 0), "linked": 8000},
    },
    "rolled back": {"status": "rolled_back", "rollback": ROLLBACK, "verify": VERIFY},
    "retry": {"parent": "sunday", "retries": ("tuesday", "wednesday")},
    "merged": {"input": {**_PLAIN["input"], "kind": "merged", "name": "2 runs"}},
    "queue": {"input": {**_PLAIN["input"], "kind": "queue", "name": "redis://localhost:6379/0?stream=links"}},
    "hostile": {
        "run_id": LONG,
        "portal": LONG,
        "message": LONG,
        "input": {**_PLAIN["input"], "name": LONG},
        "causes": ({**_PLAIN["causes"][0], "reason": LONG, "hint": LONG},),
    },
}


def written(folder: Path, page: str) -> Path:
    path = folder / "report.html"
    write_html(report(**PAGES[page]), FIGURES, {"utc_offset": 60}, path)
    return path


@contextmanager
def served(folder: Path, policy: str) -> Iterator[str]:
    """The folder on a port of this machine, each file with a policy."""

    class Server(http.server.SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            self.send_header("Content-Security-Policy", policy)
            super().end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as in the standard library
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("page", PAGES)
def test_the_page_is_right_on_small_and_large_screens_in_light_and_dark(
    open_tab: OpenTab, tmp_path: Path, page: str
) -> None:
    path = written(tmp_path, page)
    for width, scheme in LOOKS if page in {"finished", "hostile"} else EXTREMES:
        with open_tab(width, scheme) as tab:
            tab.go(path.as_uri())
            tab.kept(f"report-{page}-{width}-{scheme}")
            assert tab.too_wide() == 0, (width, scheme)
            assert tab.hard_to_use() == [], (width, scheme)
            assert tab.wrong == []
            assert tab.asked == [path.as_uri()]


@pytest.mark.parametrize("width", [320, 1280])
def test_the_page_reads_under_the_policy_of_jenkins(open_tab: OpenTab, tmp_path: Path, width: int) -> None:
    written(tmp_path, "rolled back")
    with served(tmp_path, JENKINS) as address, open_tab(width) as tab:
        tab.go(f"{address}/report.html")
        tab.kept(f"jenkins-{width}")
        words = tab.words()
        for said in (
            "Rolled back: 2 removed, 1 kept",
            "already linked 1,000",
            "1,000 x not_found (HTTP 404)",
            "3 links claimed, 1 missing",
            "Links a second over the time at work",
        ):
            assert said in words, said
        # Figures stand at the right, and bars and lines have their colours, also without a style.
        assert tab.page.evaluate("getComputedStyle(document.querySelector('td.n')).textAlign").endswith(
            "right"
        )
        drawn = "[...document.querySelectorAll('rect')].map(one => getComputedStyle(one).fill)"
        assert {"rgb(26, 135, 84)", "rgb(192, 57, 43)"} <= set(tab.page.evaluate(drawn))
        assert not tab.page.query_selector("button")  # which only a script would have made
        assert {one.split("/")[2] for one in tab.asked} == {address.split("/")[2]}


def test_what_to_type_next_is_copied_by_a_button(open_tab: OpenTab, tmp_path: Path) -> None:
    path = written(tmp_path, "finished")
    with served(tmp_path, "") as address, open_tab() as tab:
        tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        tab.go(f"{address}/{path.name}")
        tab.page.click("button >> nth=0")
        tab.page.wait_for_selector("text=Copied")
        copied = tab.page.evaluate("navigator.clipboard.readText()")
        assert copied == "bulklink retry monday"
        assert tab.wrong == []
