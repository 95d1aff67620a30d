"""Judge a row: a pair to link, or a reject with its reason. Pure; de-duplication is the ledger's."""

from worker.models import MAX_ID, Pair, Reject, Row


def judge(row: Row) -> Pair | Reject:
    """Make a pair of a row, or say in one short line why it can never be one.

    An id is 1 to 2147483647 in ASCII digits; spaces around it and leading zeros do not matter
    (contract 1.3, 1.5).
    """
    if row.fault:
        return Reject(row.number, row.line, row.fault)
    opportunity = _id("opportunity_id", row.opportunity)
    if isinstance(opportunity, str):
        return Reject(row.number, row.line, opportunity)
    contact = _id("contact_id", row.contact)
    if isinstance(contact, str):
        return Reject(row.number, row.line, contact)
    return Pair(row.number, row.line, opportunity, contact)


def _id(name: str, text: str | None) -> int | str:
    """The id as a number, or the reason why ``text`` is none."""
    digits = (text or "").strip()
    if not digits:
        return f"{name} is empty"
    # str.isdigit alone takes other scripts and superscripts, and int() takes signs and underscores.
    if not (digits.isascii() and digits.isdigit()):
        return f"{name} is not a whole number"
    significant = digits.lstrip("0")
    if not significant:
        return f"{name} is 0"
    # Lengths first: int() of a cell with a million digits is refused by Python with an error of its own.
    if len(significant) > len(str(MAX_ID)) or int(significant) > MAX_ID:
        return f"{name} is above {MAX_ID}"
    return int(significant)
