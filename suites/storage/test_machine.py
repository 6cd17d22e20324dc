"""Any sequence of file operations on two mounts does what it does in a local folder, as a Hypothesis state machine."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from fixtures.claims import Trial, claim, holds
from fixtures.cluster import Cluster
from fixtures.extras import extra_mount
from fixtures.plugin import Names
from fixtures.waits import pause
from suites.storage.sides import TWO_MOUNTS, error_name, read, sides

EXAMPLES = 3
STEPS = 25
ROUNDS = 4
"""At most: of one Hypothesis may make all examples short, and then come others."""
ENOUGH = 20
"""Operations that must have succeeded: a machine that only ever fails proves nothing."""

NAMES = ("a", "b", "c", "d/a", "d/b", "e")
FIRST = ("a", "b", "d/a")
MAX_BYTES = 20_000
_CACHES = ("attr_cache_s", "entry_cache_s", "dir_entry_cache_s")

Operation = Callable[[Path], object]


@claim(
    "J-8",
    "any sequence of file operations, each on either of two mounts, does what it does in a local folder",
    source="JuiceFS documentation, introduction: POSIX compatible; guide/cache: close-to-open; measured-2 4.1",
    expected={"1.1.0": holds("for mounts without the kernel's caches at once, for others once their TTL is over")},
    needs=("fuse", "internals"),
    witnesses=(TWO_MOUNTS, "operations", "the same with caches"),
)
def test_two_mounts_as_one_folder(cluster: Cluster, trial: Trial, names: Names, seed: int) -> None:
    uncached = dict.fromkeys(_CACHES, 0.0)
    cached = cluster.mounts[cluster.readers[0].name]
    with (
        extra_mount(cluster, "first", uncached) as first,
        extra_mount(cluster, "second", uncached) as second,
        sides(trial, first, second, names("machine")) as both,
    ):
        examples = Examples(trial, cluster.site.folder("models"), (both.here, both.there))
        examples.run(seed)
        pause(cluster.budgets.entry_cache_ttl_s, "the kernel's caches to expire")
        # Where they differed already the model has done what the mounts have not.
        for model, name in () if examples.differed else examples.finished:
            trial.check(
                tree(model) == tree(cached.point / both.name / name),
                f"example {name} is not the same on a mount with caches, once they have expired",
                node=cached.name,
            )
        trial.witness("the same with caches", examples=len(examples.finished))
    if examples.succeeded >= ENOUGH:
        trial.witness("operations", examples=len(examples.finished), ok=examples.succeeded, refused=examples.refused)


class Examples:
    """Runs the machine, each time in new folders: a local one, the model, and one that both mounts show."""

    def __init__(self, trial: Trial, models: Path, mounts: tuple[Path, Path]) -> None:
        self.finished: list[tuple[Path, str]] = []
        self.differed = False
        self.succeeded = 0
        self.refused = 0
        self._trial = trial
        self._models = models
        self._mounts = mounts

    def run(self, seed: int) -> None:
        """All examples, the same for the same seed; up to the first that differs, which is a violation."""
        for part in range(ROUNDS):
            if self.succeeded < ENOUGH and not self.differed:
                self._run(seed + part)

    def _run(self, seed: int) -> None:
        examples = self

        class Seeded(Machine):
            def __init__(self) -> None:
                super().__init__(examples)

        hypothesis.seed(seed)(Seeded)
        bounded = settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            # Neither kept nor shrunk: that would take a cluster's time many times over; the steps are in the finding.
            database=None,
            phases=(Phase.generate,),
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        )
        try:
            run_state_machine_as_test(Seeded, settings=bounded)
        except (Differs, hypothesis.errors.Flaky):
            # Flaky: it did not happen again.
            if not self.differed:
                raise

    def begin(self) -> tuple[Path, tuple[Path, Path]]:
        name = f"example{len(self.finished)}"
        model = self._models / name
        shutil.rmtree(model, ignore_errors=True)
        model.mkdir()
        (self._mounts[0] / name).mkdir()
        for root in (model, self._mounts[0] / name):
            # Something to begin with: most operations fail where there is nothing.
            (root / "d").mkdir()
            for path in FIRST:
                (root / path).write_bytes(_bytes((MAX_BYTES, len(path))))
        self.finished.append((model, name))
        return model, (self._mounts[0] / name, self._mounts[1] / name)

    def differ(self, text: str, steps: list[str]) -> None:
        """Record the first one, at once: Hypothesis does it again then, and what it makes of that decides nothing."""
        if not self.differed:
            self._trial.check(False, f"{text}, after {len(steps)} operations", steps=list(steps))
        self.differed = True
        raise Differs(text)

    def agree(self, *, succeeded: bool) -> None:
        self._trial.checks += 1
        self.succeeded += succeeded
        self.refused += not succeeded


class Differs(AssertionError):
    """A mount and the model are not the same."""


class Machine(RuleBasedStateMachine):
    """Does each operation in the model and on one mount, and looks at the result on the other one."""

    def __init__(self, examples: Examples) -> None:
        super().__init__()
        self._examples = examples
        self._model, self._mounts = examples.begin()
        self._steps: list[str] = []

    path = st.sampled_from(NAMES)
    folder = st.sampled_from(("d", "e", "d/e"))
    side = st.integers(0, 1)
    content = st.tuples(st.integers(0, MAX_BYTES), st.integers(0, 255))
    offset = st.integers(0, MAX_BYTES)

    def _both(self, side: int, what: str, operation: Operation) -> None:
        """The operation in the model and on a mount: both succeed with the same result, or fail with the same error."""
        self._steps.append(f"mount {side}: {what}")
        wanted, seen = _outcome(operation, self._model), _outcome(operation, self._mounts[side])
        if wanted != seen:
            self._examples.differ(f"{what} gives {_short(seen)} instead of {_short(wanted)}", self._steps)
        self._examples.agree(succeeded=not isinstance(wanted, str))

    @rule(path=path, side=side, content=content)
    def write(self, path: str, side: int, content: tuple[int, int]) -> None:
        self._both(side, f"write {path} {content}", lambda root: (root / path).write_bytes(_bytes(content)))

    @rule(path=path, side=side, content=content)
    def append(self, path: str, side: int, content: tuple[int, int]) -> None:
        def operation(root: Path) -> int:
            with (root / path).open("ab") as file:
                return file.write(_bytes(content))

        self._both(side, f"append {path} {content}", operation)

    @rule(path=path, side=side, content=content, offset=offset)
    def overwrite(self, path: str, side: int, content: tuple[int, int], offset: int) -> None:
        def operation(root: Path) -> int:
            with (root / path).open("r+b") as file:
                file.seek(offset)
                return file.write(_bytes(content))

        self._both(side, f"overwrite {path} at {offset} {content}", operation)

    @rule(path=path, side=side, offset=offset)
    def truncate(self, path: str, side: int, offset: int) -> None:
        self._both(side, f"truncate {path} {offset}", lambda root: os.truncate(root / path, offset))

    @rule(path=path, other=path, side=side)
    def rename(self, path: str, other: str, side: int) -> None:
        self._both(side, f"rename {path} {other}", lambda root: os.rename(root / path, root / other))  # noqa: PTH104

    @rule(path=path, side=side)
    def remove(self, path: str, side: int) -> None:
        self._both(side, f"remove {path}", lambda root: (root / path).unlink())

    @rule(path=folder, side=side)
    def make_folder(self, path: str, side: int) -> None:
        self._both(side, f"mkdir {path}", lambda root: (root / path).mkdir())

    @rule(path=folder, side=side)
    def remove_folder(self, path: str, side: int) -> None:
        self._both(side, f"rmdir {path}", lambda root: (root / path).rmdir())

    @rule(path=path, side=side)
    def read_file(self, path: str, side: int) -> None:
        self._both(side, f"read {path}", lambda root: (root / path).read_bytes())

    @invariant()
    def same_on_both(self) -> None:
        """What was closed on one is read on the other, all of it."""
        wanted = tree(self._model)
        for side, root in enumerate(self._mounts):
            if (seen := tree(root)) != wanted:
                self._examples.differ(f"mount {side} shows {_difference(wanted, seen)}", self._steps)


def tree(root: Path) -> dict[str, bytes | str]:
    """All below a folder, and itself: the bytes of files, the word "folder" for others, or the name of the error."""
    return dict(_below(root, root))


def _below(path: Path, root: Path) -> Iterator[tuple[str, bytes | str]]:
    name = str(path.relative_to(root))
    try:
        inside = sorted(path.iterdir())
    except NotADirectoryError:
        yield name, read(path)
    except OSError as error:
        yield name, error_name(error)
    else:
        yield name, "folder"
        for each in inside:
            yield from _below(each, root)


def _outcome(operation: Operation, root: Path) -> object:
    try:
        return [operation(root)]
    except OSError as error:
        # POSIX lets a file system say either of a folder that is not empty.
        return error_name(error).replace(errno.errorcode[errno.EEXIST], "ENOTEMPTY")


def _bytes(content: tuple[int, int]) -> bytes:
    size, first = content
    return bytes((first + number) % 251 for number in range(size))


def _difference(wanted: dict[str, bytes | str], seen: dict[str, bytes | str]) -> str:
    names = sorted(name for name in {*wanted, *seen} if wanted.get(name) != seen.get(name))
    return "; ".join(f"{name}: {_short(seen.get(name))} instead of {_short(wanted.get(name))}" for name in names[:3])


def _short(value: object) -> str:
    if isinstance(value, list):
        value = value[0]
    return f"{len(value)} bytes" if isinstance(value, bytes) else "nothing" if value is None else str(value)
