"""What `set_config` does to the node's file."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.standin.config_file import replace
from fixtures.standin.failures import NodeError

pytestmark = pytest.mark.selftest

TEXT = """version: 0.5
# cache: not here
storage:
  path: /a
cache:  # of segments
  # cache_size: neither here
  cache_size: 4GB
  insert_buffer_size: 1GB
network:
  bind.port: 19530
"""


def written(path: Path, key: str, value: str) -> str:
    replace(path, key, value)
    return path.read_text()


def test_one_line_changes_and_the_first_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "server_config.yaml"
    path.write_text(TEXT)
    assert written(path, "cache.cache_size", "2GB") == TEXT.replace("  cache_size: 4GB", "  cache_size: 2GB")
    assert "bind.port: 20000" in written(path, "network.bind.port", "20000")
    assert (tmp_path / "server_config.yaml.ori").read_text() == TEXT


def test_a_key_that_is_not_there_is_not_added(tmp_path: Path) -> None:
    path = tmp_path / "server_config.yaml"
    path.write_text(TEXT)
    assert written(path, "cache.path", "/b") == TEXT, "the one of storage is another"
    assert written(path, "wal.enable", "true") == TEXT


def test_without_the_file_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match="Cannot find configure file: "):
        replace(tmp_path / "absent.yaml", "cache.cache_size", "1GB")
