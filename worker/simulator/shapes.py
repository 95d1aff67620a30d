"""Change the list of results of a batch, as the kinds of fault do that are about it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import TypeVar

from worker.simulator.results import Result
from worker.simulator.trouble import Fault

_T = TypeVar("_T")
_Results = list[Result | None]


def reshape(results: _Results, fault: Fault, rng: Random) -> _Results:
    """Give the results as the fault leaves them; ``rng`` picks the result, where the fault does not."""
    if not results:
        return results
    drawn = rng.randrange(len(results))
    at = min(fault.item, len(results)) - 1 if fault.item else drawn
    return _SHAPERS[fault.kind](results, at)


def _put(results: _Results, at: int, *put: Result | None) -> _Results:
    return [*results[:at], *put, *results[at + 1 :]]


def _rotated(values: list[_T]) -> list[_T]:
    return [*values[1:], *values[:1]]


def _named(result: Result | None, name: str | None) -> Result | None:
    return None if result is None else replace(result, name=name)


def _swapped(results: _Results) -> _Results:
    names = _rotated([None if one is None else one.name for one in results])
    return [_named(one, name) for one, name in zip(results, names, strict=True)]


def _halved(result: Result | None) -> Result | None:
    if result is None:
        return None
    text = result.data.decode()
    return replace(result, data=text[: len(text) // 2].encode())


_SHAPERS: Mapping[str, Callable[[_Results, int], _Results]] = {
    "null_item": lambda results, at: _put(results, at, None),
    "missing_item": _put,
    "extra_item": lambda results, at: _put(results, at, results[at], results[at]),
    "permuted_items": lambda results, _at: _rotated(results),
    "renamed_item": lambda results, at: _put(results, at, _named(results[at], "nobody")),
    "swapped_names": lambda results, _at: _swapped(results),
    "broken_item": lambda results, at: _put(results, at, _halved(results[at])),
}
