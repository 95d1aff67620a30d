"""The Contact model against the documented example, the wire's examples, and their four renderings."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from worker.contact import (
    AddressCategory,
    Company,
    Contact,
    FieldType,
    InfoType,
    Person,
    ShareType,
    created_at,
    essence,
    parse_contact,
)
from worker.portal.wire import read_envelope

FIXTURES = Path(__file__).parents[1] / "fixtures" / "portal"


def response(name: str) -> dict[str, Any]:
    envelope = read_envelope((FIXTURES / name).read_bytes(), "xml" if name.endswith(".xml") else "json")
    assert isinstance(envelope.response, dict)
    return envelope.response


def pascal(value: Any) -> Any:
    """The same values with the keys of the documentation."""
    if isinstance(value, dict):
        return {key if key == "id" else key[0].upper() + key[1:]: pascal(item) for key, item in value.items()}
    return [pascal(item) for item in value] if isinstance(value, list) else value


def as_text(value: Any) -> Any:
    """The same values as a reader of XML sees them (contract 2.7)."""
    if isinstance(value, dict):
        members = {key: as_text(item) for key, item in value.items()}
        return {key: item for key, item in members.items() if item is not NOTHING} or ""
    if isinstance(value, list):
        items = [as_text(item) for item in value]
        return NOTHING if not items else items[0] if len(items) == 1 else items
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


NOTHING = object()


def sent(contact: Contact) -> dict[str, Any]:
    return contact.model_dump(mode="json", by_alias=True, exclude_unset=True)


def test_the_documented_contact_is_read_in_full() -> None:
    contact = parse_contact(response("docs_contact.json"))
    assert isinstance(contact, Person)  # it shows no name of its own, but says IsCompany false
    assert contact.id == 1234
    assert contact.display_name == "Tadjeddine Bachir"
    assert contact.created == datetime(2020, 12, 8, 17, 37, 4, 591640, tzinfo=UTC)
    assert contact.addresses[0].street == "Lubanas st. 125a-25"
    assert contact.addresses[0].category is AddressCategory.HOME
    assert contact.create_by is not None
    assert contact.create_by.id == "00000000-0000-0000-0000-000000000000"
    assert contact.create_by.profile_url == "/Products/People/Profile.aspx?user=administrator"
    assert contact.contact_status == contact.contact_type
    assert contact.common_data[0].info_type is InfoType.EMAIL
    assert contact.custom_fields[0].field_type is FieldType.DATE
    assert contact.custom_fields[0].field_value == "2020-12-08T17:37:04.5916406Z"
    assert contact.tags == ("Tag1", "Tag2")
    assert contact.have_late_tasks
    assert contact.share_type is ShareType.NONE
    assert contact.currency is not None
    assert contact.currency.symbol == "¥"
    assert contact.currency.is_convertable
    assert contact.model_extra == {}


def test_the_documented_contact_says_the_same_in_xml_up_to_its_literal_escape() -> None:
    """The page escapes the slash in its XML as well, where it is no escape but two characters."""
    written = (FIXTURES / "docs_contact.xml").read_text(encoding="utf-8")
    literal = read_envelope(written.encode(), "xml").response
    assert literal["CreateBy"]["ProfileUrl"] == r"\/Products\/People\/Profile.aspx?user=administrator"
    meant = read_envelope(written.replace(r"\/", "/").encode(), "xml").response
    assert parse_contact(meant) == parse_contact(response("docs_contact.json"))


@pytest.mark.parametrize("name", ["person", "company"])
def test_the_wire_says_the_same_in_json_and_in_xml(name: str) -> None:
    assert parse_contact(response(f"{name}.xml")) == parse_contact(response(f"{name}.json"))


@pytest.mark.parametrize("name", ["person.json", "company.json", "person.xml", "company.xml"])
def test_the_casing_of_the_documentation_says_the_same_as_that_of_the_wire(name: str) -> None:
    wire = response(name)
    assert parse_contact(pascal(wire)) == parse_contact(wire)


def test_every_spelling_of_id_is_read() -> None:
    assert {parse_contact({name: 7}).id for name in ("id", "Id", "ID")} == {7}


@pytest.mark.parametrize("name", ["person.json", "company.json"])
def test_a_contact_is_written_as_it_came(name: str) -> None:
    """Dropped keys stay dropped; the date alone loses its seventh digit of zeros."""
    wire = response(name)
    written = sent(parse_contact(wire))
    assert written.pop("created") == wire.pop("created").replace(".0000000", "")
    assert written == wire


def test_the_documented_contact_is_written_in_the_casing_of_the_wire() -> None:
    written = sent(parse_contact(response("docs_contact.json")))
    assert written["commonData"][0] == {
        "id": 1234,
        "infoType": 1,
        "category": 0,
        "data": "support@onlyoffice.com",
        "categoryName": "Home",
        "isPrimary": True,
    }
    assert {"firstName", "lastName", "company"}.isdisjoint(written)


def test_the_person_is_typed() -> None:
    person = parse_contact(response("person.json"))
    assert isinstance(person, Person)
    assert (person.first_name, person.last_name, person.title) == ("Zoë", "Bērziņa", "Buyer")
    assert person.company is not None
    assert (person.company.id, person.company.is_company) == (57, True)
    assert person.company.share_type is ShareType.READ_WRITE
    assert person.about == "met at fair\ncall back"
    assert person.created == datetime(2023, 5, 12, 17, 28, tzinfo=timezone(timedelta(hours=3)))
    assert [item.category for item in person.common_data] == [2, 1]


def test_what_the_portal_dropped_reads_as_its_zero_and_stays_unset() -> None:
    company = parse_contact(response("company.json"))
    assert isinstance(company, Company)
    assert (company.company_name, company.persons_count) == ("Northwind SIA", 3)
    assert (company.task_count, company.access_list, company.contact_status, company.tags) == (
        0,
        (),
        None,
        (),
    )
    assert {"task_count", "access_list", "contact_status", "tags"}.isdisjoint(company.model_fields_set)
    assert "taskCount" not in sent(company)


def test_an_address_without_its_dropped_members_is_a_home_and_not_the_primary() -> None:
    contact = parse_contact({"id": 7, "addresses": [{"city": "Riga"}, {}]})
    assert contact.addresses[0].category is AddressCategory.HOME
    assert not contact.addresses[0].is_primary
    assert sent(contact)["addresses"] == [{"city": "Riga"}, {}]


def test_a_sparse_person_in_xml_is_typed() -> None:
    person = parse_contact(response("person_sparse.xml"))
    assert isinstance(person, Person)
    assert person.currency is None
    assert person.industry == ""
    assert len(person.addresses) == 1  # XML has no list of one
    assert len(person.common_data) == 2
    assert person.custom_fields == ()
    assert person.company is not None
    assert person.company.id == 57


@pytest.mark.parametrize("text", ["true", "True", "1"])
def test_xml_text_reads_as_true(text: str) -> None:
    assert parse_contact({"id": "7", "canEdit": text}).can_edit


def test_an_empty_element_is_no_object_and_no_list() -> None:
    empty = {
        "id": "7",
        "company": "",
        "currency": "",
        "created": "",
        "addresses": "",
        "tags": "",
        "title": "",
    }
    person = parse_contact(empty)
    assert isinstance(person, Person)
    assert (person.company, person.currency, person.created) == (None, None, None)
    assert (person.addresses, person.tags) == ((), ())
    assert person.title == ""


def test_empty_items_among_others_are_left_out() -> None:
    assert len(parse_contact({"id": 7, "addresses": ["", {"city": "Riga"}, None]}).addresses) == 1


def test_a_lone_tag_is_a_list_of_one() -> None:
    assert parse_contact({"id": 7, "tags": "vip"}).tags == ("vip",)


def test_null_lists_are_empty() -> None:
    assert parse_contact({"id": 7, "tags": None, "commonData": None}).common_data == ()


@pytest.mark.parametrize("number", [99, "99"])
def test_a_number_that_no_enum_knows_is_kept(number: object) -> None:
    contact = parse_contact({"id": 7, "shareType": number, "commonData": [{"infoType": number}]})
    assert (contact.share_type, contact.common_data[0].info_type) == (99, 99)


def test_unknown_keys_are_kept_as_they_are() -> None:
    assert sent(parse_contact({"id": 7, "newThing": {"A": [1]}})) == {"id": 7, "newThing": {"A": [1]}}


def test_nested_items_may_lack_their_id() -> None:
    """A portal's cache can lose it for all later replies (contract 5.6)."""
    contact = parse_contact({"id": 7, "commonData": [{"data": "x"}], "customFields": [{"label": "y"}]})
    assert (contact.common_data[0].id, contact.custom_fields[0].id) == (None, None)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({"id": 7}, Contact),
        ({"id": 7, "isCompany": True}, Company),
        ({"id": 7, "isCompany": "True"}, Company),
        ({"id": 7, "IsCompany": "false"}, Person),
        ({"id": 7, "isCompany": False, "companyName": "odd"}, Person),
        ({"id": 7, "firstName": "Zoë"}, Person),
        ({"ID": 7, "LastName": "Zoë"}, Person),
        ({"id": 7, "company": None}, Person),
        ({"id": 7, "companyName": "Northwind"}, Company),
        ({"id": 7, "PersonsCount": 1}, Company),
    ],
)
def test_the_flag_tells_the_kind_and_without_it_the_members_do(
    data: Mapping[str, object], kind: type[Contact]
) -> None:
    assert type(parse_contact(data)) is kind


