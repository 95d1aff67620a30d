"""What strict readers refuse for a lone surrogate, they take when it is mended; all else stays as it is."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.json_text import dump_texts, load_texts, mend


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"\ud83d"', r"\ud83d"),
        (r'"\uD83D\uDE00"', "\U0001f600"),
        (r'"\ude00\ud83d"', r"\ude00\ud83d"),
        (r'"\ud83d\ud83d\ude00"', "\\ud83d\U0001f600"),
        (r'"\\ud83d \\\ud83d"', r"\ud83d \\ud83d"),
        (r'"\u00fc\n\t"', "\u00fc\n\t"),
    ],
)
def test_only_the_half_without_its_other_half_is_spelled_out(text: str, value: str) -> None:
    assert orjson.loads(mend(text)) == value


@given(st.text(st.characters(exclude_categories=())) | st.text(alphabet='\ud83d\ude00\\"u', max_size=8))
def test_any_text_that_json_can_hold_is_read(value: str) -> None:
    read = orjson.loads(mend(json.dumps({"text": value})))["text"]
    assert read == json.loads(json.dumps(value)).encode("utf-8", "backslashreplace").decode()


@given(st.text() | st.dictionaries(st.text(), st.text(), max_size=3))
def test_what_is_whole_is_not_touched(value: object) -> None:
    text = json.dumps(value)
    assert mend(text) == text


@given(
    st.lists(st.text(st.characters(exclude_categories=())) | st.text('\udcff\ud83d\ude00\\"u', max_size=8))
)
def test_texts_come_back_as_they_were_also_halves_of_surrogates(texts: list[str]) -> None:
    written = dump_texts(tuple(texts))

    assert written.encode().decode() == written
    # Two halves that are beside each other are one character: so JSON says.
    assert load_texts(written) == tuple(json.loads(json.dumps(texts)))


@pytest.mark.parametrize("text", ["", "[", '["1', "\ud83d"])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - in the words of either reader
        load_texts(text)
