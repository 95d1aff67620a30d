import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.simulator import wire


def test_json_escapes_slashes_and_control_characters_as_the_portal_does() -> None:
    """Contract 2.1: a newline is six characters long, and what is not ASCII stays as it is."""
    value = {"about": 'met at fair\ncall\tback \\n "ē" / \x01'}

    written = wire.json_bytes(value)

    assert written == rb'{"about":"met at fair\u000acall\u0009back \\n \"' + "ē".encode() + rb'\" \/ \u0001"}'


@given(
    st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), st.lists, max_leaves=5)
)
def test_json_escaped_so_reads_back_as_the_same_value(value: object) -> None:
    assert json.loads(wire.json_bytes(value)) == value


def test_an_empty_list_has_no_count() -> None:
    assert wire.listing([], xml=False) == b'{"status":0,"statusCode":200,"response":[]}'
    assert wire.listing([], xml=True) == b"<result><status>0</status><statusCode>200</statusCode></result>"


def test_a_page_of_a_list_names_its_place_in_the_order_of_the_contract() -> None:
    written = wire.listing([b"1", b"2"], xml=False, start=4, following=7, total=9)

    assert written == (
        b'{"count":2,"startIndex":4,"nextIndex":7,"total":9,"status":0,"statusCode":200,"response":[1,2]}'
    )


def test_an_error_reads_as_in_the_contract() -> None:
    assert wire.failure(404, "Not found", -2147467259, xml=False) == (
        b'{"status":1,"statusCode":404,"error":{"message":"Not found","hresult":-2147467259,"data":{}}}'
    )
    assert wire.failure(404, "Not found", -2147467259, xml=True) == (
        b"<result><status>1</status><statusCode>404</statusCode><error><message>Not found</message>"
        b"<hresult>-2147467259</hresult><data /></error></result>"
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, b"<x />"),
        ("", b"<x></x>"),
        ({}, b"<x />"),
        ([], b""),
        (["a", "b"], b"<x>a</x><x>b</x>"),
        (True, b"<x>true</x>"),
        (0, b"<x>0</x>"),
        ("a/b & <c>\nd", b"<x>a/b &amp; &lt;c&gt;\nd</x>"),
        ({"city": "Rīga", "state": ""}, "<x><city>Rīga</city><state></state></x>".encode()),
    ],
)
def test_xml_has_the_shapes_of_the_contract(value: object, written: bytes) -> None:
    """Contract 2.7: null and empty text differ, arrays are siblings, an empty one vanishes."""
    assert wire.xml_bytes("x", value) == written


def test_fields_cut_a_nested_company_but_no_other_object() -> None:
    contact = {"company": {"id": 5, "displayName": "Company 5"}, "createBy": {"title": "Manager"}, "id": 7}

    kept = wire.only_fields(contact, frozenset({"id", "company", "createby"}))

    assert kept == {"company": {"id": 5}, "createBy": {"title": "Manager"}, "id": 7}


def test_unknown_fields_leave_an_empty_object() -> None:
    assert wire.only_fields({"id": 7}, frozenset({"nothing"})) == {}
