"""Fisher's exact test, one-sided: may two rates differ by chance alone? Exact, however few the runs are."""

from __future__ import annotations

from math import comb


def more_often(few: int, of_few: int, many: int, of_many: int) -> float:
    """How likely it is that at least `many` of the second group's `of_many` runs are among those that broke.

    Given that `few` of `of_few` runs in the first group and `many` of `of_many` in the second broke, and that both
    break equally often: the upper tail of the hypergeometric distribution. A small value says that the second group
    breaks more often. 1.0 where a group has no run.
    """
    if not (0 <= few <= of_few and 0 <= many <= of_many):
        raise ValueError(f"{few} of {of_few} and {many} of {of_many}: more broke than ran")
    broke, runs = few + many, of_few + of_many
    ways = sum(comb(broke, k) * comb(runs - broke, of_many - k) for k in range(many, min(broke, of_many) + 1))
    return ways / comb(runs, of_many)
