"""A seeded defect breaks the promise that it is for, and says so in the node's log."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures import topology
from fixtures.clients import Client
from fixtures.services.milvus import WRITER, MilvusNode
from suites.selftest.standin_nodes import DIMENSION, metadata_alone, vectors

pytestmark = pytest.mark.selftest


def test_lost_delete(tmp_path_factory: pytest.TempPathFactory) -> None:
    with metadata_alone(tmp_path_factory.mktemp("defect")) as (site, mysql):
        node = MilvusNode(site, "writer", WRITER, topology.Milvus(), mysql.milvus_uri, defect="lost-delete")
        node.storage.mkdir()
        node.start()
        with Client("writer", node.endpoint) as client:
            client.create_collection("c", DIMENSION).require()
            client.insert("c", vectors(1, 5), np.arange(5)).require()
            client.flush("c").require()
            client.delete("c", [1]).require()
            client.flush("c").require()
            assert client.count("c").require().value == 5
        assert "seeded defect: lost-delete" in node.log.read_text()
