"""What the layers of the storage must agree on: MySQL's rows, files on each mount, JuiceFS' metadata, objects, fsck.

Pure: what was collected (`suites/audit.py`) in, sentences out. A *lie* is a statement of one layer that the others
disprove; it names that layer. A *note* is something left over that no one promised to remove (facts 2.3, 2.7;
measured-2 5.1, 5.2): it costs room, never an answer.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from fixtures.file_types import FileType
from fixtures.juicefs_metadata import TRASH, StoredFile
from fixtures.walk import DELETED_DOCS, Seen

MYSQL, FILES, METADATA, OBJECTS, FSCK = "MySQL", "files", "JuiceFS' metadata", "object store", "juicefs fsck"
VECTORS, IDS, BLOOM, TEMPORARY = ".rv", ".uid", "bloom_filter", "temp_del"
_HEADER_BYTES = 8
_ID_BYTES = 8
_TABLES = "tables"


def _kind(file_type: int) -> str:
    return FileType(file_type).name if file_type in FileType._value2member_map_ else f"type {file_type}"


LIVE = frozenset({FileType.RAW, FileType.TO_INDEX, FileType.INDEX, FileType.BACKUP})
"""Whose files must be there: they are searched, or read when something else is made of them."""

UNFINISHED = frozenset({FileType.NEW, FileType.NEW_MERGE, FileType.NEW_INDEX})


@dataclass(frozen=True, slots=True)
class Row:
    """A row of `TableFiles`."""

    id: int
    table_id: str
    segment_id: str
    file_id: str
    file_type: int
    file_size: int
    row_count: int

    @property
    def folder(self) -> str:
        return f"{_TABLES}/{self.table_id}/{self.segment_id}"

    def __str__(self) -> str:
        return f"TableFiles row {self.id} ({_kind(self.file_type)}, {self.row_count} rows)"


@dataclass(frozen=True, slots=True)
class Table:
    """A row of `Tables`: a collection or a partition. `state` 0 is normal, 1 is being dropped."""

    table_id: str
    state: int
    owner: str = ""
    row_bytes: int = 0
    """Of one vector; 0: not known."""

    def __str__(self) -> str:
        return f"partition {self.table_id} of {self.owner}" if self.owner else f"collection {self.table_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """All that was seen. `rows` are those that did not change while the rest was looked at; `segments` all folders that
    any row named at any moment of it.

    `mounts` maps a mount's name to its files. `metadata` and `objects` (name to size) are None where they cannot be
    asked. `fsck` is what it complained of. `volume` is its name in the bucket. `plain` is whether objects have the size
    of what was written: neither compressed nor encrypted. `silent` are mounts that could not be looked at, and why.
    """

    tables: Mapping[str, Table]
    rows: Sequence[Row]
    segments: frozenset[str]
    mounts: Mapping[str, Mapping[str, Seen]]
    metadata: Mapping[str, StoredFile] | None = None
    objects: Mapping[str, int] | None = None
    fsck: str = ""
    volume: str = "milvus"
    plain: bool = True
    silent: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lie:
    """One statement that the other layers disprove."""

    layer: str
    sentence: str


@dataclass(slots=True)
class Found:
    """`lies` and `notes`; and how much was compared, since nothing compared is nothing proven."""

    lies: list[Lie] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    compared: Counter[str] = field(default_factory=Counter)


def compare(layers: Layers) -> Found:
    """Hold every layer against the next one."""
    found = Found()
    found.lies += [Lie(f"mount {name}", f"shows nothing: {why}") for name, why in layers.silent.items()]
    found.lies += _mounts_against_metadata(layers, found.compared)
    for row in layers.rows:
        found.lies += _row_against_files(row, layers, found)
    found.lies += _metadata_against_objects(layers, found.compared)
    found.notes += _left_over(layers)
    return found


def _mounts_against_metadata(layers: Layers, compared: Counter[str]) -> Iterator[Lie]:
    """Each mount shows the files that the metadata have, whole, and all mounts the same bytes."""
    for mount, shown in layers.mounts.items():
        for path, seen in shown.items():
            compared["files on mounts"] += 1
            if seen.error:
                yield Lie(f"mount {mount}", f"{path} is listed and cannot be read: {seen.error}")
            elif seen.digest and seen.read != seen.size:
                yield Lie(f"mount {mount}", f"{path} has {seen.size} bytes by its size, {seen.read} by reading it")
        if layers.metadata is not None:
            yield from _mount_against_metadata(mount, shown, layers.metadata)
    yield from _mounts_against_each_other(layers.mounts, layers.metadata or {})


def _mount_against_metadata(mount: str, shown: Mapping[str, Seen], metadata: Mapping[str, StoredFile]) -> Iterator[Lie]:
    stored = {path: file for path, file in metadata.items() if not path.startswith(f"{TRASH}/")}
    for path in sorted(stored.keys() - shown.keys()):
        yield Lie(f"mount {mount}", f"does not show {path} ({stored[path].length} bytes), which {METADATA} have")
    for path in sorted(shown.keys() - stored.keys()):
        yield Lie(f"mount {mount}", f"shows {path} ({shown[path].size} bytes), which {METADATA} do not have")
    for path in sorted(shown.keys() & stored.keys()):
        if shown[path].size != stored[path].length and not shown[path].error:
            sizes = f"{shown[path].size} bytes, where {METADATA} have {stored[path].length}"
            yield Lie(f"mount {mount}", f"shows {path} with {sizes}")


def _mounts_against_each_other(
    mounts: Mapping[str, Mapping[str, Seen]], metadata: Mapping[str, StoredFile]
) -> Iterator[Lie]:
    """The same bytes for the same file; whoever is alone against several others is named as the liar."""
    for path in sorted({path for shown in mounts.values() for path in shown}):
        voices: dict[tuple[int, str], list[str]] = defaultdict(list)
        silent = [mount for mount, shown in mounts.items() if path not in shown]
        for mount, shown in mounts.items():
            if (seen := shown.get(path)) is not None and not seen.error:
                voices[seen.size, seen.digest].append(mount)
        if silent and path not in metadata and len(silent) < len(mounts) and not metadata:
            yield Lie("mounts", f"{path} is on {_names(set(mounts) - set(silent))}, not on {_names(silent)}")
        if len(voices) > 1:
            fewest = sorted(voices.values(), key=len)
            alone = len(fewest[0]) < len(fewest[1])
            who = f"mount {_names(fewest[0])}" if alone else f"mounts {_names(name for v in fewest for name in v)}"
            yield Lie(who, f"{path} has other bytes there than on {_names(name for v in fewest[1:] for name in v)}")


def _row_against_files(row: Row, layers: Layers, found: Found) -> Iterator[Lie]:
    """A row that is searched has its files, whole, and as many rows in them as it says."""
    if row.file_type not in LIVE:
        return
    table = layers.tables.get(row.table_id)
    if table is None:
        yield Lie(MYSQL, f"{row} belongs to {row.table_id}, which is not in Tables")
    elif table.state != 0:
        found.notes.append(f"{row} of {table} is not marked for deletion, though that is being dropped")
    else:
        found.compared["rows"] += 1
        yield from _row_without_files(row, table, layers)
        for mounts, shown in _views(row, layers.mounts):
            yield from _row_on_mounts(row, table, mounts, shown, found)
        yield from _strangers(row, table, layers, found)


def _row_without_files(row: Row, table: Table, layers: Layers) -> Iterator[Lie]:
    for path in _needed(row):
        if not any(path in shown for shown in layers.mounts.values()):
            known = layers.metadata is not None and path in layers.metadata
            layer, where = ("all mounts", "shown by no mount") if known else (MYSQL, "nowhere")
            yield Lie(layer, f"{row} of {table} needs {path}, which is {where}: searches that load it will fail")


def _views(row: Row, mounts: Mapping[str, Mapping[str, Seen]]) -> Iterator[tuple[str, Mapping[str, Seen]]]:
    """The files of a row as mounts show them, each view once, with the names of the mounts that have it."""
    views: dict[tuple[tuple[str, Seen], ...], list[str]] = defaultdict(list)
    for mount, shown in mounts.items():
        views[tuple((path, shown[path]) for path in _needed(row) if path in shown)].append(mount)
    for view, names in views.items():
        yield f"mount{'s' if len(names) > 1 else ''} {_names(names)}", dict(view)


def _row_on_mounts(row: Row, table: Table, mounts: str, shown: Mapping[str, Seen], found: Found) -> Iterator[Lie]:
    seen = {path: file for path, file in shown.items() if not file.error}
    problems = {path: problem for path in seen if (problem := _cut_off(row, path, seen[path]))}
    for path, problem in problems.items():
        yield Lie(FILES, f"{path} of {table} {problem}, on {mounts}")
    if len(seen) == len(_needed(row)) and not problems:
        yield from _row_count(row, table, mounts, seen, found)


def _needed(row: Row) -> list[str]:
    raw = [f"{row.folder}/{row.segment_id}{VECTORS}", f"{row.folder}/{row.segment_id}{IDS}"]
    index = [f"{row.folder}/{row.file_id}"] if row.file_type == FileType.INDEX else []
    return [*raw, f"{row.folder}/{DELETED_DOCS}", f"{row.folder}/{BLOOM}", *index]


def _cut_off(row: Row, path: str, seen: Seen) -> str:
    """Why a file is not what its own first bytes, or its row, promise; empty if it is."""
    name = PurePosixPath(path).name
    if name.endswith((VECTORS, IDS)) or name == DELETED_DOCS:
        if seen.payload < 0:
            return f"has {seen.size} bytes, not even its header"
        if seen.size != seen.payload + _HEADER_BYTES:
            return f"is cut off or torn: {seen.size} bytes, its header promises {seen.payload + _HEADER_BYTES}"
    elif name == BLOOM:
        return "" if seen.size > _HEADER_BYTES else f"has {seen.size} bytes, not even its header"
    elif seen.size != row.file_size:
        return f"(an index) has {seen.size} bytes, {row} says {row.file_size}"
    return ""


def _row_count(row: Row, table: Table, mounts: str, shown: Mapping[str, Seen], found: Found) -> Iterator[Lie]:
    ids = shown[f"{row.folder}/{row.segment_id}{IDS}"].payload // _ID_BYTES
    vectors = shown[f"{row.folder}/{row.segment_id}{VECTORS}"].payload
    if table.row_bytes and vectors != ids * table.row_bytes:
        sizes = f"{vectors} bytes of vectors for {ids} ids of {table.row_bytes} bytes each"
        yield Lie(FILES, f"segment {row.segment_id} of {table} has {sizes}, on {mounts}")
    live = ids - shown[f"{row.folder}/{DELETED_DOCS}"].rows
    if live == row.row_count:
        return
    sentence = f"{row} of {table}: {live} live rows are in the files of segment {row.segment_id} on {mounts}"
    if row.file_type == FileType.INDEX and row.row_count > live:
        found.notes.append(f"{sentence} (a delete during an index build is not subtracted: facts 2.6)")
    else:
        yield Lie(MYSQL, sentence)


def _strangers(row: Row, table: Table, layers: Layers, found: Found) -> Iterator[Lie]:
    """Other files in the folder of a live segment: Milvus reads the first `.rv` that a listing gives (facts 3.1)."""
    inside = {path for shown in layers.mounts.values() for path in shown if path.startswith(f"{row.folder}/")}
    for path in sorted(inside - set(_needed(row))):
        if path.endswith((VECTORS, IDS)):
            yield Lie(FILES, f"{path} of {table} is a second {PurePosixPath(path).suffix} file: nodes may load it")
        elif path.endswith(f"/{TEMPORARY}"):
            found.notes.append(f"{path} of {table} was left by a crash: deletes in this segment fail while it is there")


def _metadata_against_objects(layers: Layers, compared: Counter[str]) -> Iterator[Lie]:
    """Every object that a file needs is in the bucket, whole; and `juicefs fsck` says the same."""
    missing = 0
    if layers.metadata is not None and layers.objects is not None:
        for path, file in layers.metadata.items():
            for name, size in file.objects.items():
                compared["objects"] += 1
                there = layers.objects.get(name)
                if there is None:
                    missing += 1
                    yield Lie(OBJECTS, f"{name} of {path} is not there: reading it through an empty cache fails")
                elif there is not None and layers.plain and there != size:
                    yield Lie(OBJECTS, f"{name} of {path} has {there} bytes, {METADATA} have {size}")
    if layers.fsck and not missing:
        known = "though every object is listed in the bucket" if layers.objects is not None else "on its own evidence"
        yield Lie(FSCK, f"finds damage {known}: {layers.fsck}")
    elif missing and not layers.fsck:
        yield Lie(FSCK, f"is content, though {missing} objects are not in the bucket")


def _left_over(layers: Layers) -> Iterator[str]:
    """What nobody needs and nobody promised to remove."""
    folders: Counter[str] = Counter()
    for path in {path for shown in layers.mounts.values() for path in shown}:
        parts = PurePosixPath(path).parts
        if len(parts) == 4 and parts[0] == _TABLES:
            folder = "/".join(parts[:3])
            if folder not in layers.segments:
                folders[folder] += max(shown[path].size for shown in layers.mounts.values() if path in shown)
    if folders:
        named = f"{', '.join(sorted(folders)[:3])}{', ...' if len(folders) > 3 else ''}"
        yield (
            f"{len(folders)} segment folders without a row, {sum(folders.values())} bytes: {named} (by design: a crash"
            " or a cut during clean-up leaves them; facts 2.3, measured-2 5.2)"
        )
    unfinished = Counter(_kind(row.file_type) for row in layers.rows if row.file_type in UNFINISHED)
    if unfinished:
        told = ", ".join(f"{count} {kind}" for kind, count in sorted(unfinished.items()))
        yield f"rows of unfinished work: {told} (by design: removed when a writer starts; facts 2.3)"
    if layers.metadata is not None and layers.objects is not None:
        used = {name for file in layers.metadata.values() for name in file.objects}
        chunks = f"{layers.volume}/chunks/"
        unused = {name: size for name, size in layers.objects.items() if name not in used and name.startswith(chunks)}
        if unused:
            size = sum(unused.values())
            yield f"{len(unused)} objects of no file, {size} bytes (by design: `juicefs gc` removes them; measured-2 5)"


def _names(names: Iterator[str] | Sequence[str] | set[str]) -> str:
    return ", ".join(sorted(names))
