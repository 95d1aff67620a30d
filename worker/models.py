"""The values that pass between rooms. Frozen; each stage makes a new one.

Those that are made once or more for each row are Structs of msgspec, which are made in a tenth of the time
that a frozen dataclass takes. All are made by us, so there is nothing to validate; what comes from outside
is validated by pydantic where it enters (:mod:`worker.settings`, :mod:`worker.contact`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

MAX_ID = 2_147_483_647
"""Ids are .NET ``int``; a larger one is a 400 at the portal (contract 1.5)."""


def ids_of(key: int) -> tuple[int, int]:
    """The opportunity and the contact of a :attr:`Pair.key`."""
    return key >> 32, key & 0xFFFFFFFF


class Word(StrEnum):
    """A word of a closed list. Its hash is that of its text, which is kept; an Enum's is a call each time."""

    __hash__ = str.__hash__


class Status(Word):
    """The state of a row; the states sum to the rows read."""

    LINKED = "linked"
    ALREADY_LINKED = "already_linked"
    DUPLICATE = "duplicate"
    INVALID = "invalid"
    REJECTED = "rejected"
    RETRYABLE = "retryable"
    UNKNOWN = "unknown"
    NOT_ATTEMPTED = "not_attempted"


class Result(Word):
    """What one attempt proves."""

    OK = "ok"
    THROTTLED = "throttled"
    """Refused before processing because we are too fast; says nothing about the pair."""
    TRANSIENT = "transient"
    """Certainly not stored; another try may succeed."""
    AMBIGUOUS = "ambiguous"
    """May or may not be stored."""
    PERMANENT = "permanent"
    """The portal says no to this pair, and will say it again."""


class PreState(Word):
    """What was at the portal before we first wrote."""

    ABSENT = "absent"
    PRESENT = "present"
    UNREAD = "unread"


EXTRA = "_extra"
"""Name of the last columns of a file that we write, with the cells that the input has beyond its header."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How an input is written; what comes back of it is written alike.

    Attributes:
        delimiter: between cells; of CSV only.
        encoding: ``utf-8``, ``utf-16-le`` or ``utf-16-be``.
        bom: whether it begins with a byte order mark.
        line_end: LF, CR or both.
        sep_line: whether its first line tells Excel the delimiter.

    Raises:
        ValueError: no input is written like this; a ledger that says so is damaged.
    """

    delimiter: str = ","
    encoding: str = "utf-8"
    bom: bool = False
    line_end: str = "\n"
    sep_line: bool = False

    def __post_init__(self) -> None:
        if (
            self.encoding not in {"utf-8", "utf-16-le", "utf-16-be"}
            or self.line_end not in {"\n", "\r", "\r\n"}
            or len(self.delimiter) != 1
            or self.delimiter in '"\r\n\0'
        ):
            raise ValueError("no input is written like this")


class Row(msgspec.Struct, frozen=True):
    """One record of the input, before anyone judged it.

    Attributes:
        number: 1 for the first record after the header.
        line: the physical line where the record starts, 1 for the first line of the file.
        cells: the original text of the source's columns, in their order; of a faulty row that has more, also
            those beyond the columns.
        opportunity: text of the opportunity cell as it stands, or None if the record has none.
        contact: text of the contact cell as it stands, or None if the record has none.
        fault: why the record could not be read as a record; empty if it could.
    """

    number: int
    line: int
    cells: tuple[str, ...]
    opportunity: str | None
    contact: str | None
    fault: str = ""


