"""What is published about a message, and why one was given up."""

import json

import pytest

from worker.models import Pair, Status
from worker.queues import Failure, Message
from worker.supply.message_result import MessageResult

NAMED = b'{"opportunity_id":1,"contact_id":2,"id":"order-7"}'


def published(result: MessageResult, body: bytes = NAMED) -> object:
    return json.loads(result.to_json(Message("handle", "put-1", body, 1)))


def test_a_link_is_published_with_its_contact_as_the_portal_sent_it() -> None:
    result = MessageResult(Pair(1, 1, 1, 2), Status.LINKED, "", 201, 1, b'{"id":2,"x":1.10}')
    assert b'"contact":{"id":2,"x":1.10}' in result.to_json(Message("handle", "put-1", NAMED, 1))
    assert published(result) == {
        "id": "order-7",
        "opportunity_id": 1,
        "contact_id": 2,
        "status": "linked",
        "reason": "",
        "http_status": 201,
        "attempts": 1,
        "contact": {"id": 2, "x": 1.1},
    }


@pytest.mark.parametrize("body", [b'{"opportunity_id":1}', b"no json"])
def test_what_is_no_pair_goes_by_the_name_of_its_message(body: bytes) -> None:
    assert published(MessageResult(None, Status.INVALID, "not valid JSON"), body) == {
        "id": "put-1",
        "opportunity_id": None,
        "contact_id": None,
        "status": "invalid",
        "reason": "not valid JSON",
        "http_status": None,
        "attempts": 0,
        "contact": None,
    }


def test_why_it_is_given_up_is_what_became_of_it() -> None:
    result = MessageResult(Pair(1, 1, 1, 2), Status.REJECTED, "not_found", 404, 3)
    assert result.failure == Failure("not_found", "rejected", 404, 3)
