"""What is sent for each question of an operation."""

import pytest

from worker.models import Ask, Attempt, Kind, Page, Result
from worker.operations.members import PAGE
from worker.portal.calls import attempt_of, call_for, judge, read_answer


@pytest.mark.parametrize(("ids_only", "fields"), [(False, None), (True, "id")])
def test_a_look_that_wants_ids_alone_asks_for_no_more(ids_only: bool, fields: str | None) -> None:
    """The id is always among them: without it later answers of the portal's process would miss theirs."""
    call = call_for(Ask(Kind.LOOK, 5, (1, 2), ids_only=ids_only))
    assert call.query is not None
    assert call.query.get("fields") == fields


def test_a_page_of_members_is_cut_here_and_asks_for_little_of_each() -> None:
    call = call_for(Ask(Kind.MEMBERS, 5, (), start=PAGE))
    assert (call.method, call.path) == ("GET", "crm/opportunity/5/contact")
    assert call.query == {"count": "1000", "startIndex": "1000", "fields": "id,canEdit,created"}


def told(body: str, status: int = 200) -> Attempt:
    ask = Ask(Kind.MEMBERS, 5, ())
    read = read_answer(ask, "application/json", body.encode())
    return attempt_of(ask, judge(read, status, writes=False), read, status)


def test_a_page_of_members_says_who_is_on_it_and_how_many_it_says_that_there_are() -> None:
    items = '[{"id":7,"canEdit":true},{"canEdit":true},{"id":9}]'
    body = (
        f'{{"count":3,"startIndex":0,"nextIndex":4,"total":5,"status":0,"statusCode":200,"response":{items}}}'
    )
    attempt = told(body)
    assert attempt.result is Result.OK
    assert attempt.found == {7: b'{"id":7,"canEdit":true}', 9: b'{"id":9}'}
    assert attempt.page == Page(3, 3, 5)


@pytest.mark.parametrize(
    ("head", "page"),
    [
        ('"status":0,"statusCode":200', Page(1, None, None)),
        ('"count":1,"status":0,"statusCode":200', Page(1, 1, None)),
        ('"total":"8","statusCode":200,"Count":1,"status":0', Page(1, 1, 8)),  # in another order and spelling
    ],
)
def test_what_a_page_does_not_say_is_not_known(head: str, page: Page) -> None:
    assert told(f'{{{head},"response":[{{"id":7}}]}}').page == page


def test_a_page_that_is_none_tells_nothing() -> None:
    assert told('{"count":1,"status":0,"statusCode":200,"response":{"id":7}}').result is Result.AMBIGUOUS
    gone = '{"status":1,"statusCode":404,"error":{"message":"Not found","hresult":-2147467259,"data":{}}}'
    assert told(gone, 404) == Attempt(Result.PERMANENT, "not_found", 404)