class Pair(msgspec.Struct, frozen=True):
    """A valid request to link; ``row`` and ``line`` say where it was first asked for.

    Attributes:
        in_doubt: an earlier session may have sent it, and nobody knows what came of it.
        pre: what the portal held before it was first sent.
    """

    row: int
    line: int
    opportunity_id: int
    contact_id: int
    in_doubt: bool = False
    pre: PreState = PreState.UNREAD

    @property
    def key(self) -> int:
        """Both ids in one 64-bit integer: the identity of a link within a portal."""
        return self.opportunity_id << 32 | self.contact_id


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that can never be a pair, and why."""

    row: int
    line: int
    reason: str


class Kind(Word):
    """What a request is for."""

    LINK = "link"
    LOOK = "look"
    MEMBERS = "members"
    """A page of all members of an opportunity."""
    UNLINK = "unlink"
    EXISTS = "exists"
    """Is an opportunity, or a contact, there for us?"""
    BATCH = "batch"
    """Several of the above in one request."""
    PROBE = "probe"
    """A harmless question: does the portal work, and does it take us?"""
    LOGIN = "login"


QUESTIONS = frozenset({Kind.PROBE, Kind.LOGIN})
"""What others wait for, and what does none of their work."""


READS = frozenset({Kind.LOOK, Kind.MEMBERS, Kind.EXISTS})
"""What changes nothing at the portal, though it is about pairs."""


class Ask(msgspec.Struct, frozen=True):
    """What an operation wants of the portal next.

    Attributes:
        kind: link, look, members, unlink or exists.
        opportunity_id: 0 if it is asked whether a contact exists.
        contact_ids: those that are sought; of a link or its removal, the one; none for a page of members, or
            if it is asked whether an opportunity exists.
        because: reason of the failed attempt that makes it necessary to ask again; empty the first time.
        ids_only: of a look, only who is a member is wanted, and not their Contacts.
        start: of a page of members, how many come before it.
    """

    kind: Kind
    opportunity_id: int
    contact_ids: tuple[int, ...]
    because: str = ""
    ids_only: bool = False
    start: int = 0


class Page(msgspec.Struct, frozen=True):
    """What a page of a list says of itself (contract 5.2).

    Attributes:
        items: entries that it has, whether they can be read or not.
        count: how many it says that it has; None if it does not say.
        total: how many the whole list has, said only where that is more; None if it does not say.
    """

    items: int
    count: int | None = None
    total: int | None = None


class Attempt(msgspec.Struct, frozen=True):
    """What one request says about one operation.

    Attributes:
        reason: a stable word for the cause, such as ``http_503`` or ``timeout``; empty when ok.
        seconds: from the first byte sent to the last byte of the answer, or to the failure.
        body: the Contact that proves a link or its removal, as the portal sent it, as JSON.
        found: of a look, those of the sought that are members: their Contacts as JSON, by id; of a page of
            members, all on it.
        page: of a page of members, what it says of itself.
        strangers: of a look, members that nobody sought: this portal does not filter (contract 5.5).
        shared: it had no answer of its own: others were in the same request, so what befell that need not be
            this one's doing.
    """

    result: Result
    reason: str = ""
    http_status: int | None = None
    seconds: float = 0.0
    body: bytes = b""
    found: Mapping[int, bytes] = msgspec.field(default_factory=dict)
    strangers: int = 0
    shared: bool = False
    page: Page | None = None


class Request(msgspec.Struct, frozen=True):
    """One HTTP request and how it fared: what limits, breaker and traffic figures learn from.

    Attributes:
        items: operations that it carried; 0 if it was about none.
        again: those of them that were asked for before.
        repeated: for each link and removal among these, the reason why it is asked for again.
        result: what the answer says of the portal: ok and permanent are answers of a portal at work.
        retry_after: seconds the portal asks everyone to wait; None if it names no time. Of an answer that is
            no refusal: until it has a new quota for us, the old one being used up.
        seconds: from the first byte sent to the last byte of the answer, or to the failure.
    """

    kind: Kind
    result: Result
    items: int = 0
    again: int = 0
    repeated: tuple[str, ...] = ()
    reason: str = ""
    http_status: int | None = None
    retry_after: float | None = None
    seconds: float = 0.0

    @property
    def is_first(self) -> bool:
        """Whether it is about something that was not asked for before."""
        return self.again < max(self.items, 1)


class Exchange(msgspec.Struct, frozen=True):
    """One HTTP request, and what it says about each operation that it carried, in their order."""

    request: Request
    attempts: tuple[Attempt, ...]


class Outcome(msgspec.Struct, frozen=True):
    """The last word on a pair. At most one per pair per run; none means resume takes it.

    Attributes:
        attempts: every request made for the pair alone in this session, oldest first; none if looking at
            the members, for it and others, told enough.
        reason: a stable word for the cause; empty when linked.
        http_status: of the answer that decided.
        found: the Contact among the members, as JSON, if that told.
    """

    pair: Pair
    status: Status
    attempts: tuple[Attempt, ...]
    reason: str = ""
    http_status: int | None = None
    found: bytes = b""

    @property
    def body(self) -> bytes:
        """The Contact as the portal sent it, as JSON; empty unless the link is there."""
        return self.attempts[-1].body if self.attempts else self.found
