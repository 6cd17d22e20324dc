"""The comparison of the storage's layers: sound ones are called so, and each way to lie is named with who lies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from fixtures.file_types import FileType
from fixtures.juicefs_metadata import StoredFile, files
from fixtures.walk import Seen
from suites.layers import FILES, FSCK, MYSQL, OBJECTS, Found, Layers, Row, Table, compare

pytestmark = pytest.mark.selftest

ROWS, DIMENSION = 100, 8
RAW = Row(1, "c", "11", "11", FileType.RAW, 0, ROWS - 2)
INDEX = Row(3, "c", "22", "23", FileType.INDEX, 500, ROWS)
BACKUP = Row(2, "c", "22", "22", FileType.BACKUP, 0, ROWS)


def shown(segment: str, deleted: int = 0, index: str = "") -> dict[str, Seen]:
    """A sound segment as a mount shows it."""
    folder = f"tables/c/{segment}"
    payloads = {f"{segment}.rv": ROWS * DIMENSION * 4, f"{segment}.uid": ROWS * 8, "deleted_docs": deleted * 4}
    sound = {
        f"{folder}/{name}": Seen(
            payload + 8, payload + 8, payload, deleted if name == "deleted_docs" else 0, f"{segment} {name}"
        )
        for name, payload in payloads.items()
    }
    sound[f"{folder}/bloom_filter"] = Seen(300, 300, 7, 0, f"bloom {segment}")
    if index:
        sound[f"{folder}/{index}"] = Seen(500, 500, 9, 0, f"index {index}")
    return sound


ON_MOUNT = {**shown("11", deleted=2), **shown("22", index="23")}
METADATA = {
    path: StoredFile(seen.size, {f"v/chunks/{path}_0_{seen.size}": seen.size}) for path, seen in ON_MOUNT.items()
}
OBJECTS_THERE = {name: size for file in METADATA.values() for name, size in file.objects.items()}
SOUND = Layers(
    tables={"c": Table("c", 0, row_bytes=DIMENSION * 4)},
    rows=[RAW, INDEX, BACKUP],
    segments=frozenset({RAW.folder, INDEX.folder}),
    mounts={"writer": ON_MOUNT, "reader-1": ON_MOUNT, "reader-2": ON_MOUNT},
    metadata=METADATA,
    objects=OBJECTS_THERE,
    volume="v",
)
EVERYWHERE = "mounts reader-1, reader-2, writer"
VECTORS = "tables/c/11/11.rv"
VECTORS_OBJECT = next(iter(METADATA[VECTORS].objects))


def without(path: str, files: Mapping[str, Seen] = ON_MOUNT) -> dict[str, Seen]:
    return {name: seen for name, seen in files.items() if name != path}


def on_every_mount(files: Mapping[str, Seen]) -> dict[str, Mapping[str, Seen]]:
    return {mount: files for mount in SOUND.mounts}


def with_file(path: str, seen: Seen, stored: bool = True) -> Layers:
    """The same file everywhere, in the metadata as well."""
    metadata = {**METADATA, path: StoredFile(seen.size, METADATA[VECTORS].objects)} if stored else METADATA
    return replace(SOUND, mounts=on_every_mount({**ON_MOUNT, path: seen}), metadata=metadata)


def told(found: Found) -> list[str]:
    return [f"{lie.layer}: {lie.sentence}" for lie in found.lies]


def test_sound_layers_contradict_nothing() -> None:
    found = compare(SOUND)
    assert (told(found), found.notes) == ([], [])
    assert found.compared == {"rows": 3, "files on mounts": 3 * len(ON_MOUNT), "objects": len(ON_MOUNT)}


def test_nothing_is_compared_where_nothing_is() -> None:
    assert not compare(Layers(tables={}, rows=[], segments=frozenset(), mounts={})).compared


def test_a_shared_folder_has_neither_metadata_nor_objects() -> None:
    assert told(compare(replace(SOUND, metadata=None, objects=None))) == []


SEEN = ON_MOUNT[VECTORS]
GONE_EVERYWHERE = replace(
    SOUND,
    mounts=on_every_mount(without(VECTORS)),
    metadata={path: file for path, file in METADATA.items() if path != VECTORS},
)
WAYS_TO_LIE = {
    "a row whose file is nowhere": (
        GONE_EVERYWHERE,
        MYSQL,
        "TableFiles row 1 (RAW, 98 rows) of collection c needs tables/c/11/11.rv, which is nowhere: searches that load "
        "it will fail",
    ),
    "a mount that does not show a file": (
        replace(SOUND, mounts={**SOUND.mounts, "reader-1": without(VECTORS)}),
        "mount reader-1",
        "does not show tables/c/11/11.rv (3208 bytes), which JuiceFS' metadata have",
    ),
    "a mount that shows a removed file": (
        replace(SOUND, mounts={**SOUND.mounts, "reader-1": {**ON_MOUNT, "tables/c/9/9.rv": Seen(9, 9, 1, 0, "old")}}),
        "mount reader-1",
        "shows tables/c/9/9.rv (9 bytes), which JuiceFS' metadata do not have",
    ),
    "a mount with another size": (
        replace(SOUND, mounts={**SOUND.mounts, "reader-2": {**ON_MOUNT, VECTORS: replace(SEEN, size=8, read=8)}}),
        "mount reader-2",
        "shows tables/c/11/11.rv with 8 bytes, where JuiceFS' metadata have 3208",
    ),
    "a mount with other bytes": (
        replace(SOUND, mounts={**SOUND.mounts, "reader-2": {**ON_MOUNT, VECTORS: replace(SEEN, digest="x")}}),
        "mount reader-2",
        "tables/c/11/11.rv has other bytes there than on reader-1, writer",
    ),
    "a mount that cannot read a file": (
        replace(
            SOUND, mounts={**SOUND.mounts, "writer": {**ON_MOUNT, VECTORS: Seen(3208, error="Input/output error")}}
        ),
        "mount writer",
        "tables/c/11/11.rv is listed and cannot be read: Input/output error",
    ),
    "a mount that reads less than the size": (
        replace(SOUND, mounts={**SOUND.mounts, "writer": {**ON_MOUNT, VECTORS: replace(SEEN, read=100)}}),
        "mount writer",
        "tables/c/11/11.rv has 3208 bytes by its size, 100 by reading it",
    ),
    "a file that is cut off": (
        with_file(VECTORS, Seen(1000, 1000, 3200, 0, "short")),
        FILES,
        f"tables/c/11/11.rv of collection c is cut off or torn: 1000 bytes, its header promises 3208, on {EVERYWHERE}",
    ),
    "an empty file": (
        with_file(VECTORS, Seen(0, 0, -1, 0, "empty")),
        FILES,
        f"tables/c/11/11.rv of collection c has 0 bytes, not even its header, on {EVERYWHERE}",
    ),
    "an empty filter": (
        with_file("tables/c/11/bloom_filter", Seen(0, 0, -1, 0, "empty")),
        FILES,
        f"tables/c/11/bloom_filter of collection c has 0 bytes, not even its header, on {EVERYWHERE}",
    ),
    "vectors and ids of another number": (
        with_file("tables/c/11/11.uid", Seen(808 - 80, 808 - 80, 800 - 80, 0, "fewer")),
        FILES,
        f"segment 11 of collection c has 3200 bytes of vectors for 90 ids of 32 bytes each, on {EVERYWHERE}",
    ),
    "an index that is cut off": (
        with_file("tables/c/22/23", Seen(499, 499, 9, 0, "short")),
        FILES,
        "tables/c/22/23 of collection c (an index) has 499 bytes, TableFiles row 3 (INDEX, 100 rows) says 500, on "
        f"{EVERYWHERE}",
    ),
    "a second file of vectors": (
        with_file("tables/c/11/12.rv", SEEN),
        FILES,
        "tables/c/11/12.rv of collection c is a second .rv file: nodes may load it",
    ),
    "a wrong number of rows": (
        replace(SOUND, rows=[replace(RAW, row_count=ROWS)]),
        MYSQL,
        "TableFiles row 1 (RAW, 100 rows) of collection c: 98 live rows are in the files of segment 11 on "
        f"{EVERYWHERE}",
    ),
    "a row of no collection": (
        replace(SOUND, rows=[RAW, replace(RAW, id=7, table_id="gone")]),
        MYSQL,
        "TableFiles row 7 (RAW, 98 rows) belongs to gone, which is not in Tables",
    ),
    "an object that is gone": (
        replace(
            SOUND, objects={n: s for n, s in OBJECTS_THERE.items() if n != VECTORS_OBJECT}, fsck="1 objects are lost"
        ),
        OBJECTS,
        f"{VECTORS_OBJECT} of tables/c/11/11.rv is not there: reading it through an empty cache fails",
    ),
    "an object that is cut off": (
        replace(SOUND, objects={**OBJECTS_THERE, VECTORS_OBJECT: 1}),
        OBJECTS,
        f"{VECTORS_OBJECT} of tables/c/11/11.rv has 1 bytes, JuiceFS' metadata have 3208",
    ),
    "fsck that complains of nothing": (
        replace(SOUND, fsck="1 objects are lost"),
        FSCK,
        "finds damage though every object is listed in the bucket: 1 objects are lost",
    ),
    "fsck where the bucket cannot be listed": (
        replace(SOUND, objects=None, fsck="1 objects are lost"),
        FSCK,
        "finds damage on its own evidence: 1 objects are lost",
    ),
    "fsck that overlooks": (
        replace(SOUND, objects={n: s for n, s in OBJECTS_THERE.items() if n != VECTORS_OBJECT}),
        FSCK,
        "is content, though 1 objects are not in the bucket",
    ),
}


@pytest.mark.parametrize("way", WAYS_TO_LIE)
def test_each_way_to_lie_is_named(way: str) -> None:
    layers, layer, sentence = WAYS_TO_LIE[way]
    assert f"{layer}: {sentence}" in told(compare(layers))


def test_a_mount_that_shows_nothing_is_blamed_for_that_alone() -> None:
    mounts = {name: shown for name, shown in SOUND.mounts.items() if name != "reader-1"}
    layers = replace(SOUND, mounts=mounts, silent={"reader-1": "no answer from it within 60.0 s"})
    assert told(compare(layers)) == ["mount reader-1: shows nothing: no answer from it within 60.0 s"]


def test_a_file_that_only_some_of_a_shared_folder_show() -> None:
    layers = replace(SOUND, metadata=None, objects=None, mounts={**SOUND.mounts, "reader-1": without(VECTORS)})
    assert told(compare(layers)) == [f"mounts: {VECTORS} is on reader-2, writer, not on reader-1"]


def test_of_two_mounts_that_differ_none_is_believed() -> None:
    two = {"writer": ON_MOUNT, "reader-1": {**ON_MOUNT, VECTORS: replace(SEEN, digest="x")}}
    (lie,) = compare(replace(SOUND, mounts=two)).lies
    assert lie.layer == "mounts reader-1, writer"


def test_no_row_is_judged_whose_files_are_not_promised() -> None:
    unpromised = [replace(RAW, file_type=kind, segment_id="99", file_id="99") for kind in (0, 4, 5, 6)]
    assert told(compare(replace(SOUND, rows=unpromised))) == []


def noted(layers: Layers) -> str:
    found = compare(layers)
    assert told(found) == []
    (note,) = found.notes
    return note


def test_what_is_left_over_is_a_note() -> None:
    assert "1 segment folders without a row, 4332 bytes: tables/c/11 (by design" in noted(
        replace(SOUND, rows=[INDEX, BACKUP], segments=frozenset({INDEX.folder}))
    )
    assert "2 objects of no file, 12 bytes (by design" in noted(
        replace(
            SOUND,
            objects={**OBJECTS_THERE, "v/chunks/x": 5, "v/chunks/y": 7, "v/juicefs_uuid": 36, "another/chunks/z": 9},
        )
    )
    assert "rows of unfinished work: 1 NEW, 1 NEW_MERGE (by design" in noted(
        replace(SOUND, rows=[replace(RAW, file_type=0), replace(RAW, id=9, file_type=5)])
    )
    assert "deletes in this segment fail" in noted(with_file("tables/c/11/temp_del", Seen(8, 8, 0, 0, "tmp")))
    assert "is not marked for deletion" in noted(replace(SOUND, tables={"c": Table("c", 1)}, rows=[RAW]))
    assert "a delete during an index build" in noted(replace(SOUND, rows=[replace(INDEX, row_count=ROWS + 3)]))


def test_an_index_with_too_few_rows_is_no_known_mistake() -> None:
    assert compare(replace(SOUND, rows=[replace(INDEX, row_count=ROWS - 3)])).lies


def test_compressed_objects_have_a_size_of_their_own() -> None:
    assert told(compare(replace(SOUND, objects={**OBJECTS_THERE, VECTORS_OBJECT: 1}, plain=False))) == []


def test_a_dump_says_which_objects_a_file_needs() -> None:
    block = 4 << 20

    def regular(length: int, *slices: dict[str, int]) -> dict[str, object]:
        return {"attr": {"type": "regular", "length": length}, "chunks": [{"index": 0, "slices": list(slices)}]}

    def folder(**entries: object) -> dict[str, object]:
        return {"attr": {"type": "directory", "length": 0}, "entries": entries}

    dump = {
        "Setting": {"Name": "milvus", "BlockSize": 4096},
        "FSTree": folder(
            d=folder(f=regular(block + 5, {"id": 2_001_003, "size": block + 5, "len": block + 5})), e=folder()
        ),
        "Trash": folder(hour=folder(gone=regular(7, {"id": 4, "size": 7, "len": 7}, {"size": 3, "len": 3}))),
    }
    assert files(json.dumps(dump)) == {
        "d/f": StoredFile(
            block + 5,
            {
                f"milvus/chunks/2/2001/2001003_0_{block}": block,
                "milvus/chunks/2/2001/2001003_1_5": 5,
            },
        ),
        ".trash/hour/gone": StoredFile(7, {"milvus/chunks/0/0/4_0_7": 7}),
    }
    assert files(json.dumps({"Setting": {"Name": "v", "BlockSize": 1}, "FSTree": folder()})) == {}
