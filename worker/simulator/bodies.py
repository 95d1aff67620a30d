"""Written objects, kept so that the same contact is written once. No rights, and nothing is done."""

import gzip
from functools import lru_cache

from worker.simulator import replies, wire
from worker.simulator.people import People
from worker.simulator.replies import Reply
from worker.simulator.scenario import Holdings

_KEPT = 8192
_SMALL = 4096


class Bodies:
    """Writes the objects of one portal. A new scenario needs a new one."""

    def __init__(self, holdings: Holdings) -> None:
        self.people = People(holdings)
        self.single = lru_cache(_KEPT)(self._single)
        self.linked = lru_cache(_KEPT)(self._linked)
        self.listed = lru_cache(_KEPT)(self._listed)

    def _single(self, contact: int, status: int, xml: bool, fields: frozenset[str]) -> bytes:
        value = wire.only_fields(self.people.single(contact), fields)
        return wire.single(wire.piece(value, xml=xml), status, xml=xml)

    def _linked(self, contact: int, status: int, xml: bool, fields: frozenset[str]) -> Reply:
        return replies.success(self.single(contact, status, xml, fields), status, xml=xml)

    def _listed(self, contact: int, primary: bool, xml: bool, fields: frozenset[str]) -> bytes:
        value = wire.only_fields(self.people.listed(contact, primary=primary), fields)
        return wire.piece(value, xml=xml)


def zipped(body: bytes) -> bytes:
    """Compress a body; small ones, which are the contacts that come again, are kept."""
    return _zipped(body) if len(body) <= _SMALL else gzip.compress(body, 1, mtime=0)


@lru_cache(_KEPT)
def _zipped(body: bytes) -> bytes:
    return gzip.compress(body, 1, mtime=0)
