"""The recorded requests and answers as values, and the portal they were recorded on, as a scenario."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from worker.simulator import Auth, Holdings, Scenario

_FILE = Path(__file__).with_name("portal-wire.jsonl")
_PAGE = "{html page}"
_TOKENS = {"admin": "admin-token", "bob": "bobs-token", "bad": "no-token-at-all", "none": ""}

SCENARIO = Scenario(
    portal=Holdings(
        opportunities=300,
        contacts=3000,
        dangling_contacts=frozenset({2800}),
        private_opportunities=frozenset({91}),
        private_contacts=frozenset({2700}),
        companies_every=0,
        companies_from=2901,
    ),
    auth=Auth(
        token=_TOKENS["admin"],
        limited_token=_TOKENS["bob"],
        username="admin@example.com",
        password="Secret-123",
    ),
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer.

    Attributes:
        headers: of the request, the user's token included.
        fields: of the answer, by name in lower case.
        answer: the body as text, before compression; None for a page.
        links_after: what was linked to the opportunity afterwards; None where nobody looked.
    """

    n: int
    title: str
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    status: int
    reason: str
    fields: Mapping[str, str]
    answer: str | None
    links_after: frozenset[int] | None


@cache
def exchanges() -> tuple[Exchange, ...]:
    """Give all that was recorded, in order."""
    with _FILE.open(encoding="utf-8") as lines:
        return tuple(_exchange(json.loads(line)) for line in lines)


def _exchange(row: Mapping[str, Any]) -> Exchange:
    target, token = row["target"], _TOKENS[row["user"]]
    if "(see note)" in target:
        length = int(row["note"].split()[-2])
        target = f"{target.partition('?')[0]}?{'x' * length}"
    given = {name: _filled(value) for name, value in row["headers"].items()}
    after = row.get("links_after")
    return Exchange(
        n=row["n"],
        title=f"{row['n']} {row['group']}: {row['note']}",
        method=row["method"],
        target=_filled(target),
        headers={**({"Authorization": token} if token else {}), **given},
        body=(row["body"] or "").encode(),
        status=row["status"],
        reason=row["reason"],
        fields={name.lower(): value for name, value in row["response_headers"]},
        answer=None if row["response"] == _PAGE else row["response"],
        links_after=None if after is None else frozenset(after),
    )


def _filled(text: str) -> str:
    return text.replace("{admin token}", _TOKENS["admin"])