@pytest.mark.parametrize("id_", [None, "", "x", 0, -1, 2**31, 1.5, [7], {"id": 7}])
def test_a_contact_without_a_usable_id_is_none(id_: object) -> None:
    with pytest.raises(ValueError, match="id"):
        parse_contact({"id": id_, "firstName": "Zoë"})
    with pytest.raises(ValueError, match="id"):
        parse_contact({"firstName": "Zoë"})


@pytest.mark.parametrize("created", ["2023-01-09T09:00:00", "yesterday", "2023-13-01T00:00:00Z"])
def test_a_date_without_a_zone_or_sense_is_refused(created: str) -> None:
    with pytest.raises(ValueError, match="created"):
        parse_contact({"id": 7, "created": created})


def test_an_error_holds_nothing_of_the_contact() -> None:
    with pytest.raises(ValueError, match="taskCount") as caught:
        parse_contact({"id": 7, "taskCount": "zoe@northwind.example"})
    assert "zoe" not in str(caught.value)


def test_a_body_tells_when_its_contact_was_created() -> None:
    body = orjson.dumps(response("person.json"))
    assert created_at(body) == datetime(2023, 5, 12, 14, 28, tzinfo=UTC)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"?",
        b'{"id":7}',
        b'{"id":7,"created":null}',
        b'{"id":7,"created":"2023-01-09T09:00:00"}',
        b'{"created":"2023-01-09T09:00:00Z"}',
        b'{"id":7,"created":"2023-01-09T09:00:00Z"',
    ],
)
def test_a_body_that_does_not_tell_when_its_contact_was_created_is_no_error(body: bytes) -> None:
    assert created_at(body) is None


