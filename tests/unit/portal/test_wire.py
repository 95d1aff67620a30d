"""Bodies become envelopes, or are refused; only a body that shows the id proves a link."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.portal.wire import (
    Envelope,
    NotAnEnvelope,
    WireFormat,
    as_list,
    contact_of,
    read_envelope,
)

FIXTURES = Path(__file__).parents[2] / "fixtures" / "portal"


def read(name: str) -> Envelope:
    return read_envelope((FIXTURES / name).read_bytes(), "xml" if name.endswith(".xml") else "json")


def answer(response: object) -> Envelope:
    return read_envelope(
        orjson.dumps({"count": 1, "status": 0, "statusCode": 201, "response": response}), "json"
    )


@pytest.mark.parametrize("name", ["person.json", "person.xml", "person_sparse.xml"])
def test_a_success_has_a_response_and_no_error(name: str) -> None:
    envelope = read(name)
    assert (envelope.error_message, envelope.hresult) == (None, None)
    assert envelope.response["firstName"] == "Zoë"


@pytest.mark.parametrize("name", ["error_404.json", "error_404.xml"])
def test_an_error_has_its_message_and_number_and_no_response(name: str) -> None:
    envelope = read(name)
    assert (envelope.error_message, envelope.hresult) == ("Not found", -2147467259)
    assert envelope.response is None


def test_an_error_of_appserver_is_read_alike() -> None:
    envelope = read("appserver_error.json")
    assert (envelope.error_message, envelope.hresult) == ("The record could not be found", -2146233088)
    assert envelope.error_type == "System.Exception"
    assert read("error_404.json").error_type is None


def test_members_are_found_in_any_casing() -> None:
    body = b'{"Status":1,"StatusCode":403,"Error":{"Message":"Forbidden","HResult":-2147467259}}'
    envelope = read_envelope(body, "json")
    assert (envelope.error_message, envelope.hresult) == ("Forbidden", -2147467259)


def test_an_error_beside_a_zero_status_is_an_error() -> None:
    """The batch answers so when it is empty (contract 7.6)."""
    body = b'{"status":0,"error":{"message":"no batch specified","hresult":-2146233079,"data":{}}}'
    assert read_envelope(body, "json").error_message == "no batch specified"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (b"null", None),
        (b'""', None),
        (b"{}", ""),
        (b'{"message":null}', ""),
        (b'"denied"', "denied"),
        (b"[1]", ""),
    ],
)
def test_an_error_without_words_is_still_an_error_and_null_is_none(error: bytes, message: str | None) -> None:
    envelope = read_envelope(b'{"status":0,"error":%s,"response":{"id":7}}' % error, "json")
    assert envelope.error_message == message
    assert (contact_of(envelope, 7) is None) == (message is not None)


@pytest.mark.parametrize("hresult", [b"true", b'"x"', b"1.5", b"null", b'"' + b"9" * 5000 + b'"'])
def test_a_number_that_is_none_is_no_hresult(hresult: bytes) -> None:
    body = b'{"status":1,"error":{"message":"x","hresult":%s}}' % hresult
    assert read_envelope(body, "json").hresult is None


NO_JSON = {
    "empty": b"",
    "blank": b"  \n",
    "page": b"<html><body>404</body></html>",
    "cut": b'{"count":1,"status":0,"response":{"id":7}',
    "doubled": b'{"status":1,"error":{}}{"status":1,"error":{}}',
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
    "number": b"1",
    "null": b"null",
    "list": b'[{"status":0}]',
    "no status": b'{"response":{"id":7}}',
    "another's status": b'{"status":403,"message":"blocked"}',
    "status in words": b'{"status":"ok","response":{"id":7}}',
    "boolean status": b'{"status":true,"response":{"id":7}}',
    "half an escape": rb'{"status":0,"response":{"id":7,"displayName":"\ud83"}}',
    "half a surrogate beside a fault": rb'{"status":0,"response":{"id":7,"displayName":"\ud83d"}',
    "bad text": b'{"status":0,"response":"\xff"}',
    "deep lists": b'{"status":0,"response":' + b"[" * 40 + b"]" * 40 + b"}",
    "deep objects": b'{"status":0,"response":' + b'{"a":' * 900 + b"1" + b"}" * 901,
    "bomb": b"[" * 1_000_000,
}
NO_XML = {
    "empty": b"",
    "json": b'{"status":0}',
    "page": b"<!DOCTYPE html><html><body>404</body></html>",
    "page without a type": b"<html><status>0</status></html>",
    "text alone": b"<result>0</result>",
    "nothing": b"<result />",
    "no status": b"<result><response><id>7</id></response></result>",
    "two statuses": b"<result><status>0</status><status>0</status></result>",
    "cut": b"<result><status>0</status><response><id>7</id>",
    "doubled": b"<result><status>1</status></result><result><status>1</status></result>",
    "half a reference": b"<result><status>0</status><response><id>7</id><a>&#xD83D</a></response></result>",
    "reference beyond all characters": b"<result><status>0</status><a>&#x7fffffff;</a></result>",
    "undefined entity": b"<result><status>0</status>&nbsp;</result>",
    "entity bomb": b'<!DOCTYPE r [<!ENTITY a "0"><!ENTITY b "&a;&a;">]><result><status>&b;</status></result>',
    "outside entity": b'<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/hostname">]>'
    b"<result><status>0</status><response><id>&a;</id></response></result>",
    "outside type": b'<!DOCTYPE r SYSTEM "http://127.0.0.1:1/x.dtd"><result><status>0</status></result>',
    "deep": b"<result><status>0</status>" + b"<a>" * 40 + b"</a>" * 40 + b"</result>",
    "bomb": b"<result>" + b"<a>" * 100_000,
    "unknown encoding": b'<?xml version="1.0" encoding="bogus"?><result><status>0</status></result>',
    "namespace": b'<result xmlns="urn:x"><status>0</status></result>',
}


@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON.keys())
def test_what_is_no_json_envelope_is_refused(body: bytes) -> None:
    with pytest.raises(NotAnEnvelope):
        read_envelope(body, "json")


@pytest.mark.parametrize("body", NO_XML.values(), ids=NO_XML.keys())
def test_what_is_no_xml_envelope_is_refused(body: bytes) -> None:
    with pytest.raises(NotAnEnvelope):
        read_envelope(body, "xml")


@given(body=st.binary(max_size=200), wire=st.sampled_from(["json", "xml"]))
@example(body=b'<?xml version="1.0" encoding="UTF-16"?><result/>', wire="xml")
def test_no_bytes_raise_anything_else(body: bytes, wire: WireFormat) -> None:
    for text in (body, b"<result>" + body + b"</result>", b'{"status":' + body + b"}"):
        with suppress(NotAnEnvelope):
            read_envelope(text, wire)


@given(cut=st.integers(0, 2255))
def test_half_an_answer_proves_nothing(cut: int) -> None:
    body = (FIXTURES / "person.json").read_bytes()[:cut]
    with pytest.raises(NotAnEnvelope):
        read_envelope(body, "json")


@pytest.mark.parametrize("wire", ["json", "xml"])
@pytest.mark.parametrize(("depth", "is_read"), [(31, True), (32, False)])
def test_both_formats_may_nest_equally_deep(wire: WireFormat, depth: int, *, is_read: bool) -> None:
    if wire == "json":
        body = b'{"status":0,"response":' + b'{"a":' * depth + b'"1"' + b"}" * (depth + 1)
    else:
        inner = b"<a>" * depth + b"1" + b"</a>" * depth
        body = b"<result><status>0</status><response>" + inner + b"</response></result>"
    if is_read:
        assert str(read_envelope(body, wire).response).count("'a'") == depth
        return
    with pytest.raises(NotAnEnvelope, match="deeper"):
        read_envelope(body, wire)


def test_a_long_flat_list_is_not_deep() -> None:
    assert len(answer([{"id": number} for number in range(1, 1001)]).response) == 1000


IN_XML = (
    b"<result><status>0</status><response><id>7</id><displayName>%s</displayName>"
    b"<title>%s</title></response></result>"
)


@pytest.mark.parametrize(
    ("wire", "body"),
    [
        ("json", rb'{"status":0,"response":{"id":7,"displayName":"cut \ud83d","title":"\ud83d\ude00"}}'),
        ("json", rb'{"status":0,"response":{"id":7,"displayName":"\udc00\udc00 \\","title":"\ud83d\ude00"}}'),
        ("xml", IN_XML % (b"cut &#xD83D;", b"&#128512;")),
        ("xml", IN_XML % (b"&#0;&#x1F;", b"&#x1F600;")),
    ],
)
def test_half_a_character_says_nothing_against_the_id_beside_it(wire: WireFormat, body: bytes) -> None:
    envelope = read_envelope(body, wire)
    assert envelope.response["title"] == "\U0001f600"
    assert orjson.loads(proof_of(envelope, 7))["displayName"] == envelope.response["displayName"]
    assert contact_of(envelope, 8) is None


def test_one_name_cut_in_half_does_not_hide_the_other_members() -> None:
    body = rb'{"status":0,"response":[{"id":1,"displayName":"\ud83d"},{"id":2,"displayName":"whole"}]}'
    members = as_list(read_envelope(body, "json").response)
    assert [(one["id"], one["displayName"]) for one in members] == [(1, r"\ud83d"), (2, "whole")]


def test_comments_and_instructions_are_no_members() -> None:
    body = b"<result><!--a--><status>0</status><?b c?><response><id>7<!--8--></id></response></result>"
    assert read_envelope(body, "xml").response == {"id": "7"}


def test_repeated_siblings_are_a_list() -> None:
    body = b"<result><status>0</status><response><t>1</t><t>2</t><t>3</t></response></result>"
    assert read_envelope(body, "xml").response == {"t": ["1", "2", "3"]}


@pytest.mark.parametrize(
    ("name", "items"), [("members.xml", [{"id": "7"}, {"id": "9"}]), ("empty_list.xml", [])]
)
def test_an_xml_list_is_its_repeated_responses(name: str, items: list[dict[str, str]]) -> None:
    assert as_list(read(name).response) == items


def test_a_lone_object_counts_as_a_list_of_one() -> None:
    assert as_list(answer({"id": 7}).response) == as_list(answer([{"id": 7}]).response) == [{"id": 7}]


def test_an_empty_response_in_xml_is_none() -> None:
    assert read_envelope(b"<result><status>0</status><response /></result>", "xml").response is None


def proof_of(envelope: Envelope, contact_id: int) -> bytes:
    """The Contact as JSON, which must be there."""
    found = contact_of(envelope, contact_id)
    assert found is not None
    return found


def test_json_is_given_back_as_it_came() -> None:
    written = proof_of(read("person.json"), 1234)
    assert written in (FIXTURES / "person.json").read_bytes()
    assert orjson.loads(written) == read("person.json").response
    assert rb"\/" in written
    assert "Zoë".encode() in written


def test_json_of_another_order_is_given_back_but_for_its_spelling() -> None:
    body = rb'{"response":{"id":7,"url":"\/a"},"status":0}'
    assert proof_of(read_envelope(body, "json"), 7) == b'{"id":7,"url":"/a"}'


@pytest.mark.parametrize(("name", "contact_id"), [("person", 1234), ("company", 57)])
def test_xml_is_written_as_typed_json(name: str, contact_id: int) -> None:
    """Both formats of a contact give the same JSON, but for the date's digits and the lost empty lists."""
    from_xml = orjson.loads(proof_of(read(f"{name}.xml"), contact_id))
    from_json = orjson.loads(proof_of(read(f"{name}.json"), contact_id))
    assert from_xml.pop("created") == from_json.pop("created").replace(".0000000", "")
    assert from_xml == {key: value for key, value in from_json.items() if value != []}


