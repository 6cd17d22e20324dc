"""Seeded defects: the catalogue is whole, each one replaces what it means to, and a node that has one says so."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator

import numpy as np
import pytest

from fixtures import topology
from fixtures.clients import Client
from fixtures.plugin.header import judged_on
from fixtures.plugin.launcher import Plan
from fixtures.services.milvus import WRITER, MilvusNode
from fixtures.standin.defects import CATALOGUE, WITHOUT_DEFECT, Defect, Patch, install
from fixtures.standin.defects.catalogue import LAYERS
from fixtures.standin.mishards.errors import SettingsError
from fixtures.standin.mishards.settings import from_environment
from suites.selftest.inner import PROJECT
from suites.selftest.standin_nodes import DIMENSION, metadata_alone, vectors

pytestmark = pytest.mark.selftest


def claims() -> set[str]:
    """The ids on the claims' page, which another test holds against the tests themselves."""
    return set(re.findall(r"^\| ([A-Z]-\d+) \|", (PROJECT / "CLAIMS.md").read_text(), flags=re.MULTILINE))


def test_the_catalogue_names_claims_that_exist() -> None:
    for name, defect in CATALOGUE.items():
        assert defect.name == name
        assert re.fullmatch("[a-z0-9]+(-[a-z0-9]+)+", name)
        assert defect.layer in LAYERS
        assert set(defect.roles) <= {"rw", "ro"}
        assert defect.breaks
        assert defect.claims
        assert set(defect.claims) <= claims(), name
    assert len(CATALOGUE) >= 50


def test_every_claim_has_a_defect_or_a_reason_for_none() -> None:
    meant = {claim for defect in CATALOGUE.values() for claim in defect.claims}
    assert claims() - meant == set(WITHOUT_DEFECT)
    assert all(WITHOUT_DEFECT.values())


@pytest.fixture
def patch() -> Iterator[Patch]:
    patch = Patch()
    yield patch
    patch.undo()


@pytest.mark.parametrize("defect", CATALOGUE.values(), ids=lambda defect: defect.name)
def test_a_defect_replaces_what_it_means_to_and_can_be_taken_back(defect: Defect) -> None:
    patch = install(defect, role=defect.roles[0] if defect.roles else "")
    try:
        assert patch.replaced
    finally:
        patch.undo()
    assert not patch.replaced


def test_only_the_named_roles_have_a_defect() -> None:
    assert not install(CATALOGUE["reader-lags"], role="rw").replaced
    assert not install(CATALOGUE["lost-log-tail"], role="ro").replaced


def test_every_function_that_seeds_a_defect_is_in_the_catalogue() -> None:
    for name in {defect.module for defect in CATALOGUE.values()}:
        module = importlib.import_module(name)
        seeds = {each for each, _ in inspect.getmembers(module, inspect.isfunction) if not each.startswith("_")}
        own = {each for each in seeds if getattr(module, each).__module__ == module.__name__}
        assert own == {defect.name.replace("-", "_") for defect in CATALOGUE.values() if defect.module == name}


def test_a_replaced_method_gets_the_one_it_replaces(patch: Patch) -> None:
    class Part:
        def answer(self, of: int) -> int:
            return of

    patch.wrap(Part, "answer", lambda original, part, of: original(part, of) + 1)
    assert Part().answer(1) == 2
    with pytest.raises(KeyError):
        patch.wrap(Part, "reply", lambda: None)
    patch.undo()
    assert Part().answer(1) == 1


def test_a_report_says_that_a_defect_was_seeded() -> None:
    plan = Plan(runtime="embedded", reason="", device=None, components=(), capabilities={})  # type: ignore[arg-type]
    assert judged_on(plan, "lost-delete") == "SEEDED DEFECT lost-delete, runtime embedded"
    assert judged_on(plan, None) == "runtime embedded"


def test_mishards_takes_its_defect_from_the_environment() -> None:
    environment = {
        "WOSERVER": "tcp://127.0.0.1:19530",
        "DISCOVERY_STATIC_HOSTS": "127.0.0.2",
        "SQLALCHEMY_DATABASE_URI": "mysql+pymysql://u:p@127.0.0.1/milvus",
    }
    assert from_environment(environment).defect is None
    found = from_environment({**environment, "STANDIN_DEFECT": "never-reloads"}).defect
    assert found is CATALOGUE["never-reloads"]
    with pytest.raises(SettingsError, match=r"STANDIN_DEFECT: 'never-reload' is no .*; did you mean never-reloads"):
        from_environment({**environment, "STANDIN_DEFECT": "never-reload"})


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
