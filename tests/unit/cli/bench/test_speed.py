"""What the bench makes of its measurements; that it measures is shown with a small run of everything."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from worker.cli.bench import speed
from worker.cli.bench.measured import Measured, Stub, some_pairs
from worker.cli.bench.speed import BARE, BATCHES, CURL, SINGLE, WORK, Row, _contenders, _ratios, _row, table

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command


def a_row(name: str, pairs_per_second: float, *, cpu: float = 100.0, busy: float = 0.1) -> Row:
    return Row(name, 1000, 1.0, 1.0, pairs_per_second, cpu, pairs_per_second, 50.0, busy)


def test_what_the_few_took_is_taken_off_once() -> None:
    few = Measured(100, 1.0, 0.8, 60.0, 101, 0.01, 0.1)
    many = Measured(10_100, 3.0, 2.8, 70.0, 10_101, 0.51, 2.0)

    row = _row("single", few, many)

    assert row.pairs_per_second == pytest.approx(10_100 / 3)
    assert row.cpu_us_per_pair == pytest.approx(2.8e6 / 10_100)
    assert row.net_pairs_per_second == pytest.approx(5000)
    assert row.net_cpu_us_per_pair == pytest.approx(200)
    assert row.net_requests_per_second == pytest.approx(5000)
    assert row.stub_busy == pytest.approx(0.25)
    assert row.peak_mb == 70.0


def test_what_is_too_short_to_be_measured_is_no_figure() -> None:
    few, many = Measured(100, 1.0, 0.8, 60.0, 101, 0.01, 0.1), Measured(200, 1.1, 0.9, 70.0, 201, 0.02, 0.1)
    rows = {name: _row(name, few, many) for name in (BARE, SINGLE, BATCHES)}

    ratios = list(_ratios(rows, {SINGLE: 50.0, BATCHES: 4000.0}))

    assert rows[SINGLE].net_pairs_per_second is None
    assert [(ratio.value, ratio.holds) for ratio in ratios if "50" not in ratio.name] == 6 * [(None, None)]
    lines = table(
        {
            "rows": list(map(asdict, rows.values())),
            "limited": {SINGLE: 1.0, BATCHES: 1.0},
            "ratios": list(map(asdict, ratios)),
        }
    )
    assert lines[2].split()[2:] == ["200", "182", "4,500", "-", "-", "-", "70", "-"]
    assert sum("too short to tell" in line for line in lines) == 5


def test_the_ratios_are_of_what_was_measured_and_are_told_with_their_goals() -> None:
    rows = {
        BARE: a_row(BARE, 2000),
        CURL: a_row(CURL, 9000),
        SINGLE: a_row(SINGLE, 1500, busy=0.25),
        BATCHES: a_row(BATCHES, 9000, cpu=45.0),
        WORK: a_row(WORK, 750, cpu=120.0),
    }
    limited = {SINGLE: 50.0, BATCHES: 4000.0}

    found = {ratio.name: (ratio.value, ratio.holds) for ratio in _ratios(rows, limited)}

    assert found == {
        "single / bare aiohttp, pairs/s": (0.75, True),
        "single / bare aiohttp, CPU us/pair": (1.0, None),
        "batch / single, pairs/s": (6.0, True),
        "batch / curl -Z, pairs/s": (1.0, False),
        "batch, CPU us/pair": (45.0, True),
        "batch / single at 50 requests/s, pairs/s": (80.0, True),
        "stub / single, requests/s": (4.0, False),
        "stub / batch, requests/s": (10.0, True),
        "work / single, pairs/s": (0.5, None),
        "work / single, CPU us/pair": (1.2, None),
    }
    without = list(_ratios({name: rows[name] for name in (BARE, SINGLE, BATCHES)}, limited))
    assert not [ratio.name for ratio in without if "curl" in ratio.name or "work" in ratio.name]


def test_curl_is_left_out_where_there_is_none_and_queues_are_measured_when_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    told: list[str] = []

    contenders = list(_contenders(Stub("http://stub"), 4, "redis://:pass@broker", told.append))

    assert told == ["curl is not on the PATH: left out"]
    assert [one.name for one in contenders][-2:] == ["publish", "work, single"]
    assert {one.queue for one in contenders[:-2]} == {None}
    for one in contenders:
        words = one.words(tmp_path / "pairs.csv", 10)
        assert "pass" not in " ".join(words)  # a list of processes shows them
        if "run" in words or "work" in words:
            assert {"--transport", "--existing"} <= set(words)


def test_no_pair_is_made_twice() -> None:
    assert len(set(some_pairs(120_000))) == 120_000


@pytest.mark.long
def test_the_bench_measures_every_contender_and_tells_ratios_with_goals(
    command: "Command", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small: figures mean nothing here, but each contender made its links, or it would be an error."""
    monkeypatch.setattr(speed, "FEW", 10)
    monkeypatch.setattr(speed, "_LIMITED_SINGLE", 10)
    monkeypatch.setattr(speed, "_LIMITED_BATCH", 200)

    done = command("bench", "--pairs", "200", "--json")

    assert done.code == 0, done.err
    result = json.loads(done.out)
    curl = ["curl -Z"] if shutil.which("curl") else []
    names = ["bare aiohttp", *curl, "single", "single, looking", "batch", "batch, looking"]
    assert [(row["name"], row["pairs"]) for row in result["rows"]] == [
        (name, 1000 if name.startswith("batch") else 200) for name in names
    ]
    assert all(row["peak_mb"] > 10 and row["cpu_us_per_pair"] > 0 for row in result["rows"])
    assert [ratio["goal"] for ratio in result["ratios"]] == [
        0.7,
        None,
        6,
        *([1] if curl else []),
        50,
        40,
        5,
        5,
    ]
    assert all(
        (ratio["holds"] is None) == (None in (ratio["value"], ratio["goal"])) for ratio in result["ratios"]
    )
    assert 0 < result["limited"]["single"] < 80
    lines = table(result)
    assert [line[:16].strip() for line in lines[2 : 2 + len(names)]] == names
    assert sum("goal" in line for line in lines[-len(result["ratios"]) :]) == len(result["ratios"]) - 1
