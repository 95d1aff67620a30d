"""A plan is known by its name and how it begins; everything else is an input."""

from pathlib import Path

import pytest

from worker.errors import UsageError
from worker.run.plan_file import is_plan


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("plan.json", '{\n  "schema_version": 1,\n  "plan_id": "p",\n', True),
        ("other.json", '{"plan_id": ', True),
        ("pairs.json", '{"opportunity_id": 1, "contact_id": 2}\n', False),
        ("pairs.jsonl", '{"plan_id": "p"}', False),
        ("pairs.csv", '"plan_id",opportunity_id,contact_id\n', False),
    ],
)
def test_a_plan_says_that_it_is_one(tmp_path: Path, name: str, text: str, *, expected: bool) -> None:
    (tmp_path / name).write_text(text)
    assert is_plan(str(tmp_path / name)) is expected


def test_what_cannot_be_read_is_left_to_who_reads_it(tmp_path: Path) -> None:
    assert not is_plan("-")
    assert not is_plan(str(tmp_path / "none.json"))
    (tmp_path / "folder.json").mkdir()
    assert not is_plan(str(tmp_path / "folder.json"))


def test_a_plan_whose_file_is_gone_can_be_made_again_and_that_is_told(tmp_path: Path) -> None:
    assert not is_plan(str(tmp_path / "plan.json"))
    (tmp_path / "ledger.db").touch()
    with pytest.raises(UsageError, match=f"'bulklink report {tmp_path.name}' makes it again"):
        is_plan(str(tmp_path / "plan.json"))
