"""The Contact of the CRM API, typed. It reads what the portal sends and what its documentation shows.

One model serves four renderings: camelCase (the wire, contract 2.1), PascalCase (the documentation, 2.8),
JSON, and the text of XML (2.7). Keys that the portal drops stay unset, so ``model_dump(exclude_unset=True)``
gives back what was sent; their defaults say what the omission means (2.4). Unknown keys are kept.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import IntEnum
from typing import Annotated, TypeVar

import orjson
from pydantic import (
    AliasChoices,
    AliasGenerator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)
from pydantic.alias_generators import to_camel, to_pascal

_T = TypeVar("_T")


def _one(value: object) -> object:
    # In XML a null object and an empty string look the same (contract 2.7); only the schema can tell.
    return None if value == "" else value


def _texts(value: object) -> Sequence[object]:
    if value is None or value == "":
        return ()
    # XML cannot tell a list of one from its item (contract 2.7).
    return value if isinstance(value, (list, tuple)) else (value,)


def _objects(value: object) -> Sequence[object]:
    # An address whose stored form does not parse comes as {} (contract 2.4): in XML, an empty element.
    return [item for item in _texts(value) if item is not None and item != ""]


def _read_as(name: str) -> AliasChoices:
    names = (to_camel(name), to_pascal(name))
    # The documentation writes `id`, `Id` and `ID`, and not always one of them per page.
    return AliasChoices(*names, "ID") if name == "id" else AliasChoices(*names)


Maybe = Annotated[_T | None, BeforeValidator(_one)]
"""An object that may be null, absent, or an empty element."""
Objects = Annotated[tuple[_T, ...], BeforeValidator(_objects)]
"""A list of objects that may be null, absent, or a lone element."""
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
"""A list of strings that may be null, absent, or a lone element."""
Known = Annotated[_T | int, Field(union_mode="left_to_right")]
"""A member of an enum, or a bare number that a newer portal may send."""


class ShareType(IntEnum):
    """Who may see a contact (contract 2.4)."""

    NONE = 0
    READ_WRITE = 1
    READ = 2


class InfoType(IntEnum):
    """What an item of ``commonData`` holds (contract 2.4)."""

    PHONE = 0
    EMAIL = 1
    WEBSITE = 2
    SKYPE = 3
    TWITTER = 4
    LINKEDIN = 5
    FACEBOOK = 6
    ADDRESS = 7
    LIVEJOURNAL = 8
    MYSPACE = 9
    GMAIL = 10
    BLOGGER = 11
    YAHOO = 12
    MSN = 13
    ICQ = 14
    JABBER = 15
    AIM = 16
    VK = 17


class AddressCategory(IntEnum):
    """The kind of an address (contract 2.4)."""

    HOME = 0
    POSTAL = 1
    OFFICE = 2
    BILLING = 3
    OTHER = 4
    WORK = 5


class FieldType(IntEnum):
    """The kind of a custom field (contract 2.4)."""

    TEXT = 0
    AREA = 1
    SELECT = 2
    CHECKBOX = 3
    HEADING = 4
    DATE = 5


class Wire(BaseModel):
    """Root of all that the portal sends: frozen, read in either casing, written in camelCase."""

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        alias_generator=AliasGenerator(validation_alias=_read_as, serialization_alias=to_camel),
        # A contact is somebody's name and e-mail; neither belongs in an error message.
        hide_input_in_errors=True,
    )


class Employee(Wire):
    """A user of the portal (contract 2.4); ``title`` is dropped when blank."""

    id: str | None = None
    display_name: str | None = None
    title: str | None = None
    avatar_small: str | None = None
    profile_url: str | None = None


class Currency(Wire):
    """A currency (contract 2.4); ``title`` is in the language of the calling user."""

    title: str | None = None
    symbol: str | None = None
    abbreviation: str | None = None
    culture_name: str | None = None
    is_convertable: bool = False
    is_basic: bool = False


class ListItem(Wire):
    """The status or the type of a contact (contract 2.4); each member is dropped when null or 0."""

    id: int | None = None
    title: str | None = None
    description: str | None = None
    color: str | None = None
    sort_order: int = 0


class Address(Wire):
    """A postal address (contract 2.4); ``category`` is dropped when HOME, ``isPrimary`` when false."""

    street: str | None = None
    city: str | None = None
    state: str | None = None
    zip: str | None = None
    country: str | None = None
    category: Known[AddressCategory] = AddressCategory.HOME
    category_name: str | None = None
    is_primary: bool = False


class ContactInfo(Wire):
    """A phone number, an e-mail address or the like (contract 2.4).

    ``category`` is a bare number since its meaning hangs on ``infoType``. Ids of nested items can go missing
    on a portal whose cache was once spoilt by a request without ``id`` in ``fields`` (contract 5.6).
    """

    id: int | None = None
    info_type: Known[InfoType] = InfoType.PHONE
    category: int = 0
    data: str | None = None
    category_name: str | None = None
    is_primary: bool = False


class CustomField(Wire):
    """A field that the portal's owner defined (contract 2.4).

    ``fieldValue`` is the stored text: a date in it is not in the API's form. A heading has an empty value.
    """

    id: int | None = None
    entity_id: int = 0
    label: str | None = None
    field_value: str | None = None
    field_type: Known[FieldType] = FieldType.TEXT
    position: int = 0
    mask: str | None = None


class ContactBase(Wire):
    """What every contact has; the whole of the ``company`` inside a person (contract 2.4)."""

    # Ids are .NET `int` (contract 1.5).
    id: int = Field(ge=1, le=2_147_483_647)
    display_name: str | None = None
    is_company: bool = False
    small_foto_url: str | None = None
    medium_foto_url: str | None = None
    access_list: Objects[Employee] = ()
    is_private: bool = False
    is_shared: bool = False
    share_type: Known[ShareType] = ShareType.NONE
    currency: Maybe[Currency] = None
    can_edit: bool = False
    can_delete: bool = False


class Contact(ContactBase):
    """The members that a person and a company share (contract 2.4).

    ``tags`` come with lists alone, ``contactType`` only in the documentation.
    """

    addresses: Objects[Address] = ()
    create_by: Maybe[Employee] = None
    created: Maybe[AwareDatetime] = None
    about: str | None = None
    industry: str | None = None
    contact_status: Maybe[ListItem] = None
    contact_type: Maybe[ListItem] = None
    common_data: Objects[ContactInfo] = ()
    custom_fields: Objects[CustomField] = ()
    tags: Texts = ()
    task_count: int = 0
    have_late_tasks: bool = False


class Person(Contact):
    """A contact that is a person (contract 2.5)."""

    first_name: str | None = None
    last_name: str | None = None
    title: str | None = None
    company: Maybe[ContactBase] = None


class Company(Contact):
    """A contact that is a company (contract 2.6)."""

    company_name: str | None = None
    persons_count: int = 0


_PERSON_KEYS = frozenset(
    f(n) for n in ("first_name", "last_name", "title", "company") for f in (to_camel, to_pascal)
)
_COMPANY_KEYS = frozenset(f(n) for n in ("company_name", "persons_count") for f in (to_camel, to_pascal))


def _kind(data: Mapping[str, object]) -> type[Contact]:
    said = str(data.get("isCompany", data.get("IsCompany"))).lower()
    if said in {"true", "1"}:
        return Company
    if said in {"false", "0"}:
        return Person
    # `fields=` can cut the flag away (contract 5.6); the members that are left still show the kind.
    if not _COMPANY_KEYS.isdisjoint(data):
        return Company
    return Contact if _PERSON_KEYS.isdisjoint(data) else Person


def parse_contact(data: Mapping[str, object]) -> Contact:
    """Read one Contact, as JSON or as the text of XML, in the casing of the wire or of the documentation.

    Returns:
        A :class:`Person` or a :class:`Company`, or a plain :class:`Contact` when nothing shows which
        (contract 2.4).

    Raises:
        ValueError: there is no usable id, or a member that is there has not the type that the contract names.
            A missing member is never an error. The message holds no value of the contact.
    """
    return _kind(data).model_validate(data)


def created_at(body: bytes) -> datetime | None:
    """When a contact was created, by its Contact as JSON; None if that does not tell (contract 2.9)."""
    try:
        return parse_contact(orjson.loads(body)).created
    except ValueError:
        return None


def can_be_edited(body: bytes) -> bool:
    """Whether a member is shown as editable; never the opportunity's primary contact (contract 2.4).

    Args:
        body: its Contact as JSON, as a list of members shows it.
    """
    try:
        return parse_contact(orjson.loads(body)).can_edit
    except ValueError:
        return False


def essence(body: bytes) -> bytes:
    """What a rollback needs of a Contact: its id, and when it was created; nothing of a body that is none."""
    try:
        value = orjson.loads(body)
    except ValueError:
        return b""
    if not isinstance(value, dict):
        return b""
    return orjson.dumps({name: value[name] for name in value if name.lower() in {"id", "created"}})
