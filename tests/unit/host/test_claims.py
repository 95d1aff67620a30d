"""The same input at the same portal is claimed by one, however it is named."""

import os
from pathlib import Path

import pytest

from worker.host import Taken, claim

ME, OTHER = {"run_id": "one", "input": "a.csv"}, {"run_id": "two", "input": "b.csv"}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.csv"
    path.write_text("opportunity_id,contact_id\n1,7\n")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "meet"
    path.mkdir()
    return path


def test_an_input_is_claimed_once_and_free_when_it_is_let_go(folder: Path, pairs: Path) -> None:
    first = claim(folder, "portal", pairs, ME)
    with pytest.raises(Taken) as taken:
        claim(folder, "portal", pairs, OTHER)
    assert taken.value.by == ME
    first.release()
    first.release()
    claim(folder, "portal", pairs, OTHER).release()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("as_what", ["copy", "link", "relative"])
def test_another_name_for_it_does_not_help(
    folder: Path, pairs: Path, as_what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = pairs.parent / "other.csv"
    if as_what == "copy":
        other.write_bytes(pairs.read_bytes())
    elif as_what == "link":
        other.symlink_to(pairs)
    else:
        monkeypatch.chdir(pairs.parent)
        other = Path("pairs.csv")
    held = claim(folder, "portal", pairs, ME)
    with pytest.raises(Taken):
        claim(folder, "portal", other, OTHER)
    held.release()


def test_what_was_changed_meanwhile_is_still_the_same_file(folder: Path, pairs: Path) -> None:
    held = claim(folder, "portal", pairs, ME)
    pairs.write_text("opportunity_id,contact_id\n1,8\n")
    with pytest.raises(Taken):
        claim(folder, "portal", pairs, OTHER)
    held.release()
    assert list(folder.iterdir()) == []


def test_other_rows_and_another_portal_are_free(folder: Path, pairs: Path) -> None:
    other = pairs.with_name("other.csv")
    other.write_text("opportunity_id,contact_id\n1,8\n")
    held = [
        claim(folder, "portal", pairs, ME),
        claim(folder, "portal", other, ME),
        claim(folder, "another", pairs, ME),
    ]
    for one in held:
        one.release()


def test_who_wants_it_anyway_has_it_and_takes_it_from_nobody(folder: Path, pairs: Path) -> None:
    first = claim(folder, "portal", pairs, ME)
    claim(folder, "portal", pairs, OTHER, anyway=True).release()
    with pytest.raises(Taken) as taken:
        claim(folder, "portal", pairs, OTHER)
    assert taken.value.by == ME
    first.release()


def test_a_claim_that_fails_half_way_holds_nothing(folder: Path, pairs: Path) -> None:
    copy = pairs.with_name("copy.csv")
    copy.write_bytes(pairs.read_bytes())
    first = claim(folder, "portal", pairs, ME)
    with pytest.raises(Taken):
        claim(folder, "portal", copy, OTHER)
    first.release()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("said", [b"", b"{", b"[]", b"\xff"])
def test_a_claim_of_which_nothing_can_be_read_is_one_all_the_same(
    folder: Path, pairs: Path, said: bytes
) -> None:
    held = claim(folder, "portal", pairs, ME)
    for place in folder.iterdir():
        place.write_bytes(said)
    with pytest.raises(Taken) as taken:
        claim(folder, "portal", pairs, OTHER)
    assert taken.value.by == {}
    held.release()


def test_an_input_that_is_no_file_or_not_there_is_known_by_its_path(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")  # to open it would wait for a writer
    for path in (tmp_path, tmp_path / "nowhere.csv", Path(os.devnull), tmp_path / "pipe.csv"):
        held = claim(folder, "portal", path, ME)
        assert len(list(folder.iterdir())) == 1
        with pytest.raises(Taken):
            claim(folder, "portal", path, OTHER)
        held.release()