def test_a_contact_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        parse_contact({"id": 7}).about = "new"  # type: ignore[misc]  # mypy sees that it is frozen, too


texts = st.text(max_size=8)
people = st.fixed_dictionaries(
    {"id": st.integers(1, 2**31 - 1), "isCompany": st.booleans(), "currency": st.none()},
    optional={
        "about": texts,
        "taskCount": st.integers(1, 99),
        "shareType": st.integers(0, 5),
        "tags": st.lists(texts.filter(bool), max_size=3),
        "created": st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
        "commonData": st.lists(
            st.fixed_dictionaries({"id": st.integers(1, 9), "infoType": st.integers(0, 20), "data": texts}),
            max_size=3,
        ),
        "createBy": st.fixed_dictionaries({"id": texts, "displayName": texts}),
    },
)


@given(people)
def test_all_four_renderings_of_a_contact_are_equal(wire: dict[str, Any]) -> None:
    contact = parse_contact(wire)
    assert parse_contact(pascal(wire)) == contact
    assert parse_contact(as_text(wire)) == contact
    assert parse_contact(as_text(pascal(wire))) == contact
    assert parse_contact(orjson.loads(contact.model_dump_json(by_alias=True, exclude_unset=True))) == contact


WHEN = "2026-01-02T03:04:05Z"


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b'{"id":88,"displayName":"x","created":"2026-01-02T03:04:05Z"}', {"id": 88, "created": WHEN}),
        (b'{"Id":88,"Created":"2026-01-02T03:04:05Z","Title":"x"}', {"Id": 88, "Created": WHEN}),
        (b'{"id":88}', {"id": 88}),
    ],
)  # fmt: skip
def test_the_essence_of_a_contact_is_its_id_and_when_it_was_created(
    body: bytes, kept: dict[str, Any]
) -> None:
    assert json.loads(essence(body)) == kept
    assert created_at(essence(body)) == created_at(body)


@pytest.mark.parametrize("body", [b"", b"null", b"[1]", b"{"])
def test_what_is_no_contact_has_no_essence(body: bytes) -> None:
    assert essence(body) == b""
