"""Indexes to verify: their parameters, and what these promise of the rows that a search finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fixtures import data
from fixtures.rowids import Ids
from fixtures.wire import IndexType, MetricType
from suites.checks.recall import floor, near_enough
from suites.oracle import Question, Vectors

ROWS, DIMENSION = 5000, 16
"""Of one segment: above the 4096 rows from which on CreateIndex builds an index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexCase:
    """An index and a search of it.

    `share` is that of the rows of a segment that the search looks at. `levels` is how many values the index keeps a
    component of a vector as (None: all of them): its distances are off accordingly. `queries` is how many to ask, more
    where the share is small: the floor must be above what random rows would reach.
    """

    name: str
    index_type: IndexType
    metric: MetricType
    build: Mapping[str, object]
    search: Mapping[str, object]
    share: float
    levels: int | None = None
    queries: int = 40

    def rows(self, seed: int, count: int = ROWS) -> Vectors:
        if self.metric in data.FLOAT_METRICS:
            return data.vectors(seed, count, DIMENSION)
        return data.binary_vectors(seed, count, 8 * DIMENSION)

    @property
    def dimension(self) -> int:
        return DIMENSION if self.metric in data.FLOAT_METRICS else 8 * DIMENSION

    def recall(self, question: Question, answered: Ids) -> float:
        """How much of the exact answer is in an answer (nq, width), by the true distances of its ids."""
        truth = data.distances_to(question.rows, question.ids, question.queries, answered, self.metric)
        return near_enough(answered, self._plain(truth), self._plain(question.exact.distances), self._slack(question))

    def floor(self, question: Question) -> float:
        return floor(self.share, len(question.queries))

    def _plain(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Less is nearer, and L2 is a distance, not its square: what a rounded vector is off by is a distance."""
        if self.metric is MetricType.IP:
            return -distances
        return np.asarray(np.sqrt(distances), dtype=np.float64) if self.metric is MetricType.L2 else distances

    def _slack(self, question: Question) -> NDArray[np.float64]:
        """A kept vector is at most `off` from the true one, so two of them may change places within twice that.

        IVF keeps a vector's difference from its centroid, which spans twice the range of the data at most.
        """
        nothing = np.zeros(len(question.queries))
        if self.levels is None:
            return nothing
        off = float(np.linalg.norm(np.ptp(question.rows, axis=0).astype(np.float64) / self.levels))
        if self.metric is MetricType.IP:
            lengths: NDArray[np.float64] = np.linalg.norm(question.queries.astype(np.float64), axis=1)
            return 2 * off * lengths
        return nothing + 2 * off


def _case(
    name: str,
    index_type: IndexType,
    build: Mapping[str, object],
    search: Mapping[str, object],
    share: float,
    metric: MetricType = MetricType.L2,
    levels: int | None = None,
    queries: int = 40,
) -> IndexCase:
    return IndexCase(
        name=name,
        index_type=index_type,
        metric=metric,
        build=build,
        search=search,
        share=share,
        levels=levels,
        queries=queries,
    )


_CELLS = {"nlist": 16}
_NSG = {"search_length": 45, "out_degree": 50, "candidate_pool_size": 300, "knng": 100}
# Where all is looked at, all must be found. Graphs promise no more than that they look at so many rows.
CASES = [
    _case("ivf_flat_all", IndexType.IVF_FLAT, _CELLS, {"nprobe": 16}, 1.0),
    _case("ivf_flat_some", IndexType.IVF_FLAT, _CELLS, {"nprobe": 8}, 8 / 16),
    _case("ivf_flat_ip", IndexType.IVF_FLAT, _CELLS, {"nprobe": 16}, 1.0, MetricType.IP),
    _case("ivf_sq8", IndexType.IVF_SQ8, _CELLS, {"nprobe": 16}, 1.0, levels=255),
    _case("ivf_pq", IndexType.IVF_PQ, {**_CELLS, "m": DIMENSION}, {"nprobe": 16}, 1.0, levels=256),
    _case("hnsw", IndexType.HNSW, {"M": 16, "efConstruction": 200}, {"ef": 2500}, 2500 / ROWS),
    _case("rnsg", IndexType.RNSG, _NSG, {"search_length": 300}, 300 / ROWS, queries=400),
    _case("annoy", IndexType.ANNOY, {"n_trees": 8}, {"search_k": 8 * ROWS}, 1.0),
    _case("bin_ivf_hamming", IndexType.IVF_FLAT, _CELLS, {"nprobe": 16}, 1.0, MetricType.HAMMING),
    _case("bin_ivf_jaccard", IndexType.IVF_FLAT, _CELLS, {"nprobe": 8}, 8 / 16, MetricType.JACCARD),
    _case("bin_ivf_tanimoto", IndexType.IVF_FLAT, _CELLS, {"nprobe": 16}, 1.0, MetricType.TANIMOTO),
]
