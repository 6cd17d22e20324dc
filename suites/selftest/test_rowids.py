"""Row ids in a journal: what is written is short, and what is read is what was written."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures import rowids

pytestmark = pytest.mark.selftest


def test_consecutive_ids_are_one_pair_and_lone_ones_are_numbers() -> None:
    assert rowids.encode(np.arange(100_000)) == [[0, 99_999]]
    assert rowids.encode([7, 10, 11, 12, 3, 3, 2]) == [7, [10, 12], 3, 3, 2]
    assert rowids.encode([]) == []


@settings(derandomize=True, max_examples=300)
@given(st.lists(st.integers(-(2**62), 2**62) | st.integers(0, 6)))
def test_decoding_gives_back_every_list_of_ids(ids: list[int]) -> None:
    encoded = json.loads(json.dumps(rowids.encode(ids)))
    assert rowids.decode(encoded).tolist() == ids
    assert rowids.count(encoded) == len(ids)
    assert rowids.distinct(rowids.as_ids(ids)).tolist() == sorted(set(ids))


@pytest.mark.parametrize("broken", ["12", [1, "2"], [[1, 2, 3]], [[5, 4]], None, [1.5]])
def test_a_list_that_is_none_is_refused_with_what_is_wrong(broken: object) -> None:
    with pytest.raises(ValueError, match="row ids in a journal"):
        rowids.runs(broken)


@pytest.mark.parametrize("broken", [[1.5], [[1, 2]], ["1"]])
def test_ids_that_are_not_whole_numbers_are_refused(broken: object) -> None:
    with pytest.raises(ValueError, match="row ids must be"):
        rowids.encode(broken)  # type: ignore[arg-type]


def test_a_message_shows_the_first_ids_and_how_many_more_there_are() -> None:
    assert rowids.first_few([1, 2, 3], limit=3) == "1, 2, 3"
    assert rowids.first_few(range(10), limit=2) == "0, 1 and 8 more"
