"""The stand-in's config file: Milvus' defaults, its checks, and one message for each bad value."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.standin.config import ConfigError, NodeConfig, load
from fixtures.standin.config_checks import DEFAULTS, check_all, parse_bytes

pytestmark = pytest.mark.selftest

ARTICLE = """
version: 0.5
cluster:
  enable: true
  role: ro
general:
  timezone: UTC+8
  meta_uri: mysql://milvus:p4ssw0rd@127.0.0.1:3307/milvus
network:
  bind.address: 127.0.0.2
  bind.port: 19531
  http.enable: false
  http.port: 19122
storage:
  path: /tmp/run-1/ro-1/milvus
  auto_flush_interval: 2
  file_cleanup_timeout: 30
wal:
  enable: false
  recovery_error_ignore: off
  buffer_size: 64MB
  path: /tmp/run-1/ro-1/wal
cache:
  cache_size: 256MB
  insert_buffer_size: 64MB
  preload_collection: a,b
gpu:
  enable: false
  search_devices:
    - gpu0
    - gpu1
logs:
  level: info
  trace.enable: true
  path: /tmp/run-1/ro-1/logs
  max_log_file_size: 1024MB
  log_rotate_num: 0
"""


def parsed(tmp_path: Path, text: str) -> NodeConfig:
    path = tmp_path / "server_config.yaml"
    path.write_text(text)
    return load(path)


def changed(tmp_path: Path, key: str, value: str) -> NodeConfig:
    """A minimal file with one key, the value given as quoted YAML text."""
    section, _, name = key.partition(".")
    small = {"cache": "  cache_size: 64MB\n  insert_buffer_size: 64MB\n"}
    others = "".join(f"{each}:\n{lines}" for each, lines in small.items() if each != section)
    kept = "".join(line + "\n" for line in small.get(section, "").splitlines() if f" {name}:" not in line)
    return parsed(tmp_path, f"version: 0.5\n{others}{section}:\n{kept}  {name}: '{value}'\n")


def test_every_key_that_is_given_is_taken(tmp_path: Path) -> None:
    config = parsed(tmp_path, ARTICLE)
    assert (config.cluster.enable, config.cluster.role, config.cluster.writes) == (True, "ro", False)
    meta = config.general.meta
    assert (meta.dialect, meta.user, meta.password, meta.host, meta.port, meta.database) == (
        "mysql",
        "milvus",
        "p4ssw0rd",
        "127.0.0.1",
        3307,
        "milvus",
    )
    assert (config.network.address, config.network.port) == ("127.0.0.2", 19531)
    assert (config.network.http_enable, config.network.http_port) == (False, 19122)
    assert config.storage.path == Path("/tmp/run-1/ro-1/milvus")
    assert (config.storage.auto_flush_interval_s, config.storage.file_cleanup_timeout_s) == (2.0, 30.0)
    assert (config.wal.enable, config.wal.recovery_error_ignore, config.wal.buffer_bytes) == (False, False, 64 << 20)
    assert config.wal.path == Path("/tmp/run-1/ro-1/wal")
    assert (config.cache.size_bytes, config.cache.insert_buffer_bytes) == (256 << 20, 64 << 20)
    assert config.cache.preload == ["a", "b"]
    assert (config.logs.level, config.logs.path) == ("info", Path("/tmp/run-1/ro-1/logs"))
    assert config.raw["cache.cache_size"] == "256MB"
    assert config.raw["gpu.search_devices"] == "gpu0,gpu1"


def test_absent_keys_take_the_defaults_of_the_code_not_of_the_template(tmp_path: Path) -> None:
    config = parsed(tmp_path, "version: 0.5\ncache:\n  cache_size: 64MB\n  insert_buffer_size: 64MB\n")
    assert (config.cluster.enable, config.cluster.role, config.cluster.writes) == (True, "rw", True)
    assert (config.wal.enable, config.wal.recovery_error_ignore, config.wal.buffer_bytes) == (True, True, 256 << 20)
    assert (config.storage.path, config.wal.path) == (Path("/tmp/milvus"), Path("/tmp/milvus/wal"))
    assert (config.network.address, config.network.port, config.network.http_port) == ("127.0.0.1", 19530, 19121)
    assert (config.storage.auto_flush_interval_s, config.storage.file_cleanup_timeout_s) == (1.0, 10.0)
    assert (config.cache.cpu_threshold, config.cache.cache_insert_data, config.cache.preload) == (0.7, False, [])
    assert config.general.meta.dialect == "sqlite"
    assert config.max_partitions == 4096
    assert config.raw["engine_config.use_blas_threshold"] == "1100"


def test_a_disabled_cluster_writes_whatever_its_role(tmp_path: Path) -> None:
    config = parsed(tmp_path, ARTICLE.replace("enable: true\n  role", "enable: false\n  role"))
    assert (config.cluster.role, config.cluster.writes) == ("ro", True)


def test_a_null_is_an_absent_key_and_an_empty_text_is_not(tmp_path: Path) -> None:
    null = parsed(tmp_path, ARTICLE.replace("  enable: true\n  role: ro", "  enable:\n  role: ~"))
    assert (null.cluster.enable, null.cluster.role) == (True, "rw")
    empty = parsed(tmp_path, ARTICLE.replace("enable: true\n  role", "enable: ''\n  role"))
    assert empty.cluster.enable is False


def test_unknown_keys_are_ignored_but_told(tmp_path: Path) -> None:
    config = parsed(tmp_path, ARTICLE + "nonsense:\n  deep:\n    key: 3\n")
    assert config.raw["nonsense.deep.key"] == "3"


@pytest.mark.parametrize(("text", "size"), [("1MB", 64 << 20), ("100m", 100 << 20), ("9GB", 4 << 30), ("0", 64 << 20)])
def test_the_wal_buffer_is_forced_into_its_range(tmp_path: Path, text: str, size: int) -> None:
    assert changed(tmp_path, "wal.buffer_size", text).wal.buffer_bytes == size


@pytest.mark.parametrize(
    ("text", "size"),
    [("7", 7), ("", 0), ("7b", 7), ("2k", 2048), ("2KB", 2048), ("3m", 3 << 20), ("1gB", 1 << 30), ("1.5g", 1 << 30)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["7t", "7x", "4 %"])
def test_sizes_need_a_known_unit(text: str) -> None:
    with pytest.raises(ConfigError, match=r"should specify the units\.The postfix"):
        parse_bytes(text)


@pytest.mark.parametrize("text", ["g", "xm", "99999999999999999999"])
def test_sizes_need_digits(text: str) -> None:
    with pytest.raises(ConfigError, match="Unknown error happened on parse bytes"):
        parse_bytes(text)


URI_TEXT = (
    "Invalid meta uri: {}. Possible reason: general.meta_uri is invalid. The correct format should be like "
    "sqlite://:@:/ or mysql://root:123456@127.0.0.1:3306/milvus."
)
PORT_TEXT = "Invalid server port: {}. Possible reason: network.bind.port is not in range (1024, 65535)."
CLEANUP_TEXT = "Invalid file_cleanup_timeout: {}. Possible reason: storage.file_cleanup_timeout is not in range [0, 0]."
FLUSH_TEXT = (
    "Invalid storage configuration auto_flush_interval: {}. "
    "Possible reason: storage.auto_flush_interval is not a natural number."
)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("cluster.enable", "maybe", "Invalid boolean: maybe"),
        ("cluster.role", "writer", "cluster.role is not one of rw and ro."),
        ("cluster.role", "RW", "cluster.role is not one of rw and ro."),
        ("general.timezone", "CET", "Invalid general.timezone: CET"),
        ("general.timezone", "UTC+", "Invalid general.timezone: UTC+"),
        ("general.meta_uri", "mysql:/root@host/db", URI_TEXT.format("mysql:/root@host/db")),
        ("general.meta_uri", "postgres://a:b@c:1/d", URI_TEXT.format("postgres://a:b@c:1/d")),
        ("general.meta_uri", "mysql://a:b@c:x/d", URI_TEXT.format("mysql://a:b@c:x/d")),
        (
            "network.bind.address",
            "localhost",
            "Invalid server IP address: localhost. Possible reason: network.bind.address is invalid.",
        ),
        ("network.bind.port", "x", "Invalid server port: x. Possible reason: network.bind.port is not a number."),
        ("network.bind.port", "-1", "Invalid server port: -1. Possible reason: network.bind.port is not a number."),
        ("network.bind.port", "1024", PORT_TEXT.format(1024)),
        ("network.bind.port", "65535", PORT_TEXT.format(65535)),
        ("network.bind.port", "9999999999", "Invalid network.bind.port: 9999999999"),
        (
            "network.http.port",
            "80",
            "Invalid web server port: 80. Possible reason: network.http.port is not in range (1024, 65535).",
        ),
        ("storage.path", "", "storage.path is empty."),
        ("storage.path", "relative/path", "Invalid file path"),
        ("storage.path", "/a//b", "Invalid file path"),
        ("storage.path", "/a--b", "Invalid file path"),
        ("storage.path", "/-a", "Invalid file path"),
        ("storage.path", "/a.b", "Invalid file path"),
        ("storage.auto_flush_interval", "0.5", FLUSH_TEXT.format("0.5")),
        ("storage.file_cleanup_timeout", "3601", CLEANUP_TEXT.format(3601)),
        (
            "cache.cache_size",
            "0",
            "Invalid cpu cache capacity: 0. Possible reason: cache.cache_size is not a positive integer.",
        ),
        (
            "cache.insert_buffer_size",
            "0",
            "Invalid insert buffer size: 0. Possible reason: cache.insert_buffer_size is not a positive integer.",
        ),
        (
            "cache.cpu_cache_threshold",
            "1",
            "Invalid cpu cache threshold: 1. "
            "Possible reason: cache_config.cpu_cache_threshold is not in range (0.0, 1.0].",
        ),
        ("cache.preload_collection", "a,1b", "Invalid collection name: 1b"),
        (
            "cache.preload_collection",
            "a,a",
            "Invalid preload tables. Possible reason: cache.preload_collection contains duplicate collection.",
        ),
        ("wal.enable", "2", "Invalid wal config: 2. Possible reason: wal.enable is not a boolean."),
        (
            "wal.buffer_size",
            "-5m",
            "Invalid wal buffer size: -5m. Possible reason: wal.buffer_size is not a positive integer.",
        ),
        ("wal.path", "", "wal.path is empty!"),
        ("logs.level", "loud", "Log level must be one of debug, info, warning, error and fatal."),
        (
            "logs.max_log_file_size",
            "1MB",
            "Invalid max_log_file_size: 1MB. "
            "Possible reason: logs.max_log_file_size is not in range [536870912, 4294967296].",
        ),
        (
            "logs.log_rotate_num",
            "1025",
            "Invalid log_rotate_num: 1025. Possible reason: logs.log_rotate_num is not in range [0, 1024].",
        ),
        (
            "engine_config.simd_type",
            "mmx",
            "engine_config.simd_type is not one of avx512, avx2, sse and auto.",
        ),
    ],
)
def test_a_bad_value_is_refused_with_milvus_own_words(tmp_path: Path, key: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        changed(tmp_path, key, value)
    assert str(refused.value) == message


@pytest.mark.parametrize("word", ["TRUE", "On", "yes", "1", "FALSE", "off", "No", "0"])
def test_booleans_have_many_words(tmp_path: Path, word: str) -> None:
    assert changed(tmp_path, "wal.enable", word).wal.enable == (word.lower() in ("true", "on", "yes", "1"))


def test_a_cache_beyond_the_memory_is_refused(tmp_path: Path) -> None:
    total = psutil.virtual_memory().total
    with pytest.raises(ConfigError, match=r"cache\.cache_size exceeds system memory"):
        changed(tmp_path, "cache.cache_size", str(total))
    with pytest.raises(ConfigError, match=r"sum of cache\.cache_size and cache\.insert_buffer_size"):
        changed(tmp_path, "cache.cache_size", str(total - (32 << 20)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cluster:\n  role: rw\n", "Invalid config version: . Expected config version: 0.5"),
        ("version: 0.4\n", "Invalid config version: 0.4. Expected config version: 0.5"),
        ("- a\n- b\n", "has no sections"),
        ("", "has no sections"),
        ("a: [1\n", "cannot be read"),
    ],
)
def test_a_file_that_is_no_config_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parsed(tmp_path, text)
    assert message in str(refused.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Config file not exist: .*nothing"):
        load(tmp_path / "nothing.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


def test_a_password_with_separators_is_taken_apart_greedily_as_by_milvus(tmp_path: Path) -> None:
    meta = changed(tmp_path, "general.meta_uri", "mysql://u:p:q@r@h:1/d").general.meta
    assert (meta.user, meta.password, meta.host, meta.port) == ("u:p", "q@r", "h", 1)


@given(st.text("ab-/_.", max_size=40))
@settings(max_examples=200, deadline=5000)
def test_long_paths_are_checked_without_delay(tail: str) -> None:
    """Milvus' own expression backtracks for ever on such a path in Python."""
    path = "/" + "a" * 200 + tail
    good = not any(bad in path for bad in ("--", "//", "/-", "."))
    values = {**DEFAULTS, "cache.cache_size": "1m", "cache.insert_buffer_size": "1m", "storage.path": path}
    with nullcontext() if good else pytest.raises(ConfigError, match="Invalid file path"):
        check_all(values)
