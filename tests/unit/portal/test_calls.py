"""What is sent for each question of an operation."""

import pytest

from worker.models import Ask, Kind
from worker.portal.calls import call_for


@pytest.mark.parametrize(("ids_only", "fields"), [(False, None), (True, "id")])
def test_a_look_that_wants_ids_alone_asks_for_no_more(ids_only: bool, fields: str | None) -> None:
    """The id is always among them: without it later answers of the portal's process would miss theirs."""
    call = call_for(Ask(Kind.LOOK, 5, (1, 2), ids_only=ids_only))
    assert call.query is not None
    assert call.query.get("fields") == fields
