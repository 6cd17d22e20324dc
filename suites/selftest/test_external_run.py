"""`--runtime=external` as an operator starts it, against a cluster that runs; nobody else's rows are touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.cluster import Cluster
from fixtures.topology import Milvus, Topology
from suites.selftest import embedded
from suites.support import DIMENSION, Rows, insert_flushed, look_up, segment_files

pytestmark = [pytest.mark.selftest, pytest.mark.timeout(180)]

PROJECT = Path(__file__).resolve().parents[2]
FOREIGN = "of_another_team"
COUNTS = "suites/visibility/test_counts.py"
PASSWORD = "EXTERNAL_RUN_PASSWORD"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Without auto flush: what is done to a collection is then done by somebody."""
    topology = Topology(readers=1, milvus=Milvus(auto_flush_interval_s=0))
    with (
        embedded.runtime(tmp_path_factory.mktemp("external"), fuse=False) as opened,
        Cluster.start(topology, opened, opened.folders, "theirs", seed=1) as started,
    ):
        yield started


def endpoints(cluster: Cluster, folder: Path, *, reader: str = "") -> Path:
    of = {node.name: f"{node.endpoint[0]}:{node.endpoint[1]}" for node in (*cluster.nodes, cluster.mishards)}
    tables = [f'[{name}]\nendpoint = "{endpoint}"' for name, endpoint in of.items() if not name.startswith("reader")]
    tables.append(f'[readers.reader-1]\nendpoint = "{reader or of["reader-1"]}"')
    host, port = cluster.mysql.endpoint
    tables.append(f'[mysql]\nendpoint = "{host}:{port}"\npassword_env = "{PASSWORD}"')
    path = folder / "theirs.toml"
    path.write_text("\n".join(tables) + "\n", encoding="utf-8")
    return path


def program(cluster: Cluster, folder: Path, file: Path, *words: str) -> tuple[int, str]:
    """The exit code and the output of a module, run against the cluster with its report in the folder."""
    ended = subprocess.run(
        [
            *(sys.executable, "-m", *words, "--runtime=external", f"--endpoints={file}"),
            *(f"--report={folder / 'report'}", f"--work-dir={folder}"),
        ],
        cwd=PROJECT,
        env={**os.environ, PASSWORD: cluster.mysql.password},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


def run(cluster: Cluster, folder: Path, file: Path, *tests: str) -> tuple[int, dict[str, Any], str]:
    """The exit code, conformance.json and the output of a run against the cluster."""
    code, output = program(cluster, folder, file, "pytest", "-m", "cluster", "-p", "no:cacheprovider", *tests)
    report = json.loads((folder / "report/conformance.json").read_text(encoding="utf-8"))
    return code, report, output


def test_verdicts_and_nothing_of_others_touched(cluster: Cluster, tmp_path: Path) -> None:
    writer = cluster.connect("writer")
    writer.create_collection(FOREIGN, DIMENSION).require()
    rows = Rows.make(1, 0, 300)
    insert_flushed(writer, FOREIGN, rows)
    # A delete that a compaction would act on.
    writer.delete(FOREIGN, rows.ids[200:]).require()
    writer.flush(FOREIGN).require()
    before = segment_files(cluster, FOREIGN)

    tags = "suites/visibility/test_tags.py"
    code, report, output = run(cluster, tmp_path, endpoints(cluster, tmp_path), COUNTS, tags)

    assert code == 0, output
    claims = {claim["id"]: claim for claim in report["claims"]}
    assert claims["V-9"]["verdict"] == "holds", output
    assert claims["V-11"]["verdict"] == "unknown"
    assert claims["V-11"]["reason"] == "missing stop mishards: --allow-faults was not given"
    assert "stand-in (not Milvus)" in output
    assert "told by the cluster: milvus.auto_flush_interval_s = 0" in report["runtime_reason"], report.keys()
    assert writer.list_collections().require().value == [FOREIGN]
    assert segment_files(cluster, FOREIGN) == before
    assert look_up(writer, FOREIGN, rows.take(range(200))).complete
    assert writer.count(FOREIGN).require().value == 200
    assert all(service.is_alive() for service in cluster.services)
    assert not (tmp_path / "report/to-heal.txt").exists()


def test_a_writer_is_not_taken_for_a_reader(cluster: Cluster, tmp_path: Path) -> None:
    host, port = cluster.writer.endpoint
    file = endpoints(cluster, tmp_path, reader=f"{host}:{port}")
    readers, writer = cluster.readers[0].endpoint, f'[writer]\nendpoint = "{host}:{port}"'
    text = file.read_text(encoding="utf-8").replace(writer, f'[writer]\nendpoint = "{readers[0]}:{readers[1]}"')
    file.write_text(text, encoding="utf-8")
    code, _, output = run(cluster, tmp_path, file, COUNTS)
    assert code == 7, output
    assert "its cluster.role is ro, not rw" in output


def test_who_does_not_answer_is_named(cluster: Cluster, tmp_path: Path) -> None:
    code, report, output = run(cluster, tmp_path, endpoints(cluster, tmp_path, reader="127.0.0.1:1"), COUNTS)
    assert code == 7, output
    assert "reader-1 at 127.0.0.1:1 does not answer" in output
    assert report["claims"][0]["verdict"] == "unknown"


def test_the_articles_first_query_is_asked_from_outside(cluster: Cluster, tmp_path: Path) -> None:
    writer = cluster.connect("writer")
    before = writer.list_collections().require().value
    words = ("suites.performance.claims", "--limit-s=1", f"--json={tmp_path / 'out.json'}")
    code, output = program(cluster, tmp_path, endpoints(cluster, tmp_path), *words)
    assert code == 0, output
    stored = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert list(stored["parts"]) == ["P-1"], "what would start clusters of its own is left out"
    (judged,) = stored["parts"]["P-1"]["judged"]
    assert (judged["claim"], judged["verdict"]) == ("P-1 right after its flush", "not comparable")
    assert "stand-in (not Milvus) loads and searches" in judged["why"]
    assert "no states of the caches and no steps of the path" in stored["parts"]["P-1"]["unfinished"]
    assert writer.list_collections().require().value == before
