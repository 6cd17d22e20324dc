"""compose/ is what the code renders today, and the same cluster as that of the docker runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures import images
from fixtures.cluster import NO_GPU, Cluster
from fixtures.compose.project import INSIDE
from fixtures.compose.render import FILE, GPU_FILE, drawn, render
from fixtures.errors import UsageError
from fixtures.plugin.docker import programs
from fixtures.runtimes import new_run_id
from fixtures.runtimes.containers import Docker
from fixtures.topology import Images, Topology
from suites.performance.compose_up import find_compose, project
from suites.selftest.docker_daemon import LOCAL, require, runtime
from suites.selftest.docker_same import Container, containers, image_env, same_secrets
from tools.compose import COMPOSE, main

pytestmark = [pytest.mark.selftest, pytest.mark.timeout(300)]

ALL_LOCAL = ("host", "mysql", "redis", "seaweedfs", "juicefs", "milvus", "mishards")
NODES = ("writer", "reader-1", "reader-2")


def services(files: dict[str, str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(files[FILE])["services"]
    return found


def test_what_is_committed_is_what_is_rendered() -> None:
    rendered = render(Topology())
    # The data of a cluster that runs there is nobody's business; neither are the templates.
    there = {
        FILE,
        GPU_FILE,
        *(str(path.relative_to(COMPOSE)) for path in COMPOSE.glob("config/**/*") if path.is_file()),
    }
    there |= {str(path.relative_to(COMPOSE)) for path in COMPOSE.glob("data/*/.gitignore")}
    assert there == set(rendered), "run `make compose`"
    for name, text in rendered.items():
        assert (COMPOSE / name).read_text(encoding="utf-8") == text, f"compose/{name} is stale: run `make compose`"


def test_a_changed_topology_changes_the_rendering() -> None:
    rendered = render(Topology())
    more = render(Topology(readers=3, object_store="seaweedfs"))
    assert set(services(more)) - set(services(rendered)) == {"reader-3", "juicefs-reader-3"}
    assert services(more)["object-store"] != services(rendered)["object-store"]
    assert services(more)["mishards"]["environment"]["DISCOVERY_STATIC_HOSTS"].count("reader-") == 3


@pytest.mark.parametrize("topology", [Topology(), LOCAL], ids=["upstream", "local"])
def test_it_runs_on_the_images_of_the_catalogue(topology: Topology) -> None:
    chosen = images.choose(topology)
    base, _ = drawn(topology)
    for name, part in base.parts.items():
        assert part.description["image"] == chosen[part.command.image].reference, name
    assert {part.command.image for part in base.parts.values()} | {"host", images.GPU} == set(chosen)


def test_the_order_is_that_of_the_cluster() -> None:
    parts = services(render(Topology()))
    healthy, completed = {"condition": "service_healthy"}, {"condition": "service_completed_successfully"}
    assert parts["mysql"]["depends_on"] == {"mysql-init": completed}
    assert parts["juicefs-format"]["depends_on"] == {"redis": healthy, "object-store": healthy}
    for node in NODES:
        assert parts[f"juicefs-{node}"]["depends_on"] == {"juicefs-format": completed}
        assert parts[node]["depends_on"] == {"mysql": healthy, f"juicefs-{node}": healthy}
    assert parts["mishards"]["depends_on"] == dict.fromkeys(NODES, healthy)
    waited_for = {
        name
        for part in parts.values()
        for name, condition in part.get("depends_on", {}).items()
        if condition == healthy
    }
    assert all("healthcheck" in parts[name] for name in (*waited_for, "mishards"))


def test_no_port_is_open_to_other_machines() -> None:
    ports = {name: part["ports"] for name, part in services(render(Topology())).items() if "ports" in part}
    assert set(ports) == {*NODES, "mishards"}
    assert all(port.startswith("127.0.0.1:") for listed in ports.values() for port in listed)


def test_nothing_of_this_machine_is_in_it() -> None:
    for name, text in render(Topology()).items():
        for word in ("/tmp", "/home", "/root", "mjc_"):
            assert word not in text, name


def test_the_gpu_overlay_changes_readers_alone() -> None:
    files = render(Topology())
    over = yaml.safe_load(files[GPU_FILE])["services"]
    assert set(over) == {"reader-1", "reader-2"}
    for name, part in over.items():
        assert part["image"] == images.choose(Topology())[images.GPU].reference
        (device,) = part["deploy"]["resources"]["reservations"]["devices"]
        assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
        (volume,) = part["volumes"]
        assert volume["target"] in [it["target"] for it in services(files)[name]["volumes"]], "it replaces that one"
        gpu = yaml.safe_load(files[volume["source"].removeprefix("./")])
        cpu = yaml.safe_load(files[f"config/{name}/server_config.yaml"])
        assert (cpu["gpu"].pop("enable"), gpu["gpu"].pop("enable")) == (False, True)
        assert cpu == gpu


def test_local_images_have_no_gpu_overlay() -> None:
    assert GPU_FILE not in render(LOCAL)


def test_new_secrets_are_other_ones_each_time() -> None:
    fixed, first, second = render(Topology()), *(render(Topology(), new_secrets=True) for _ in range(2))
    key = "config/mysql/users.sql"
    assert len({fixed[key], first[key], second[key]}) == 3
    password = services(first)["juicefs-writer"]["environment"]["META_PASSWORD"]
    assert f"requirepass {password}" in first["config/redis/redis.conf"], "it is one project"


def test_an_image_of_which_nothing_is_known_is_refused() -> None:
    with pytest.raises(UsageError, match=r"mysql:9\.9: whether it has mariadbd or mysqld is not known"):
        render(Topology(images=Images(mysql="mysql:9.9")))


def test_the_command_writes_it_where_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--readers=1", "-o", str(tmp_path / "new")]) == 0
    assert main(["--images=local", "-o", str(tmp_path / "new")]) == 0, "an earlier one is replaced"
    assert not (tmp_path / "new" / "config" / "gpu").exists()
    capsys.readouterr()
    (tmp_path / FILE).write_text("services: {}\n", encoding="utf-8")
    assert main(["-o", str(tmp_path)]) == 4
    assert capsys.readouterr().err == f"{tmp_path / FILE}: not made by tools.compose; choose another folder with -o\n"
    assert main(["--readers=99", "-o", str(tmp_path / "new")]) == 4
    assert capsys.readouterr().err == "tools.compose: readers = 99: must be 1 to 8\n"


def test_it_is_the_cluster_of_the_docker_runtime(tmp_path: Path) -> None:
    require(*ALL_LOCAL)
    base, _ = drawn(LOCAL)
    with runtime(tmp_path) as opened:
        same_secrets(opened)
        made = containers(opened, _described(opened))
        assert set(made) == set(base.parts)
        for name, part in base.parts.items():
            env = image_env(opened, part.description["image"])
            assert Container.of_compose(part.description, env) == made[name], name
        for path, text in base.files.items():
            assert text == made[path.partition("/")[0]].files[f"{INSIDE}/{path}"], path


def _described(opened: Docker) -> Cluster:
    topology = Topology(images=LOCAL.images, object_store=images.object_store(LOCAL))
    return Cluster(topology, opened, opened.folders, "cluster", 1, programs(opened.images), NO_GPU)


def test_it_comes_up_and_answers_a_search(tmp_path: Path) -> None:
    require(*ALL_LOCAL)
    try:
        words = find_compose(None)
    except UsageError as error:
        pytest.skip(str(error).splitlines()[0])
    with project(words, LOCAL, tmp_path, new_run_id(), "1s") as made:
        made.up()
        made.search(1)
