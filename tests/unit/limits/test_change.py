"""What is kept of the changes of a session."""

from worker.limits.change import FIRST_KEPT, LAST_KEPT, History


def test_all_are_kept_while_they_are_few() -> None:
    history = History()
    for number in range(100):
        history.add({"at": number})

    assert [record["at"] for record in history.kept] == list(range(100))


def test_of_many_the_first_and_the_last_are_kept() -> None:
    history = History()
    for number in range(1000):
        history.add({"at": number})

    kept = [record["at"] for record in history.kept]
    assert kept == [*range(FIRST_KEPT), *range(1000 - LAST_KEPT, 1000)]
