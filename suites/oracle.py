"""Searches whose exact answer is known, and what is wrong with the answer that came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fixtures import data
from fixtures.claims import Finding
from fixtures.clients import Client, Reply
from fixtures.wire import MetricType
from suites.checks.knn import Expected, check_knn

Vectors = NDArray[np.float32] | NDArray[np.uint8]
Ids = NDArray[np.int64]


def rows_for(metric: MetricType, seed: int, count: int, dimension: int) -> Vectors:
    """(count, dimension) float32 rows, or (count, dimension / 8) uint8 ones for the binary metrics."""
    if metric in data.FLOAT_METRICS:
        return data.vectors(seed, count, dimension)
    if metric in (MetricType.SUBSTRUCTURE, MetricType.SUPERSTRUCTURE):
        return data.structure_vectors(seed, count, dimension)
    return data.binary_vectors(seed, count, dimension)


@dataclass(frozen=True, slots=True)
class Question:
    """The `k` nearest of `rows` (n, width), named by `ids` (n,), for each of `queries` (nq, width), and the answer."""

    rows: Vectors
    ids: Ids
    queries: Vectors
    k: int
    metric: MetricType
    exact: data.TopK

    @staticmethod
    def about(
        rows: Vectors, ids: Ids, metric: MetricType, *, seed: int, queries: int, k: int, among: Sequence[int] = ()
    ) -> Question:
        """A question about the rows: half of the queries are rows themselves, half are new vectors.

        The rows at the positions `among` are asked for in any case, beyond the number of `queries`.
        """
        dimension = rows.shape[1] * (1 if metric in data.FLOAT_METRICS else 8)
        rng = np.random.default_rng(seed)
        own = rows[rng.choice(len(rows), queries // 2, replace=False)]
        edges = rows[np.asarray(among, dtype=np.intp)]
        new = rows_for(metric, seed ^ 0x5EED, queries - len(own), dimension)
        asked = np.concatenate([edges, own, new])
        return Question(rows, ids, asked, k, metric, data.exact_top_k(rows, ids, asked, k, metric))

    def ask(self, client: Client, collection: str) -> Reply:
        return client.search(collection, self.queries, self.k)

    def findings(self, reply: Reply) -> list[Finding]:
        """What is wrong with an answer that came: empty if it is complete, exact and in order."""
        node = reply.operation.node
        if len(reply.ids) != len(self.queries):
            # Nothing searchable gives an answer without rows.
            return [Finding(message=f"{len(reply.ids)} answers to {len(self.queries)} queries", node=node)]
        expected = Expected(
            ids=self.exact.ids,
            distances=self.exact.distances,
            true_distances=data.distances_to(self.rows, self.ids, self.queries, reply.ids, self.metric),
            scale=data.rounding_scale(self.queries, self.metric),
            descending=self.metric is MetricType.IP,
        )
        return check_knn(reply.ids, reply.distances, expected=expected, node=node)
