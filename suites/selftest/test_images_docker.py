"""The builder with a real Docker daemon, on images of two lines; and what the real images contain, where they are."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
from collections.abc import Callable, Iterator

import docker
import pytest

from fixtures import images
from fixtures.errors import InfrastructureError, UsageError
from fixtures.images import builder, minio, recipes
from tools.images import connect

pytestmark = pytest.mark.selftest


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    try:
        opened = connect()
    except UsageError as error:
        pytest.skip(str(error))
    with contextlib.closing(opened):
        yield opened


@pytest.fixture
def small(client: docker.DockerClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[recipes.Recipe]:
    """An image of this test alone; it needs no network but for the base, where there is none yet."""
    recipe = recipes.Recipe(
        name=f"selftest-{secrets.token_hex(4)}",
        lines=("COPY words /words", "RUN cat /words"),
        contents=lambda _say: {"words": "one\n"},
    )
    monkeypatch.setattr(recipes, "RECIPES", {**recipes.RECIPES, recipe.name: recipe})
    monkeypatch.setattr(recipes, "NAMES", (*recipes.NAMES, recipe.name))
    try:
        images.ensure(client, ["base"], lambda _line: None)
    except InfrastructureError as error:
        pytest.skip(str(error))
    yield recipe
    for image in client.images.list(f"{recipes.REPOSITORY}/{recipe.name}"):
        for tag in image.tags:
            client.images.remove(tag)


Change = Callable[..., None]


@pytest.fixture
def change(small: recipes.Recipe, monkeypatch: pytest.MonkeyPatch) -> Change:
    def change(**fields: object) -> None:
        changed = dataclasses.replace(small, **fields)  # type: ignore[arg-type]
        monkeypatch.setitem(recipes.RECIPES, small.name, changed)

    return change


def _run(client: docker.DockerClient, image: str, *argv: str) -> str:
    output = client.containers.run(image, argv[1:], entrypoint=[argv[0]], network_mode="none", remove=True, stderr=True)
    return str(output.decode())


def test_a_second_time_nothing_is_built(client: docker.DockerClient, small: recipes.Recipe) -> None:
    said: list[str] = []
    assert images.ensure(client, [small.name], said.append) == {small.name: images.tag(small.name)}
    assert said[0] == f"image {small.name}: building"
    assert len(said) == 2
    assert _run(client, images.tag(small.name), "cat", "/words") == "one\n"
    before = client.images.get(images.tag(small.name)).id
    said.clear()
    images.ensure(client, [small.name], said.append)
    assert said == []
    assert client.images.get(images.tag(small.name)).id == before


def test_a_change_builds_it_again_beside_the_one_that_may_be_in_use(
    client: docker.DockerClient, small: recipes.Recipe, change: Change
) -> None:
    before = images.ensure(client, [small.name], lambda _line: None)[small.name]
    change(contents=lambda _say: {"words": "two\n"}, key=lambda: "two")
    assert not builder.is_current(client, small.name)
    assert before in builder.stale(client)
    after = images.ensure(client, [small.name], lambda _line: None)[small.name]
    assert builder.is_current(client, small.name)
    assert after not in builder.stale(client)
    assert _run(client, after, "cat", "/words") == "two\n"
    assert _run(client, before, "cat", "/words") == "one\n"


def test_an_image_that_somebody_else_called_so_is_not_taken(client: docker.DockerClient, small: recipes.Recipe) -> None:
    other = images.ensure(client, ["base"], lambda _line: None)["base"]
    client.images.get(other).tag(*images.tag(small.name).split(":"))
    assert not builder.is_current(client, small.name)
    images.ensure(client, [small.name], lambda _line: None)
    assert builder.is_current(client, small.name)


def test_a_build_that_fails_says_why_and_leaves_no_image(
    client: docker.DockerClient, small: recipes.Recipe, change: Change
) -> None:
    change(lines=("RUN echo the very reason; exit 7",))
    with pytest.raises(InfrastructureError) as caught:
        images.ensure(client, [small.name], lambda _line: None)
    message = str(caught.value)
    assert message.startswith(f"image {small.name}: The command '/bin/sh -c echo the very reason; exit 7'")
    assert "returned a non-zero code: 7" in message
    assert "\nthe very reason" in message
    assert builder.size_mb(client, small.name) is None


@pytest.mark.parametrize(
    ("name", "argv", "says"),
    [
        ("host", ("sh", "-c", "ip -V && tc -V && iptables --version && python3 --version"), "iptables v1.8"),
        ("mysql", ("sh", "-c", "command -v mariadb-install-db my_print_defaults && mariadbd --version"), "10.11"),
        ("redis", ("redis-server", "--version"), "v=7.0"),
        ("seaweedfs", ("weed", "version"), "version"),
        ("minio", ("minio", "--version"), f"{minio.RELEASE} (commit-id={minio.COMMIT})"),
        ("azurite", ("azurite-blob", "--version"), "3.35.0"),
        ("juicefs", ("sh", "-c", "command -v fusermount3 umount && juicefs version"), "juicefs version"),
        ("milvus", ("python3", "-m", "fixtures.standin.node", "--help"), "stand-in for a Milvus"),
        ("mishards", ("python3", "-m", "fixtures.standin.mishards", "--help"), "fixtures.standin.mishards"),
    ],
)
def test_each_image_that_is_here_has_its_programs(
    client: docker.DockerClient, name: str, argv: tuple[str, ...], says: str
) -> None:
    if not builder.is_current(client, name):
        pytest.skip(f"{images.tag(name)} is missing: `make images` builds it")
    assert says in _run(client, images.tag(name), *argv)
