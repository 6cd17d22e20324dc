"""Do all doors agree with a model after any sequence of changes?"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as seeded
from hypothesis.stateful import run_state_machine_as_test

from fixtures.claims import Trial, claim, holds
from fixtures.history import History
from fixtures.plugin import FreshCluster, Names
from suites.support import connect_all
from suites.visibility.sequences import Bench, Sequence

SEQUENCES = 8
STEPS = 30
NEEDED = {"insert", "delete", "look"}
"""Without these a run proves nothing. Of the others Hypothesis leaves some out, in each sequence other ones."""


@pytest.mark.beside
@claim(
    "V-15",
    "after any sequence of inserts, deletes, flushes, compactions, index builds and partition drops, through the writer"
    " or Mishards, every door finds and counts exactly the rows that are left",
    source="V-1, V-6, V-8 and V-9 together; mounts without an entry cache, readers released before they are asked",
    expected={"1.1.0": holds("what a reader keeps of deletes is claim V-7, what default mounts do to reloads V-6")},
    needs=("fuse",),
    witnesses=("sequences",),
)
def test_any_sequence(fresh_cluster: FreshCluster, trial: Trial, names: Names, history: History, seed: int) -> None:
    cluster = fresh_cluster(juicefs={"entry_cache_s": 0.0, "attr_cache_s": 0.0, "dir_entry_cache_s": 0.0})
    bench = Bench(cluster, connect_all(cluster, history), trial, names, seed)
    machine = type("Sequence", (Sequence,), {"bench": bench})
    rules = settings(
        max_examples=SEQUENCES,
        stateful_step_count=STEPS,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    # The run's own seed, printed in its header, is what replays them.
    run_state_machine_as_test(seeded(seed)(machine), settings=rules)
    trial.note(f"{bench.sequences} sequences, {bench.steps} steps: {sorted(bench.verbs)}")
    if bench.verbs >= NEEDED:
        trial.witness("sequences", sequences=bench.sequences, steps=bench.steps, verbs=sorted(bench.verbs))