def test_a_number_beyond_64_bits_in_xml_can_be_written() -> None:
    response = b"<response><id>7</id><taskCount>" + b"9" * 30 + b"</taskCount></response>"
    envelope = read_envelope(b"<result><status>0</status>" + response + b"</result>", "xml")
    assert proof_of(envelope, 7) == b'{"id":7,"taskCount":' + b"9" * 30 + b"}"


@pytest.mark.parametrize(
    "name", ["person.json", "person.xml", "person_sparse.xml", "docs_contact.json", "docs_contact.xml"]
)
def test_the_contact_asked_for_proves_the_link(name: str) -> None:
    written = proof_of(read(name), 1234)
    assert orjson.loads(written)["id" if b'"id"' in written else "ID"] == 1234


@pytest.mark.parametrize(
    "response",
    [
        *(None, {}, [], 7, "7", {"contact": {"id": 7}}, [{"id": 7}, {"id": 8}], [[{"id": 7}]]),
        *({"id": other} for other in (8, None, 7.0, "7x", "\u0667", [7])),
    ],
)
def test_any_other_response_proves_nothing(response: object) -> None:
    assert contact_of(answer(response), 7) is None
    assert contact_of(answer({"id": True}), 1) is None


@pytest.mark.parametrize("response", [{"id": 7}, {"ID": 7}, {"Id": "7"}, {"id": "007"}, [{"id": 7}]])
def test_the_bare_id_is_proof_enough(response: object) -> None:
    assert contact_of(answer(response), 7) is not None


