"""The stand-in's bloom filter: the bytes of a real segment, and no id ever missed."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fixtures.standin.bloom import BloomError, BloomFilter
from suites.selftest.golden import STORAGE

pytestmark = pytest.mark.selftest

WORD = (1 << 64) - 1
SALT = 0x97C29B3A
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


def filters() -> list[Path]:
    return sorted(STORAGE.glob("db/tables/*/*/bloom_filter"))


def ids(*values: int) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def murmur(text: bytes, seed: int) -> tuple[int, int]:
    """MurmurHash3 x64/128, one text at a time: slow, and as its description says."""

    def rotate(value: int, bits: int) -> int:
        return ((value << bits) | (value >> (64 - bits))) & WORD

    def finish(value: int) -> int:
        value = (value ^ (value >> 33)) * 0xFF51AFD7ED558CCD & WORD
        value = (value ^ (value >> 33)) * 0xC4CEB9FE1A85EC53 & WORD
        return value ^ (value >> 33)

    c1, c2, h1, h2 = 0x87C37B91114253D5, 0x4CF5AD432745937F, seed, seed
    blocks = len(text) // 16
    for block in range(blocks):
        k1, k2 = struct.unpack_from("<QQ", text, block * 16)
        h1 ^= rotate(k1 * c1 & WORD, 31) * c2 & WORD
        h1 = ((rotate(h1, 27) + h2) * 5 + 0x52DCE729) & WORD
        h2 ^= rotate(k2 * c2 & WORD, 33) * c1 & WORD
        h2 = ((rotate(h2, 31) + h1) * 5 + 0x38495AB5) & WORD
    k1, k2 = struct.unpack("<QQ", text[blocks * 16 :].ljust(16, b"\0"))
    h2 ^= rotate(k2 * c2 & WORD, 33) * c1 & WORD
    h1 ^= rotate(k1 * c1 & WORD, 31) * c2 & WORD
    h1, h2 = h1 ^ len(text), h2 ^ len(text)
    h1 = (h1 + h2) & WORD
    h2 = (h2 + h1) & WORD
    h1, h2 = finish(h1), finish(h2)
    h1 = (h1 + h2) & WORD
    return h1, (h2 + h1) & WORD


def cells_by_hand(capacity: int, value: int) -> set[int]:
    """Cells that an id counts up in a filter with one sub-filter."""
    cells = -(-int(capacity * 5.298317366548036 / (8 * 0.4804530139182014) * 1e9) // 10**9)
    first = murmur(str(value).encode(), SALT)[0]
    h1, h2 = first & 0xFFFFFFFF, first >> 32
    return {((h1 + i * h2) & 0xFFFFFFFF) % cells + i * cells for i in range(8)}


def cells_set(content: bytes) -> set[int]:
    packed = content[28 + 24 + 16 :]
    return {2 * at + low for at, byte in enumerate(packed) for low in (0, 1) if (byte >> (0 if low else 4)) & 15}


def test_the_reference_hash_is_murmur3() -> None:
    h1, h2 = murmur(b"The quick brown fox jumps over the lazy dog", 0)
    assert (h1, h2) == (0xE34BBC7BBC071B6C, 0x7A433CA9C49A9347)


@pytest.mark.parametrize("path", filters(), ids=lambda path: path.parent.name)
def test_a_real_filter_is_read_and_written_to_the_same_bytes(path: Path) -> None:
    assert BloomFilter.from_bytes(path.read_bytes()).to_bytes() == path.read_bytes()


def test_a_filter_made_from_the_same_ids_is_the_real_one() -> None:
    made = [BloomFilter.for_capacity(20), BloomFilter.for_capacity(60)]
    made[0].add(np.arange(500, 520))
    made[1].add(np.arange(100, 160))
    made[1].remove(ids(101, 105, 159))
    assert [each.to_bytes() for each in made] == [path.read_bytes() for path in filters()]


@given(INT64)
@settings(max_examples=200, deadline=None)
def test_any_id_sets_the_cells_of_the_reference_hash(value: int) -> None:
    made = BloomFilter.for_capacity(50)
    made.add(ids(value))
    assert cells_set(made.to_bytes()) == cells_by_hand(50, value)


@given(st.lists(INT64, min_size=1, max_size=60), st.integers(1, 40))
@settings(max_examples=100, deadline=None)
def test_no_added_id_is_missed_even_beyond_the_capacity(values: list[int], capacity: int) -> None:
    made = BloomFilter.for_capacity(capacity)
    made.add(ids(*values))
    assert made.might_contain(ids(*values)).all()
    again = BloomFilter.from_bytes(made.to_bytes())
    assert again.might_contain(ids(*values)).all()
    assert again.to_bytes() == made.to_bytes()


def test_strangers_are_mostly_turned_away() -> None:
    made = BloomFilter.for_capacity(20_000)
    made.add(np.arange(10**18, 10**18 + 20_000))
    strangers = made.might_contain(np.arange(2 * 10**18, 2 * 10**18 + 20_000))
    assert strangers.mean() < 0.01


def test_removed_ids_are_gone_and_the_rest_stays() -> None:
    made = BloomFilter.for_capacity(1000)
    made.add(np.arange(1000))
    made.remove(np.arange(0, 1000, 2))
    assert made.might_contain(np.arange(1, 1000, 2)).all()
    assert made.might_contain(np.arange(0, 1000, 2)).mean() < 0.05


def test_a_filter_emptied_again_holds_nothing() -> None:
    made = BloomFilter.for_capacity(300)
    made.add(np.arange(300))
    made.remove(np.arange(300)[::-1])
    assert not made.might_contain(np.arange(300)).any()


def test_counters_stop_at_fifteen_and_at_zero() -> None:
    made = BloomFilter.for_capacity(40)
    made.add(np.full(20, 7, dtype=np.int64))
    made.remove(np.full(15, 7, dtype=np.int64))
    assert not made.might_contain(ids(7))[0]
    made.remove(ids(7))
    made.add(ids(7))
    assert made.might_contain(ids(7))[0]


def test_ids_beyond_the_capacity_go_to_a_stricter_second_filter() -> None:
    made = BloomFilter.for_capacity(100)
    made.add(np.arange(101))
    one = BloomFilter.for_capacity(100)
    one.add(np.arange(100))
    grown = len(made.to_bytes()) - len(one.to_bytes())
    assert grown > len(one.to_bytes()) - 28 - 24
    assert made.might_contain(np.arange(101)).all()


def test_a_filter_of_milvus_1_0_is_read_and_written_as_1_1() -> None:
    old = BloomFilter.for_capacity(500_000)
    old.add(np.arange(100))
    read = BloomFilter.from_bytes(old.to_bytes()[28:])
    assert read.might_contain(np.arange(100)).all()
    assert read.to_bytes() == old.to_bytes()


@pytest.mark.parametrize("size", [0, 7, 20, 27, 28, 51, 60, 100, 399])
def test_a_torn_file_is_an_error_and_not_an_empty_filter(size: int) -> None:
    content = filters()[1].read_bytes()
    with pytest.raises(BloomError, match="bloom filter"):
        BloomFilter.from_bytes(content[:size])


def test_an_impossible_capacity_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity"):
        BloomFilter.for_capacity(-1)


def test_a_filter_for_no_rows_holds_nothing_and_takes_nothing() -> None:
    made = BloomFilter.from_bytes(BloomFilter.for_capacity(0).to_bytes())
    made.add(ids())
    assert not made.might_contain(ids(1, 2)).any()
    with pytest.raises(ValueError, match="no rows"):
        made.add(ids(1))
