"""Azurite: what JuiceFS is told of it, and the real one where it is to be had."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from fixtures import topology
from fixtures.errors import InfrastructureError
from fixtures.runtimes.host import find_program
from fixtures.services import Azurite, Redis, Site, Volume, object_store
from fixtures.services.azurite import INSTALL, programs
from fixtures.services.juicefs import VOLUME
from fixtures.services.object_store import BUCKET
from suites.selftest import embedded

pytestmark = pytest.mark.selftest


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with embedded.runtime(tmp_path) as opened:
        yield embedded.site(opened)


@pytest.fixture
def azurite(site: Site) -> Azurite:
    try:
        store = object_store(site, "azurite")
    except InfrastructureError as error:
        pytest.skip(str(error))
    assert isinstance(store, Azurite)
    return store


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Azurite; the folder is its cache."""
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("fixtures.runtimes.host.sys.executable", str(tmp_path / "empty" / "python"))
    return tmp_path / "cache"


def test_a_machine_without_it_is_told_both_ways_to_get_it(nowhere: Path) -> None:
    assert not nowhere.exists()
    with pytest.raises(InfrastructureError) as caught:
        find_program(programs(), INSTALL)
    message = str(caught.value)
    assert message.startswith("no azurite-blob on PATH: ")
    assert "npm install --global azurite@3." in message
    assert "python -m tools.images --prepare azurite" in message


def test_the_one_in_the_cache_is_found(nowhere: Path) -> None:
    from fixtures.images.azurite import entry

    program = nowhere / "milvus-juicefs" / entry() / "node_modules" / ".bin" / "azurite-blob"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    assert find_program(programs(), INSTALL) == program


def test_juicefs_is_told_the_whole_address_by_the_environment(azurite: Azurite) -> None:
    assert (azurite.storage, azurite.bucket_url) == ("wasb", "http://juicefs")
    (name, value), *others = azurite.juicefs_env.items()
    assert (name, others) == ("AZURE_STORAGE_CONNECTION_STRING", [])
    parts = dict(part.split("=", 1) for part in value.split(";") if part)
    assert parts["BlobEndpoint"] == "http://{}:{}/juicefs".format(*azurite.endpoint)
    secret = azurite.process.command.env["AZURITE_ACCOUNTS"]
    assert secret == f"{parts['AccountName']}:{parts['AccountKey']}"
    assert not any(parts["AccountKey"] in word for word in azurite.process.command.argv)


def test_it_serves_juicefs_and_keeps_what_it_has_over_a_restart(site: Site, azurite: Azurite) -> None:
    redis = Redis(site, topology.Redis())
    redis.start()
    azurite.start()
    azurite.ask_version()
    assert azurite.version.startswith("3.")
    volume = Volume(site, topology.JuiceFS(), redis, azurite, site.block.host("node"))
    volume.format()
    assert _has_volume(azurite)
    # `restart` makes the container anew if it is gone, and it would be empty then.
    azurite.restart()
    assert _has_volume(azurite)
    assert "Found 0 blocks" in volume.fsck()


def _has_volume(store: Azurite) -> bool:
    """Whether the object is there that `juicefs format` leaves."""
    url = f"{store._url}/{BUCKET}/{VOLUME}/juicefs_uuid"
    return requests.get(url, params=store._signature(), timeout=5.0).status_code == 200


def test_a_wrong_key_is_not_ready(azurite: Azurite) -> None:
    azurite.start()
    azurite._key = b"another"
    with pytest.raises(OSError, match=r"PUT http://.*: 403"):
        azurite.ready()
