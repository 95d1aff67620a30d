"""What each answer that the vendor's own server was recorded to give proves to our reader, as a table."""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

import orjson
import pytest

from tests.recordings.portal_wire import Exchange, exchanges
from worker.portal.classify import Answer, classify, read_body
from worker.portal.wire import Envelope, as_list, contact_of

PAGE = "<html><body>a page</body></html>"
"""The pages were not kept."""

LINK = re.compile(r"/opportunity/\d+/contact/0*(\d+)(?:[./?]|$)", re.IGNORECASE)

PROVES: Mapping[str, str] = {
    # Writes, and entities that are none.
    "proven": "1-4 13 17-18 21-22 30-36 40 42-44 47 49 58 61-63 91-93",
    "permanent: not_found": "5-8 28-29 85-87 94-95 101 103-104 106 108",
    "permanent: bad_argument": "9-12 37-38 96 102 107 151",
    "ambiguous: server_error": "39 41 126-129 148-149 152-157",
    # What is not the API, or not as we use it: no route, a verb that we never send, a token that is none.
    "ambiguous: server_page": "14-15 19-20 53 135-136",
    "stop: no_such_route": "16 23 52 55 89 97 124 150",
    "stop: request_not_accepted": "24-25 54",
    "stop: portal_gone": "26 90",
    "ambiguous: empty_body": "27",
    "stop: unauthorized": "45-46 48 88 98 141-142",
    "transient: bad_request": "51",
    # Reads.
    "shows": "56-57 69 75 79",
    "shows 50": "59-60",
    "shows 50 51": "67",
    "shows 50 52": "73-74 76",
    "shows 52 2902": "68",
    "shows 50 51 52 2902": "64-66 70-72 77-78 80 82",
    "shows 2902 52 51 50": "81",
    "shows 5 34 35 36 37 38 39 40 2901": "83",
    "shows 5 34 35 36 37 38 39 40 2700 2901": "50 84",
    "shows 34": "99",
    "shows 2901": "100",
    "shows 203": "105",
    "shows token expires": "145-147",
    # Batches.
    "ambiguous: error_in_success": "133-134 137-138",
    "1 of 1: proven": "109 116 118-119 122 125 130 139 143",
    "1 of 1: ambiguous: empty_body": "121",
    "1 of 1: stop: no_such_route": "131",
    "1 of 1: nothing": "132",
    "2 of 2: proven, proven": "117",
    "2 of 2: proven, nothing": "123",
    "2 of 2: proven, permanent: not_found": "112 120",
    "2 of 2: permanent: not_found, proven": "140 144",
    "2 of 2: ambiguous: server_error, proven": "113",
    "3 of 3: proven, proven, proven": "110 114",
    "3 of 3: shows, proven, shows 72": "115",
    "6 of 6: proven, permanent: not_found, permanent: bad_argument, nothing, nothing, proven": "111",
}
"""What follows: of a write ``proven`` or why not; of a list the contacts in it; of a batch, of each item."""


def numbers(text: str) -> Iterator[int]:
    for part in text.split():
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


TABLE = {n: said for said, where in PROVES.items() for n in numbers(where)}


def test_the_table_has_each_answer_once() -> None:
    named = [n for where in PROVES.values() for n in numbers(where)]

    assert sorted(named) == [exchange.n for exchange in exchanges()]


@pytest.mark.parametrize("exchange", exchanges(), ids=lambda exchange: exchange.title)
def test_a_recorded_answer_proves_what_the_table_says(exchange: Exchange) -> None:
    assert meaning(exchange) == TABLE[exchange.n]


def meaning(exchange: Exchange) -> str:
    text = PAGE if exchange.answer is None else exchange.answer
    content_type = exchange.fields["content-type"]
    if not exchange.target.startswith("/api/2.0/batch"):
        return single(exchange.method, exchange.target, exchange.status, content_type, text.encode())
    _, envelope = read_body(content_type, text.encode())
    results = [] if envelope is None else as_list(envelope.response)
    if not results:
        return single("POST", exchange.target, exchange.status, content_type, text.encode())
    sent = unquote(exchange.target + exchange.body.decode())
    items = sorted(orjson.loads(sent.partition("batch=")[2]), key=lambda item: item.get("order", 0))
    said = ", ".join(
        "nothing"
        if not result
        else single(
            item["method"], item["relativeUrl"], int(result["status"]), "", result.get("data", "").encode()
        )
        for item, result in zip(items, results, strict=True)
    )
    return f"{len(results)} of {len(items)}: {said}"


def single(method: str, target: str, status: int, content_type: str, body: bytes) -> str:
    kind, envelope = read_body(content_type, body)
    link = LINK.search(target)
    writes = method != "GET"
    proven = envelope is not None and (
        contact_of(envelope, int(link[1])) is not None if link else envelope.error_message is None
    )
    verdict = classify(
        Answer(
            http_status=status,
            body=kind,
            hresult=None if envelope is None else envelope.hresult,
            message=None if envelope is None else envelope.error_message,
            proven=proven,
            sent=writes,
        )
    )
    if verdict.stop is not None:
        return f"stop: {verdict.reason}"
    if verdict.result is not None and verdict.reason:
        return f"{verdict.result.value}: {verdict.reason}"
    assert envelope is not None
    return "proven" if link else shown(envelope)


def shown(envelope: Envelope) -> str:
    items = as_list(envelope.response)
    return f"shows {' '.join(str(item['id']) if 'id' in item else ' '.join(item) for item in items)}".strip()
