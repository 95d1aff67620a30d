"""What a program is told of a pair."""

import json
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from worker.api.outcome import Counts, Outcome
from worker.contact import Company
from worker.models import Status


def outcome(status: Status, contact_json: bytes = b"") -> Outcome[tuple[int, int]]:
    return Outcome((1, 2), 1, 2, status, contact_json=contact_json)


def test_it_does_not_change() -> None:
    done: Any = outcome(Status.LINKED)

    with pytest.raises(FrozenInstanceError):
        done.status = Status.REJECTED


@pytest.mark.parametrize("status", Status)
def test_linked_is_what_the_portal_confirmed(status: Status) -> None:
    assert outcome(status).is_linked == (status in {"linked", "already_linked"})


def test_the_contact_is_read_once_when_it_is_asked_for() -> None:
    said = json.dumps({"id": 2, "isCompany": True, "companyName": "Ltd"}).encode()
    done = outcome(Status.LINKED, said)

    assert isinstance(done.contact, Company)
    assert done.contact.company_name == "Ltd"
    assert done.contact is done.contact


@pytest.mark.parametrize("said", [b"", b"{", b"[]", b'{"id": "x"}'])
def test_a_contact_that_is_none_is_none(said: bytes) -> None:
    assert outcome(Status.LINKED, said).contact is None


def test_names_of_people_are_not_in_what_is_printed_by_chance() -> None:
    assert "Ltd" not in repr(outcome(Status.LINKED, b'{"companyName": "Ltd"}'))


def test_counts_go_by_the_names_of_the_report() -> None:
    counts = Counts.of(5, {Status.LINKED: 3, Status.NOT_ATTEMPTED: 2})

    assert counts == Counts(rows=5, linked=3, not_attempted=2)
    assert list(counts.as_dict()) == ["rows", *(str(status) for status in Status)]
    assert counts.as_dict()["not_attempted"] == 2
