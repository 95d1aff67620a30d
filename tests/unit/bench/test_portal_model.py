"""Models of portals: what each of their traits does to an answer."""

import pytest

from worker.bench.portal_model import REFUSED_IN, PortalModel, Said, Shape

EVEN = {"latency": 0.2, "jitter": 0.0}


def portal(*then: tuple[float, dict[str, object]], **traits: object) -> PortalModel:
    return PortalModel(Shape(**{**EVEN, **traits}), list(then), seed=1)  # type: ignore[arg-type]  # traits of a shape


def test_it_takes_any_number_at_once_if_it_is_told_nothing() -> None:
    model = portal()

    assert {model.answer(1.0).seconds for _ in range(100)} == {0.2}


def test_what_is_more_than_its_servers_waits_for_one_to_be_free() -> None:
    model = portal(servers=2)

    seconds = [model.answer(1.0).seconds for _ in range(5)]

    assert seconds == pytest.approx([0.2, 0.2, 0.4, 0.4, 0.6])
    assert model.answer(5.0).seconds == pytest.approx(0.2)


def test_fewer_servers_from_a_time_on() -> None:
    model = portal((10.0, {"servers": 1}), servers=4)
    for _ in range(4):
        model.answer(1.0)

    assert [model.answer(10.0).seconds for _ in range(3)] == pytest.approx([0.2, 0.4, 0.6])


def test_beyond_its_knee_each_makes_all_others_slower() -> None:
    model = portal(knee=2, drag=0.1)

    seconds = [model.answer(1.0).seconds for _ in range(4)]

    assert seconds == pytest.approx([0.2, 0.2, 0.2 * 1.5 * 1.1, 0.2 * 2 * 1.2])


def test_a_sliding_limit_holds_in_any_window_and_names_the_time_to_wait() -> None:
    model = portal(rate=2, period=10.0, retry_after=True)
    assert [model.answer(at).says for at in (1.0, 4.0)] == ["ok", "ok"]

    assert model.answer(5.0) == Said("throttled", REFUSED_IN, 6.0)

    assert [model.answer(at).says for at in (10.9, 11.0, 13.9, 14.0)] == [
        "throttled",
        "ok",
        "throttled",
        "ok",
    ]


def test_a_fixed_limit_begins_anew_with_each_window_of_the_clock() -> None:
    model = portal(rate=2, period=10.0, window="fixed", retry_after=True)
    assert [model.answer(at).says for at in (8.0, 9.0)] == ["ok", "ok"]

    assert model.answer(9.5) == Said("throttled", REFUSED_IN, 1.0)

    assert [model.answer(at).says for at in (10.0, 10.1, 10.2)] == ["ok", "ok", "throttled"]


def test_a_refusal_need_not_name_a_time() -> None:
    model = portal(rate=1)
    model.answer(1.0)

    assert model.answer(1.1).retry_after is None


def test_more_than_it_takes_at_once_is_refused() -> None:
    model = portal(at_once=2)

    assert [model.answer(1.0).says for _ in range(3)] == ["ok", "ok", "throttled"]
    assert model.answer(1.3).says == "ok"


def test_it_is_down_or_silent_for_a_while() -> None:
    model = portal(
        (1.0, {"down": True}), (2.0, {"down": False, "times_out": True}), (3.0, {"times_out": False})
    )

    answers = [model.answer(at) for at in (0.5, 1.0, 2.0, 3.0)]

    assert [answer.says for answer in answers] == ["ok", "failed", "timeout", "ok"]
    assert answers[2].seconds == 30.0
    assert model.arrivals == [0.5, 1.0, 2.0, 3.0]


def test_an_answer_that_takes_too_long_never_comes() -> None:
    model = portal(servers=1, latency=20.0)

    assert [model.answer(1.0).says for _ in range(2)] == ["ok", "timeout"]


def test_the_same_seed_gives_the_same_latencies() -> None:
    first, second = (PortalModel(Shape(jitter=0.5), [], seed=7) for _ in range(2))

    latencies = [first.answer(float(at)).seconds for at in range(50)]

    assert latencies == [second.answer(float(at)).seconds for at in range(50)]
    assert len(set(latencies)) == 50
