"""The stub that clients are measured with answers what our own reader takes for a portal's answer."""

import gzip
import json
from collections.abc import Sequence
from urllib.parse import quote_plus

import pytest

from worker.models import Ask, Kind, Result
from worker.portal.calls import HARMLESS, attempt_of, judge, read_answer
from worker.reasons import NOT_FOUND
from worker.simulator.stub import Answer, Stub, write

LINK = "/api/2.0/crm/opportunity/{}/contact/{}"


def proven(ask: Ask, answer: Answer | None) -> tuple[Result, bytes, frozenset[int]]:
    """What an answer proves to our reader: the result, the Contact, the members found."""
    assert answer is not None
    status = int(answer.status[:3])
    read = read_answer(ask, answer.content_type, b"".join(answer.body))
    attempt = attempt_of(ask, judge(read, status, writes=ask.kind is Kind.LINK), read, status)
    return attempt.result, attempt.body, frozenset(attempt.found or ())


def form(items: Sequence[object]) -> bytes:
    return b"batch=" + quote_plus(json.dumps(items)).encode()


def post(opportunity: int, contact: int, name: str) -> dict[str, str]:
    url = LINK.format(opportunity, contact).lstrip("/")
    return {"name": name, "relativeUrl": url, "method": "POST", "body": "_=1"}


@pytest.mark.parametrize("contact", [1, 88, 1234567, 2147483647])
def test_a_link_is_answered_with_the_contact_that_was_asked_for(contact: int) -> None:
    stub = Stub()

    result, body, _ = proven(Ask(Kind.LINK, 7, (contact,)), stub.answer("POST", LINK.format(7, contact)))

    assert result is Result.OK
    assert json.loads(body)["id"] == contact
    assert 2_000 < len(body) < 3_000
    assert (stub.books.posts, stub.books.links) == (1, 1)


def test_the_harmless_question_is_told_that_there_is_no_opportunity_0() -> None:
    answer = Stub().answer("GET", f"/api/2.0/{HARMLESS.path}?count=1&fields=id")

    assert answer is not None
    read = read_answer(None, answer.content_type, b"".join(answer.body))
    assert judge(read, int(answer.status[:3]), writes=False).reason == NOT_FOUND


def test_a_look_finds_those_that_were_posted_and_no_others() -> None:
    stub = Stub()
    target = "/api/2.0/crm/opportunity/{}/contact?filterBy=id&filterOp=equals&filterValue=88%2C89%2C90"
    look = Ask(Kind.LOOK, 7, (88, 89, 90))

    before = proven(look, stub.answer("GET", target.format(7)))
    for contact in (88, 90, 91):
        stub.answer("POST", LINK.format(7, contact))

    assert before == (Result.OK, b"", frozenset())
    assert proven(look, stub.answer("GET", target.format(7))) == (Result.OK, b"", frozenset({88, 90}))
    assert proven(look, stub.answer("GET", target.format(8))) == before


def test_a_batch_is_answered_item_by_item_in_order_by_name() -> None:
    stub = Stub()
    look = "api/2.0/crm/opportunity/7/contact?filterBy=id&filterOp=equals&filterValue=88,89"
    items = [
        post(7, 88, "0"),
        {"name": "1", "relativeUrl": look, "method": "GET"},
        {"name": "2", "relativeUrl": "api/2.0/people/@self", "method": "GET"},
        post(8, 5, 'a "name"'),
    ]

    answer = stub.answer("POST", "/api/2.0/batch?fields=name,status,data", form(items))

    assert answer is not None
    assert answer.status == "201 Created"
    envelope = json.loads(b"".join(answer.body))
    first, second, third, fourth = envelope["response"]
    assert envelope["count"] == 4
    assert [one["name"] for one in (first, second, fourth)] == ["0", "1", 'a "name"']
    assert [one["status"] for one in (first, second, fourth)] == [201, 200, 201]
    assert third is None
    assert json.loads(first["data"])["response"]["id"] == 88
    assert [one["id"] for one in json.loads(second["data"])["response"]] == [88]
    assert json.loads(fourth["data"])["response"]["id"] == 5
    assert (stub.books.requests, stub.books.posts, stub.books.links) == (1, 2, 2)


@pytest.mark.parametrize("body", [b"", b"batch=", b"batch=%5B%5D", b"batch=%7B", b"other=1"])
def test_a_batch_of_nothing_is_a_success_with_an_error(body: bytes) -> None:
    answer = Stub().answer("POST", "/api/2.0/batch", body)

    assert answer is not None
    assert answer.status == "200 OK"
    assert json.loads(b"".join(answer.body))["error"]["message"] == "no batch specified"


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", "/"), ("DELETE", LINK.format(1, 2)), ("POST", "/api/2.0/crm/opportunity/1/contact")],
)
def test_whatever_else_is_asked_has_no_answer_but_a_page(method: str, target: str) -> None:
    answer = Stub().answer(method, target)

    assert answer is not None
    assert (answer.status, answer.content_type) == ("404 Not Found", "text/html")


def test_a_success_is_compressed_if_that_is_asked_for_and_a_failure_is_not() -> None:
    stub = Stub()
    linked, missing = stub.answer("POST", LINK.format(1, 2)), stub.answer("GET", "/")
    assert linked is not None
    assert missing is not None

    head, _, body = write(linked, zipped=True).partition(b"\r\n\r\n")

    assert f"Content-Length: {len(body)}".encode() in head
    assert b"Content-Encoding: gzip" in head
    assert gzip.decompress(body) == b"".join(linked.body)
    assert write(linked, zipped=False).endswith(b"\r\n\r\n" + b"".join(linked.body))
    assert b"gzip" not in write(missing, zipped=True)


def test_the_books_tell_when_links_were_asked_for_and_can_be_opened_anew() -> None:
    stub = Stub()

    def books(order: str = "") -> dict[str, object]:
        answer = stub.answer("GET", f"/_stub?{order}")
        assert answer is not None
        found: dict[str, object] = json.loads(b"".join(answer.body))
        return found

    stub.answer("GET", "/api/2.0/crm/opportunity/0/contact")
    for _ in range(2):
        stub.answer("POST", LINK.format(1, 2))
    told = books()

    assert (told["requests"], told["posts"], told["links"]) == (3, 2, 1)
    assert 0.0 < stub.books.first <= stub.books.first_post <= stub.books.last
    assert (books("turn")["requests"], books()["links"]) == (0, 1)
    assert (books("open")["requests"], books()["links"]) == (0, 0)


def test_it_can_be_told_to_answer_no_more_after_so_many_links() -> None:
    stub = Stub()
    stub.answer("GET", "/_stub?hold=2")
    answers = [stub.answer("POST", LINK.format(1, contact)) for contact in (1, 2, 3)]
    held = stub.books.holding, stub.books.links
    stub.answer("GET", "/_stub?hold=")

    assert [answer is None for answer in answers] == [False, False, True]
    assert held == (True, 2)
    assert stub.answer("POST", LINK.format(1, 3)) is not None
    assert not stub.books.holding
