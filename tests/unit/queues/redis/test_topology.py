"""Keys of a queue: as ever on one server, and all in the slot of the stream in a cluster."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from worker.queues import parse_address
from worker.queues.redis.topology import Keys


@pytest.mark.parametrize("name", ["links", "{links}", "a.{links}:b"])
def test_on_one_server_the_name_is_the_beginning_of_each_key(name: str) -> None:
    assert Keys.of(name, cluster=False) == Keys(name, f"{name}.delayed", f"{name}.dead")


@pytest.mark.parametrize(
    ("name", "stem"), [("links", "{links}"), ("{links}", "{links}"), ("a.{links}:b", "a.{links}:b")]
)
def test_in_a_cluster_a_name_without_a_tag_is_one(name: str, stem: str) -> None:
    assert Keys.of(name, cluster=True) == Keys(name, f"{stem}.delayed", f"{stem}.dead")


WORD = st.text("abcXYZ019-_.:", min_size=1, max_size=20)


@given(name=WORD | st.builds("{}{{{}}}{}".format, WORD, WORD, WORD))
def test_in_a_cluster_all_keys_of_any_name_share_a_slot(name: str) -> None:
    keys = Keys.of(parse_address(f"redis://h?stream={name}").name, cluster=True)
    assert len({key_slot(key.encode()) for key in (keys.stream, keys.delayed, keys.dead)}) == 1