@pytest.mark.parametrize("wire", ["json", "xml"])
def test_an_odd_rest_is_a_link_all_the_same(wire: WireFormat) -> None:
    bodies: dict[Any, bytes] = {
        "json": b'{"status":0,"response":{"id":7,"created":"soon"}}',
        "xml": b"<result><status>0</status><response><id>7</id><created>soon</created></response></result>",
    }
    assert orjson.loads(proof_of(read_envelope(bodies[wire], wire), 7))["created"] == "soon"


@pytest.mark.parametrize("name", ["error_404.json", "error_404.xml", "members.xml", "empty_list.xml"])
def test_errors_and_lists_prove_nothing(name: str) -> None:
    assert contact_of(read(name), 7) is None


keys = st.sampled_from(
    ["firstName", "company", "addresses", "created", "tags", "shareType", "isCompany", "new"]
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
)


@given(rest=st.dictionaries(keys, values), wire=st.sampled_from(["json", "xml"]))
def test_no_rest_whatever_hides_the_id(rest: dict[str, Any], wire: WireFormat) -> None:
    assert b'"id":' in proof_of(Envelope(wire, value={**rest, "id": "7"}), 7)


BEFORE = '{"count":1,"status":0,"statusCode":201,"response":'
spaces = st.text(alphabet=" \t", max_size=3)


