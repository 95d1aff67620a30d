"""Judge a row: a pair to link, or a reject with its reason. Pure; de-duplication is the ledger's."""

from worker.models import MAX_ID, Pair, Reject, Row, ids_of

_DIGITS = len(str(MAX_ID))


def judge(row: Row) -> Pair | Reject:
    """Make a pair of a row, or say in one short line why it can never be one.

    An id is 1 to 2147483647 in ASCII digits; spaces around it and leading zeros do not matter
    (contract 1.3, 1.5).
    """
    key = key_of(row)
    if isinstance(key, str):
        return Reject(row.number, row.line, key)
    return Pair(row.number, row.line, *ids_of(key))


def key_of(row: Row) -> int | str:
    """The :attr:`~worker.models.Pair.key` of the pair that a row makes, or why it can never be one.

    The same as :func:`judge`, for whoever reads rows by the million and keeps no pair.
    """
    if row.fault:
        return row.fault
    opportunity = id_of("opportunity_id", row.opportunity)
    if isinstance(opportunity, str):
        return opportunity
    contact = id_of("contact_id", row.contact)
    if isinstance(contact, str):
        return contact
    return opportunity << 32 | contact


def id_of(name: str, text: str | None) -> int | str:
    """The id as a number, or the reason why ``text`` is none."""
    # As nearly all are. str.isdigit alone takes other scripts and superscripts, and int() takes signs and
    # underscores. Lengths first: int() of a cell with a million digits is refused with an error of its own.
    if text and len(text) <= _DIGITS and text.isdigit() and text.isascii():
        number = int(text)
        if 0 < number <= MAX_ID:
            return number
    digits = (text or "").strip()
    if not digits:
        return f"{name} is empty"
    if not (digits.isascii() and digits.isdigit()):
        return f"{name} is not a whole number"
    significant = digits.lstrip("0")
    if not significant:
        return f"{name} is 0"
    if len(significant) > _DIGITS or int(significant) > MAX_ID:
        return f"{name} is above {MAX_ID}"
    return int(significant)
