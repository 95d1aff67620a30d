"""What a preflight found, in words and for scripts."""

from dataclasses import asdict
from typing import Any

from worker.quantities import counted
from worker.run.preflight import Looked, Preflight


def in_words(found: Preflight) -> list[str]:
    """Lines for people."""
    user = found.user
    who = "somebody it does not name"
    if user is not None:
        rights = {True: ", an administrator", False: ", no administrator", None: ""}[user.is_admin]
        who = f"{user.name}{f' ({user.email})' if user.email else ''}{rights}"
    product = found.product or "an unknown product"
    many = "many pairs in one request" if not found.why_no_batch else "a request for each pair"
    why = f" ({found.why_no_batch})" if found.why_no_batch else ""
    lines = [f"{found.portal}: {product}, CRM visible, as {who}", f"  {many}{why}"]
    sides = (
        ("opportunity", "opportunities", found.opportunities),
        ("contact", "contacts", found.contacts),
    )
    looked = [_of_side(*side) for side in sides if side[-1].count]
    if looked:
        lines.append(f"  sample: {'; '.join(looked)}")
    if found.is_swapped:
        lines.append(
            "  swapped, all of the sample is there: are the two columns meant the other way? see --columns"
        )
    elif found.missing and not (found.opportunities.there or found.contacts.there):
        lines.append("  none of the sample is there: is it the right portal, and the right user?")
    return lines


def as_object(found: Preflight) -> dict[str, Any]:
    """The same for scripts."""
    return {
        "url": found.portal,
        "error": "",
        "user": None if found.user is None else asdict(found.user),
        "product": found.product,
        "crm": True,
        "batch": not found.why_no_batch,
        "why_no_batch": found.why_no_batch,
        "swapped": found.is_swapped,
        "sample": {"opportunities": asdict(found.opportunities), "contacts": asdict(found.contacts)},
        "requests": found.requests,
    }


def failed(portal: str, error: str) -> dict[str, Any]:
    """For scripts, when the portal would not do."""
    return {"url": portal, "error": error}


def _of_side(one: str, several: str, looked: Looked) -> str:
    count = looked.count
    parts = []
    if looked.missing:
        ids = ", ".join(map(str, looked.missing))
        parts.append(f"{one if len(looked.missing) == 1 else several} {ids} missing or hidden")
    if looked.untold:
        parts.append(f"{len(looked.untold)} of them cannot be told")
    if parts:
        return f"{', '.join(parts)} (of {count} looked at)"
    return f"{counted(count, one)} there"