@st.composite
def spelled(draw: st.DrawFn, value: Any) -> str:
    """A JSON value as anybody may write it: with spaces anywhere, and any character as an escape."""
    space = draw(spaces)
    if isinstance(value, dict):
        inner = [f"{draw(spelled(key))}{space}:{space}{draw(spelled(item))}" for key, item in value.items()]
        return f"{space}{{{space}{f'{space},'.join(draw(st.permutations(inner)))}{space}}}{space}"
    if isinstance(value, list):
        return f"{space}[{space}{f',{space}'.join(draw(spelled(item)) for item in value)}]{space}"
    text = json.dumps(value, ensure_ascii=draw(st.booleans()))
    return f"{space}{text.replace('/', chr(92) + '/') if draw(st.booleans()) else text}"


contacts = st.dictionaries(keys | st.text(max_size=5), values, max_size=5)


@given(rest=contacts, data=st.data())
def test_a_contact_is_cut_out_of_its_envelope_as_it_was_written(
    rest: dict[str, Any], data: st.DataObject
) -> None:
    text = data.draw(spelled({**rest, "id": 7}))
    envelope = read_envelope(f"{BEFORE}{text}}}".encode(), "json")
    assert envelope.written == text.encode()
    assert envelope.response == orjson.loads(text)
    assert contact_of(envelope, 7) == text.encode()
    assert contact_of(envelope, 8) is None


@pytest.mark.parametrize("line_end", ["\n", "\r"])
def test_a_contact_is_one_line_however_the_portal_wrote_it(line_end: str) -> None:
    body = f'{BEFORE}{{{line_end}"id":7}}}}'.encode()
    assert contact_of(read_envelope(body, "json"), 7) == b'{"id":7}'


@given(rest=contacts, after=st.dictionaries(keys, values, min_size=1, max_size=2), data=st.data())
def test_what_follows_the_response_is_never_taken_for_a_part_of_it(
    rest: dict[str, Any], after: dict[str, Any], data: st.DataObject
) -> None:
    contact = {**rest, "id": 7}
    members = data.draw(spelled(after)).strip()[1:]
    body = f"{BEFORE}{data.draw(spelled(contact))},{members}".encode()
    assert orjson.loads(proof_of(read_envelope(body, "json"), 7)) == contact


@pytest.mark.parametrize(
    "response",
    [
        '{"id":7},"response":{"id":8}',
        '{"id":7},"status":{"id":7}',
        '{"id":7}} {"id":7}',
        '{"id":7}}',
        "",
        ",",
    ],
)
def test_a_response_that_is_not_all_that_follows_is_not_cut_out(response: str) -> None:
    envelope = None
    with suppress(NotAnEnvelope):
        envelope = read_envelope(f"{BEFORE}{response}}}".encode(), "json")
    assert envelope is None or (envelope.written, contact_of(envelope, 7)) == (b"", None)


@pytest.mark.parametrize(("depth", "is_read"), [(31, True), (400, True), (100_000, False)])
@pytest.mark.parametrize("kind", [b"[]", b"{}"], ids=["list", "object"])
def test_what_is_cut_out_exhausts_nobody_however_deep_it_nests(
    kind: bytes, depth: int, *, is_read: bool
) -> None:
    inner = {b"[]": b"[" * depth + b"]" * depth, b"{}": b'{"a":' * depth + b"1" + b"}" * depth}[kind]
    body = BEFORE.encode() + b'{"id":7,"deep":' + inner + b"}}"
    if is_read:
        assert contact_of(read_envelope(body, "json"), 7) == body[len(BEFORE) : -1]
        return
    with pytest.raises(NotAnEnvelope):
        read_envelope(body, "json")
