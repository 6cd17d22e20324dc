"""Which images a cluster gets, what is refused before anything starts, and how a pull is told."""

from __future__ import annotations

import dataclasses

import pytest

from fixtures import images
from fixtures.errors import UsageError
from fixtures.images import catalogue, pull
from fixtures.images.catalogue import choose
from fixtures.topology import Images, JuiceFS, Milvus, Mishards, Topology, check

pytestmark = pytest.mark.selftest


def _references(topology: Topology) -> dict[str, str]:
    return {key: image.reference for key, image in choose(topology).items()}


def test_published_images_are_those_of_the_version() -> None:
    chosen = _references(Topology(milvus=Milvus(version="1.1.1")))
    assert chosen["milvus"] == "milvusdb/milvus:1.1.1-cpu-d061621-330cc6"
    assert chosen[images.GPU] == "milvusdb/milvus:1.1.1-gpu-d061621-330cc6"
    assert chosen["mishards"] == "milvusdb/mishards:1.1.1"
    assert chosen["mysql"] == "mysql:5.7"
    assert "minio" in chosen, "the published object store is MinIO"
    assert chosen["host"] == images.tag("host"), "no published image has what it takes"


def test_local_images_are_built_here_and_hold_stand_ins() -> None:
    chosen = choose(Topology(images=Images(source="local")))
    assert all(image.local for image in chosen.values())
    assert "seaweedfs" in chosen
    assert chosen["milvus"].reference == images.tag("milvus")


def test_one_image_may_be_another() -> None:
    chosen = choose(
        Topology(images=Images(source="local", mysql="mysql:8.0", object_store="mine:1"), object_store="minio")
    )
    assert (chosen["mysql"].reference, chosen["mysql"].local) == ("mysql:8.0", False)
    assert (chosen["minio"].reference, chosen["minio"].local) == ("mine:1", False)
    assert chosen["redis"].local


@pytest.mark.parametrize(
    ("milvus", "mishards", "refused"),
    [
        ("milvusdb/milvus:1.1.0-cpu-d050721-5e559c", "milvusdb/mishards:1.0.0", True),
        ("milvusdb/milvus:1.0.0-cpu-d030521-1ea92e", "milvusdb/mishards:1.1.0", True),
        ("milvusdb/milvus:1.1.1-cpu-d061621-330cc6", "milvusdb/mishards:1.1.0", False),
        ("registry:5000/milvus:1.1.0", "registry:5000/mishards:1.0.0", True),
        ("milvusdb/milvus:1.1.0-cpu-d050721-5e559c", "mishards:latest", False),
    ],
)
def test_a_pair_that_cannot_work_is_refused(milvus: str, mishards: str, refused: bool) -> None:
    topology = Topology(images=Images(milvus=milvus, mishards=mishards))
    if refused:
        with pytest.raises(UsageError, match=r"cannot serve .*own major.minor only .*#5111"):
            choose(topology)
    else:
        assert choose(topology)


def test_a_pair_of_versions_that_cannot_work_is_refused_in_the_topology() -> None:
    topology = Topology(milvus=Milvus(version="1.1.0"), mishards=Mishards(version="1.0.0"))
    with pytest.raises(UsageError, match=r"here: mishards.version = '1.0.0' cannot serve milvus.version = '1.1.0'"):
        check(topology, "here")
    assert check(dataclasses.replace(topology, milvus=Milvus(version="1.0.0")), "here")


def test_progress_of_a_pull_is_said_every_few_seconds() -> None:
    said: list[str] = []
    now = iter([0.0, 1.0, 6.0, 6.0, 6.5])
    progress = pull._Progress("mysql:5.7", said.append, lambda: next(now))
    step = {"status": "Downloading", "id": "a", "progressDetail": {"current": 1_000_000, "total": 9_000_000}}
    progress.take(step)
    progress.take({**step, "id": "b"})
    progress.take({"status": "Extracting", "id": "a"})
    assert said == ["image mysql:5.7: 2 of 18 MB"]


def test_the_default_object_store_is_one_that_is_quickly_had() -> None:
    assert images.object_store(Topology()) == "minio"
    assert images.object_store(Topology(images=Images(source="local"))) == "seaweedfs"
    assert images.object_store(Topology(object_store="azurite", juicefs=JuiceFS())) == "azurite"
    assert catalogue.object_store is images.object_store
