"""Rows that are in the ledger as the input of a run: nothing is read."""

from pathlib import Path

import pytest

from worker.host import claim
from worker.host.claims import Taken
from worker.ledger import Ledger
from worker.models import Row
from worker.supply.admitted import AdmittedInput
from worker.tally import RunTally


async def test_pairs_come_from_the_ledger_and_the_input_is_named(tmp_path: Path) -> None:
    begins: list[int] = []

    async def begun() -> None:
        begins.append(1)

    plan = AdmittedInput(
        tmp_path / "p", {"input_name": "pairs.csv", "input_kind": "plan"}, look_first=True, begun=begun
    )
    assert plan.facts == {"input_path": str(tmp_path / "p"), "input_name": "pairs.csv", "input_kind": "plan"}
    async with Ledger(tmp_path / "ledger.db", create=True) as ledger:
        await ledger.begin_session()
        await ledger.admit([(Row(1, 2, ("1", "7"), "1", "7"), 1 << 32 | 7)])
        assert begins == []
        supply = await plan.open(ledger, RunTally(), print)
        assert begins == [1]
        await supply.read()
        assert [(pair.row, pair.key) for pair in await supply.take(10)] == [(1, 1 << 32 | 7)]
        assert list(await supply.take(10)) == []
        await supply.close()
    plan.close()


def test_who_claimed_the_input_lets_others_have_it_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("1,2\n")

    def take() -> object:
        return claim(tmp_path / "host", "portal", tmp_path / "pairs.csv", {})

    (tmp_path / "host").mkdir(mode=0o700)
    held = claim(tmp_path / "host", "portal", tmp_path / "pairs.csv", {})
    plan = AdmittedInput(tmp_path / "p", {"input_name": "pairs.csv"}, look_first=True, claim=held)
    with pytest.raises(Taken):
        take()
    plan.close()
    take()
