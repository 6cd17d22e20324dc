"""Faults of a real object store: what clients and a JuiceFS mount make of them, and that nothing is lost."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Iterator

import minio
import pytest
import urllib3

from fixtures import store_faults, topology
from fixtures.services import JuiceFSMount, Redis, SeaweedFS, Site, StoreProxy, Volume
from fixtures.services.object_store import BUCKET, REGION
from fixtures.steps import Step, run_steps
from suites.selftest import embedded

pytestmark = pytest.mark.selftest

MIB = 1024 * 1024


class Volumes:
    """A store behind a proxy, and two mounts of one volume: what one writes, the other must get from the store."""

    def __init__(self, site: Site) -> None:
        meta, self.store = Redis(site, topology.Redis()), SeaweedFS(site)
        self.proxy = StoreProxy(site, self.store)
        self.store_proxy: StoreProxy | None = self.proxy
        host = site.block.host("node")
        volume = Volume(site, topology.JuiceFS(), meta, self.store, host, self.proxy)
        self.one, self.other = (
            JuiceFSMount(site, volume, name, site.work / name / "db", host) for name in ("one", "other")
        )
        stores = [Step(service.name, service.start) for service in (meta, self.store, self.proxy)]
        mounts = [Step(mount.name, mount.start, ("format",)) for mount in (self.one, self.other)]
        run_steps([*stores, Step("format", volume.format, tuple(step.name for step in stores)), *mounts])

    def client(self) -> minio.Minio:
        """An S3 client that goes through the proxy and never tries again."""
        return minio.Minio(
            "{}:{}".format(*self.proxy.endpoint),
            access_key=self.store.access_key,
            secret_key=self.store.secret_key,
            secure=False,
            region=REGION,
            http_client=urllib3.PoolManager(timeout=urllib3.Timeout(10), retries=False),
        )


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Volumes]:
    with embedded.runtime(tmp_path_factory.mktemp("store")) as opened:
        if (reason := opened.why_no_fuse()) is not None:
            pytest.skip(reason)
        yield Volumes(embedded.site(opened))


def _noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def test_an_s3_client_works_through_it_and_meets_its_faults(volumes: Volumes) -> None:
    client, content = volumes.client(), _noise(1, 3 * MIB)
    client.put_object(BUCKET, "mine", io.BytesIO(content), len(content))
    with client.get_object(BUCKET, "mine") as reply:
        assert reply.read() == content
    assert [item.object_name for item in client.list_objects(BUCKET, prefix="min")] == ["mine"]
    with store_faults.errors(volumes), pytest.raises(minio.error.S3Error, match="SlowDown"):
        client.get_object(BUCKET, "mine")
    broken = pytest.raises(urllib3.exceptions.ProtocolError, match="IncompleteRead")
    with (
        store_faults.cut_off(volumes, store_faults.Some(methods=["GET"])),
        client.get_object(BUCKET, "mine") as reply,
        broken,
    ):
        reply.read()
    client.remove_object(BUCKET, "mine")
    assert not list(client.list_objects(BUCKET, prefix="min"))


@pytest.mark.parametrize("kind", ["errors", "cut_off"])
def test_a_mount_tries_again_and_loses_nothing(volumes: Volumes, kind: str) -> None:
    content = _noise(2, 24 * MIB)
    break_some = getattr(store_faults, kind)
    with break_some(volumes, store_faults.Some(every=3, methods=["PUT"])) as fault:
        (volumes.one.point / kind).write_bytes(content)
    assert fault.witness.proof["hit"] >= 2
    with break_some(volumes, store_faults.Some(every=3, methods=["GET"])) as fault:
        read = (volumes.other.point / kind).read_bytes()
    assert fault.witness.proof["by_method"]["GET"] >= 2, "it came from the store"
    assert hashlib.sha256(read).digest() == hashlib.sha256(content).digest()
