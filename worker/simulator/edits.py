"""What others do at the portal while somebody works on it: frozen data, and when it happens. No answers."""

from dataclasses import dataclass
from typing import Literal

from worker.simulator.books import Books

EditKind = Literal["link", "unlink", "delete", "hide", "show"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One thing that another user does.

    A ``link`` or ``unlink`` is about a pair, all else about one side. What is deleted takes its links with it
    (contract 4.8); what is hidden keeps them, but nobody who asks sees it any more, nor that it is linked
    (contract 4.5, 5.1), until it is shown.

    Attributes:
        do: what is done.
        opportunity: whose link, or which opportunity; 0 if it is about a contact alone.
        contact: which contact; 0 if it is about an opportunity alone.
        at_call: done just before this call is answered: calls are counted from 1, alone or as items of a
            batch, those included that go wrong; those that never reach the API are not.
        after_seconds: done when so long has passed since the first call. If both are given, both must be so.

    Raises:
        ValueError: a side is missing, or too many.
    """

    do: EditKind = "link"
    opportunity: int = 0
    contact: int = 0
    at_call: int = 0
    after_seconds: float = 0.0

    def __post_init__(self) -> None:
        sides = (self.opportunity > 0) + (self.contact > 0)
        if self.do in {"link", "unlink"} and sides < 2:  # noqa: PLR2004 - a pair has two
            raise ValueError(f"'do' {self.do} needs 'opportunity' and 'contact'")
        if self.do not in {"link", "unlink"} and sides != 1:
            raise ValueError(f"'do' {self.do} needs either 'opportunity' or 'contact'")


class Others:
    """Makes the edits when their time has come, and knows what can be seen since.

    Args:
        edits: of the scenario; those whose time comes together are made in their order.
        books: are told of links that come and go.
    """

    def __init__(self, edits: tuple[Edit, ...], books: Books) -> None:
        self._waiting = list(edits)
        self._books = books
        self._calls = 0
        self._began: float | None = None
        self._gone: set[tuple[str, int]] = set()
        self._hidden: set[tuple[str, int]] = set()

    def called(self, now: float) -> None:
        """A call has come whose answer sees what was done before."""
        self._calls += 1
        self._began = now if self._began is None else self._began
        self.catch_up(now)

    def catch_up(self, now: float) -> None:
        """Make the edits whose time has come."""
        if self._waiting:
            due = [edit for edit in self._waiting if self._is_due(edit, now)]
            self._waiting = [edit for edit in self._waiting if edit not in due]
            for edit in due:
                self._make(edit)

    def sees_opportunity(self, opportunity: int) -> bool:
        """Whether none of them has deleted or hidden it."""
        return self._sees(("opportunity", opportunity))

    def sees_contact(self, contact: int) -> bool:
        """Whether none of them has deleted or hidden it."""
        return self._sees(("contact", contact))

    def _sees(self, entity: tuple[str, int]) -> bool:
        return entity not in self._gone and entity not in self._hidden

    def _is_due(self, edit: Edit, now: float) -> bool:
        passed = 0.0 if self._began is None else now - self._began
        return self._began is not None and self._calls >= edit.at_call and passed >= edit.after_seconds

    def _make(self, edit: Edit) -> None:
        pair = edit.opportunity, edit.contact
        entity = ("opportunity", edit.opportunity) if edit.opportunity else ("contact", edit.contact)
        match edit.do:
            case "link":
                self._books.linked_by_others(*pair)
            case "unlink":
                self._books.unlinked_by_others(*pair)
            case "delete":
                self._gone.add(entity)
                self._books.deleted_by_others(*pair)
            case "hide":
                self._hidden.add(entity)
            case "show":
                self._hidden.discard(entity)
        self._books.edits += 1
