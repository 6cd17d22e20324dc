"""The example for Kubernetes: every object is of a kind that exists, and whatever one names, another one is."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.external import description
from fixtures.external.description import Part
from fixtures.images import catalogue
from fixtures.topology import Topology

pytestmark = pytest.mark.selftest

FOLDER = Path(__file__).resolve().parents[2] / "compose" / "kubernetes"
VERSIONS = {
    "Namespace": "v1",
    "Secret": "v1",
    "ConfigMap": "v1",
    "Service": "v1",
    "PersistentVolumeClaim": "v1",
    "StatefulSet": "apps/v1",
    "Deployment": "apps/v1",
    "StorageClass": "storage.k8s.io/v1",
}
IN_NO_NAMESPACE = ("Namespace", "StorageClass")


def objects(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


CLUSTER, SECRETS = objects("cluster.yaml"), objects("secrets.example.yaml")


def named(kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in (*CLUSTER, *SECRETS) if each["kind"] == kind}


def workloads() -> dict[str, dict[str, Any]]:
    return {**named("StatefulSet"), **named("Deployment")}


def containers(workload: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    pod = workload["spec"]["template"]["spec"]
    yield from (*pod["containers"], *pod.get("initContainers", ()))


def parts() -> dict[str, Part]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MILVUS_MYSQL_PASSWORD", "secret")
        return dict(description.load(FOLDER / "external.toml")[0].parts())


def commands(part: Part) -> Iterator[tuple[str, ...]]:
    yield from (argv for argv in (part.identity, part.log) if argv)
    for hook in (part.hook(verb) for verb in description.VERBS):
        if hook is not None:
            yield from (*hook.inject, *hook.heal)


@pytest.mark.parametrize("each", [*CLUSTER, *SECRETS], ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_kinds_and_names(each: dict[str, Any]) -> None:
    assert each["apiVersion"] == VERSIONS[each["kind"]]
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", each["metadata"]["name"])
    namespace = each["metadata"].get("namespace")
    assert namespace == (None if each["kind"] in IN_NO_NAMESPACE else "milvus-juicefs")


def test_no_name_is_given_twice() -> None:
    given = [(each["kind"], each["metadata"]["name"]) for each in (*CLUSTER, *SECRETS)]
    assert len(given) == len(set(given))


@pytest.mark.parametrize("name", sorted(workloads()))
def test_a_workload_selects_its_own_pods(name: str) -> None:
    spec = workloads()[name]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"].items() <= labels.items()
    others = [each for other, each in workloads().items() if other != name]
    for other in others:
        assert not spec["selector"]["matchLabels"].items() <= other["spec"]["template"]["metadata"]["labels"].items()
    if "serviceName" in spec:
        assert spec["serviceName"] in named("Service")
    assert spec["replicas"] == 1
    assert spec["template"]["spec"]["enableServiceLinks"] is False, "MYSQL_PORT and the like would be set by Kubernetes"


@pytest.mark.parametrize("name", sorted(named("Service")))
def test_a_service_leads_to_one_workload_and_its_port(name: str) -> None:
    spec = named("Service")[name]["spec"]
    chosen = [
        each
        for each in workloads().values()
        if spec["selector"].items() <= each["spec"]["template"]["metadata"]["labels"].items()
    ]
    assert len(chosen) == 1
    listening = {port["containerPort"] for one in containers(chosen[0]) for port in one.get("ports", ())}
    assert {port["targetPort"] for port in spec["ports"]} <= listening


@pytest.mark.parametrize("name", sorted(workloads()))
def test_what_a_pod_names_is_there(name: str) -> None:
    spec = workloads()[name]["spec"]
    pod = spec["template"]["spec"]
    sources = {volume["name"]: volume for volume in pod.get("volumes", ())}
    for volume in sources.values():
        if "secret" in volume:
            assert volume["secret"]["secretName"] in named("Secret")
        if "configMap" in volume:
            assert volume["configMap"]["name"] in named("ConfigMap")
        if "persistentVolumeClaim" in volume:
            assert volume["persistentVolumeClaim"]["claimName"] in named("PersistentVolumeClaim")
    known = {*sources, *(claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", ()))}
    for one in containers(workloads()[name]):
        assert {mount["name"] for mount in one.get("volumeMounts", ())} <= known
        for variable in one.get("env", ()):
            if "valueFrom" in variable:
                reference = variable["valueFrom"]["secretKeyRef"]
                assert reference["key"] in named("Secret")[reference["name"]]["stringData"]


def test_variables_in_commands_are_set() -> None:
    for workload in workloads().values():
        for one in containers(workload):
            seen: set[str] = set()
            for variable in one.get("env", ()):
                assert set(re.findall(r"\$\((\w+)\)", variable.get("value", ""))) <= seen, "set later, or never"
                seen.add(variable["name"])
            for word in (*one.get("command", ()), *one.get("args", ())):
                assert set(re.findall(r"\$\((\w+)\)", word)) <= seen


def test_images_are_those_of_the_docker_runtime() -> None:
    chosen = catalogue.choose(Topology(object_store="seaweedfs"))
    known = {image.reference for key, image in chosen.items() if key not in ("host", "juicefs", catalogue.GPU)}
    used = {one["image"] for workload in workloads().values() for one in containers(workload)}
    assert used == known


def test_the_volume() -> None:
    storage = named("StorageClass")["juicefs"]
    for key, value in storage["parameters"].items():
        if key.endswith("secret-name"):
            assert value in named("Secret")
        else:
            assert value in named("Namespace")
    assert named("PersistentVolumeClaim")["milvus-db"]["spec"]["storageClassName"] == "juicefs"
    volume = named("Secret")["juicefs"]["stringData"]
    for key, service in (("metaurl", "redis"), ("bucket", "object-store")):
        port = named("Service")[service]["spec"]["ports"][0]["port"]
        assert f"{service}.milvus-juicefs.svc:{port}/" in volume[key]


def test_the_nodes_configuration() -> None:
    config = yaml.safe_load(named("ConfigMap")["milvus"]["data"]["server_config.yaml"])
    assert (config["cluster"]["enable"], config["logs"]["level"]) == (True, "debug")
    roles = {
        name: next(v["value"] for v in workload["spec"]["template"]["spec"]["initContainers"][0]["env"] if "value" in v)
        for name, workload in workloads().items()
        if workload["spec"]["template"]["metadata"]["labels"].get("part") == "milvus"
    }
    assert roles == {"writer": "rw", "reader-1": "ro", "reader-2": "ro"}


def test_no_password_is_committed() -> None:
    text = (FOLDER / "secrets.example.yaml").read_text(encoding="utf-8")
    for key in ("mysql", "redis", "access-key", "secret-key"):
        assert set(re.findall(rf"\b{key}: (\S+)", text)) == {"CHANGE-ME"}


@pytest.mark.parametrize("name", sorted(parts()))
def test_endpoints_and_hooks_name_what_is_there(name: str) -> None:
    part = parts()[name]
    host, port = part.address
    service, _, rest = host.partition(".")
    assert rest == "milvus-juicefs.svc"
    assert port in {each["port"] for each in named("Service")[service]["spec"]["ports"]}
    assert part.kill is not None
    assert part.stop is not None
    for argv in commands(part):
        assert argv[:3] == ("kubectl", "-n", "milvus-juicefs")
        for word in argv:
            if "/" in word and word.split("/")[0] in ("statefulset", "deployment"):
                kind, _, workload = word.partition("/")
                assert workload in named({"statefulset": "StatefulSet", "deployment": "Deployment"}[kind])
            if word.startswith("app="):
                assert word.removeprefix("app=") == service


def test_a_server_takes_it() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl here")
    if subprocess.run(["kubectl", "version", "--request-timeout=2s"], capture_output=True, check=False).returncode != 0:
        pytest.skip("kubectl reaches no cluster, and without one it checks nothing")
    for name in ("cluster.yaml", "secrets.example.yaml"):
        argv = ["kubectl", "apply", "--dry-run=client", "-f", str(FOLDER / name)]
        subprocess.run(argv, check=True, capture_output=True, timeout=60)
