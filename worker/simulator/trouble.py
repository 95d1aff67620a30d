"""What can go wrong with an answer, and with which one, as frozen data. It does nothing by itself."""

from dataclasses import dataclass
from typing import Literal

TroubleKind = Literal[
    "status",
    "reset",
    "truncated",
    "html_200",
    "empty_200",
    "empty_201",
    "wrong_id",
    "odd_body",
    "slow",
    "hang",
    "redirect",
    "gzip_junk",
    "oversized",
    "xml_bomb",
    "internal_403",
    "forbidden_403",
    "payment_402",
    "closed_404",
    "closed_503",
    "ip_403",
    "doubled_envelope",
    "null_item",
    "missing_item",
    "extra_item",
    "permuted_items",
    "renamed_item",
    "swapped_names",
    "broken_item",
    "cut_items",
]
"""What can go wrong with one answer; ``faults.spoil`` says what each looks like on the wire."""

SHAPES = frozenset(
    {
        "null_item",
        "missing_item",
        "extra_item",
        "permuted_items",
        "renamed_item",
        "swapped_names",
        "broken_item",
        "cut_items",
    }
)
"""Kinds that change the list of results of a batch; ``shapes`` says how."""

ITEM_KINDS = frozenset({"status", "wrong_id", "odd_body", "internal_403", "forbidden_403"})
"""Kinds that an item of a batch can suffer as a request of its own can: what the API itself may answer."""

FaultOn = Literal["post", "delete", "get", "login", "batch", "any"]

_STORES = frozenset({"truncated", "odd_body", "slow", "gzip_junk", "oversized"}) | SHAPES
"""Kinds that spoil the answer to work which was done, unless the scenario says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One thing that goes wrong with an answer.

    Attributes:
        kind: what goes wrong.
        status: HTTP status, where the kind leaves a choice; 0 for its usual one.
        body: what a ``status`` answer carries.
        retry_after: as in ``Throttle``.
        message: text of the error in an envelope; empty for a usual one.
        hresult: .NET's number of the error; 0 for a usual one.
        location: where a ``redirect`` points.
        bytes: size of an ``oversized`` body.
        delay: seconds that the answer is held back; what makes ``slow`` slow.
        after_store: whether the work is done first, of a batch all of it; None for what the kind suggests.
    """

    kind: TroubleKind = "status"
    status: int = 0
    body: Literal["envelope", "html", "empty"] = "envelope"
    retry_after: str = ""
    message: str = ""
    hresult: int = 0
    location: str = "https://elsewhere.example/auth.aspx"
    bytes: int = 32_000_000
    delay: float = 0.0
    after_store: bool | None = None

    @property
    def stores(self) -> bool:
        """Whether the request does its work before the answer goes wrong (contract 4.8, 9.1)."""
        return self.kind in _STORES if self.after_store is None else self.after_store


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault(Trouble):
    """A trouble, and which requests it hits. Faults are tried in order; the first that hits wins.

    Meant for link POSTs, DELETEs or GETs, it hits them as items of a batch as well, if it is an answer of the
    API itself: one of ``ITEM_KINDS``, a ``status`` with an envelope. What a proxy or a connection does hits
    whole requests; to hit a batch, say ``on = "batch"``.

    Attributes:
        on: the requests it is meant for: link POSTs unless said otherwise; ``get`` is any GET, ``batch`` a
            batch as a whole, ``any`` any whole request.
        share: probability; drawn per request from seed, pair and how often the pair was asked, so that the
            order of arrival does not change who is hit.
        times: hits at most, over all; 0 for any number.
        per_pair: hits only the first n requests for a pair; 0 for all of them.
        after: only once this many link POSTs have arrived.
        until: only until this many have; 0 for always.
        only: only these pairs; empty for all. A batch is hit if it would link or unlink one of them, and
            stops there: the items before are carried out, unless ``items_done`` or ``after_store`` says
            otherwise.
        extension: only requests whose path has this one, or none if empty; ``any`` for all. With a page of
            400, it is how Mono fails on a few valid URLs, which pass under another spelling (contract 10.4).
        items_done: so many items of the batch are carried out before it goes wrong; -1 for as many as the
            seed says.
        item: which result of a batch a kind of ``SHAPES`` changes, counted from 1; 0 for one that the seed
            picks. ``cut_items`` shows so many.

    Raises:
        ValueError: the share is none, or the kind does not go with what it is meant for.
    """

    on: FaultOn = "post"
    share: float = 1.0
    times: int = 0
    per_pair: int = 0
    after: int = 0
    until: int = 0
    only: frozenset[tuple[int, int]] = frozenset()
    extension: Literal["any", "", ".json", ".xml", ".tml"] = "any"
    items_done: int | None = None
    item: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise ValueError(f"'share' must be between 0 and 1, not {self.share}")
        if self.on != "batch" and self.kind in SHAPES:
            raise ValueError(f"'kind' {self.kind} needs on = 'batch'")
        if self.on != "batch" and (self.item or self.items_done is not None):
            raise ValueError("'item' and 'items_done' need on = 'batch'")

    @property
    def hits_items(self) -> bool:
        """Whether an item of a batch can suffer it."""
        return self.on not in {"batch", "any"} and self.kind in ITEM_KINDS and self.body == "envelope"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage(Trouble):
    """A trouble that everybody gets for a while, before authentication (contract 3.4).

    Attributes:
        after: it starts when this many link POSTs have arrived; 0 for at once.
        seconds: how long it lasts; 0 for ever.

    Raises:
        ValueError: the kind is one of batches only.
    """

    after: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.kind in SHAPES:
            raise ValueError(f"'kind' {self.kind} is for faults on batches only")
