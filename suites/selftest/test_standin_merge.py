"""Which segments a merge puts together: Milvus' layered and adaptive rules, on rows made by hand."""

from __future__ import annotations

import pytest

from fixtures.file_types import FileType
from fixtures.standin.merge import adaptive_groups, layered_groups
from fixtures.standin.rows import MEGABYTE, CollectionRow, FileRow
from fixtures.standin.search import Metric
from fixtures.standin.validation import Engine

pytestmark = pytest.mark.selftest

NOW_US = 100_000_000
OLD_US = NOW_US - 31_000_000


def files(*sizes_mb: float, limit_mb: int = 1024, created_us: int = NOW_US) -> list[FileRow]:
    """Files of these sizes, numbered from 0, as MySQL lists them for a merge: largest first."""
    collection = CollectionRow("c", 16, Metric.L2, limit_mb * MEGABYTE, Engine.FLAT)
    made = [
        FileRow(
            id=number,
            table_id="c",
            segment_id=str(number),
            engine=Engine.FLAT,
            file_id=str(number),
            file_type=FileType.RAW,
            size_bytes=int(size * MEGABYTE),
            row_count=int(size * 1000),
            updated_us=created_us,
            created_us=created_us,
            date=0,
            collection=collection,
        )
        for number, size in enumerate(sizes_mb)
    ]
    return sorted(made, key=lambda file: -file.row_count)


def ids(groups: list[list[FileRow]]) -> list[set[int]]:
    return [{file.id for file in group} for group in groups]


def test_layers_keep_small_and_large_files_apart() -> None:
    groups = layered_groups(files(1, 2, 5, 100, 6, 120), NOW_US)
    assert ids(groups) == [{0, 1}, {2, 4}, {3, 5}]


def test_a_layers_only_file_waits() -> None:
    assert layered_groups(files(1, 5), NOW_US) == []


def test_an_old_only_file_goes_up_to_the_next_layer() -> None:
    assert ids(layered_groups(files(1, 5, created_us=OLD_US), NOW_US)) == [{0, 1}]


def test_an_old_only_file_waits_where_there_is_no_layer_above() -> None:
    young, old = files(1)[0], files(5, created_us=OLD_US)[0]
    assert layered_groups([old, young], NOW_US) == []


def test_the_pair_that_passes_the_limit_is_taken_first() -> None:
    # 9 + 2 passes 10; of the smaller ones the smallest that does is chosen, never the second largest.
    assert ids(layered_groups(files(9, 8, 2, 0.5, limit_mb=10), NOW_US)) == [{0, 2}]


def test_two_files_are_simply_merged_when_adaptive() -> None:
    assert ids(adaptive_groups(files(1, 900))) == [{0, 1}]


def test_adaptive_groups_fill_up_to_the_limit() -> None:
    groups = adaptive_groups(files(6, 5, 4, 3, limit_mb=10))
    assert ids(groups) == [{0, 2}, {1, 3}]


def test_the_last_file_may_pass_the_limit_when_adaptive() -> None:
    assert ids(adaptive_groups(files(6, 5, 9, limit_mb=10))) == [{2, 1}, {0}]
