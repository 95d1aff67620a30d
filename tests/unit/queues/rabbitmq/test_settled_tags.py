"""One acknowledgement stands for many, and never for one that is not settled, whatever the order."""

from hypothesis import given
from hypothesis import strategies as st

from worker.queues.rabbitmq.settled_tags import SettledTags

batches_in_any_order = (
    st.integers(1, 40)
    .flatmap(lambda count: st.tuples(st.permutations(range(1, count + 1)), st.randoms(use_true_random=False)))
    .map(lambda drawn: cut(list(drawn[0]), drawn[1].randrange(1, 8)))
)


def cut(tags: list[int], size: int) -> list[list[int]]:
    return [tags[at : at + size] for at in range(0, len(tags), size)]


class Broker:
    """What it makes of acknowledgements: it refuses one of a tag that it does not wait for."""

    def __init__(self, delivered: int) -> None:
        self.waits_for = set(range(1, delivered + 1))

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        assert tag in self.waits_for
        self.waits_for -= {one for one in self.waits_for if one == tag or (multiple and one < tag)}


@given(batches_in_any_order)
def test_the_broker_is_told_of_each_that_is_settled_and_of_no_other(batches: list[list[int]]) -> None:
    delivered = sum(map(len, batches))
    tags, broker, settled = SettledTags(), Broker(delivered + 1), set()
    for batch in batches:
        settled |= set(batch)
        last, rest = tags.settle(batch)
        if last is not None:
            broker.ack(last, multiple=True)
        for tag in rest:
            broker.ack(tag)
        assert broker.waits_for == set(range(1, delivered + 2)) - settled


def test_in_order_one_acknowledgement_does() -> None:
    tags = SettledTags()
    assert tags.settle(range(1, 501)) == (500, [])
    assert tags.settle([501]) == (501, [])


def test_what_stands_behind_one_that_is_still_open_is_said_one_by_one() -> None:
    tags = SettledTags()
    assert tags.settle([1, 2, 5, 4]) == (2, [4, 5])
    assert tags.settle([6]) == (None, [6])
    assert tags.settle([3]) == (3, [])
    assert tags.settle([8, 7]) == (8, [])
