"""An endpoints file: what it gives, and that a mistake in it is one line with the right word."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.errors import UsageError
from fixtures.external import description
from suites.selftest import inner

pytestmark = pytest.mark.selftest

WHOLE = """
name = "staging"

[writer]
endpoint = "writer.staging:19530"
identity = ["kubectl", "get", "pod", "writer-0", "-o", "jsonpath={.metadata.uid}"]
[writer.kill]
inject = [["kubectl", "scale", "statefulset/writer", "--replicas=0"], ["kubectl", "delete", "pod", "writer-0"]]
heal = [["kubectl", "scale", "statefulset/writer", "--replicas=1"]]
timeout_s = 90

[readers.reader-1]
endpoint = "[::1]:19530"
log = ["kubectl", "logs", "reader-1-0"]

[mishards]
endpoint = "10.0.0.3:19531"

[mysql]
endpoint = "mysql:3306"
password_env = "STAGING_PASSWORD"

[topology.milvus]
auto_flush_interval_s = 3
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "staging.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGING_PASSWORD", "secret")
    read, declared = description.load(write(tmp_path, WHOLE))
    assert read.writer.address == ("writer.staging", 19530)
    assert read.readers["reader-1"].address == ("::1", 19530)
    assert read.writer.kill is not None
    assert len(read.writer.kill.inject) == 2
    assert read.writer.kill.timeout_s == 90.0
    assert read.topology.milvus.auto_flush_interval_s == 3
    assert (read.topology.name, read.topology.readers) == ("staging", 1)
    assert declared == {"milvus.auto_flush_interval_s"}
    assert [name for name, _ in read.parts()] == ["writer", "reader-1", "mishards", "mysql"]


@pytest.mark.parametrize(
    ("was", "now", "complaint"),
    [
        ("[mishards]", "[mishard]", "unknown key mishard (did you mean mishards?)"),
        ("identity =", "identiy =", "unknown key writer.identiy (did you mean identity?)"),
        ("heal =", "heel =", "unknown key writer.kill.heel (did you mean heal?)"),
        ("[readers.reader-1]", "[readers.mishards]", "readers.mishards: not a name for a reader; like reader-1"),
        ('"writer.staging:19530"', '"writer.staging"', "writer: endpoint = 'writer.staging': must be HOST:PORT"),
        ('"10.0.0.3:19531"', '"writer.staging:19530"', "mishards and writer have the same endpoint"),
        ("timeout_s = 90", "timeout_s = 9000", "writer: kill.timeout_s = 9000.0: must be up to 600.0"),
        ('inject = [["kubectl", "scale"', 'inject = ["kubectl scale", ["x"', "must be a list, not str"),
        ("inject =", "# inject =", "writer.kill.inject is missing"),
        ('name = "staging"', 'storage = "juicefz"', "storage = 'juicefz': must be one of juicefs, other"),
        ("auto_flush_interval_s = 3", "auto_flush_interval = 3", "topology.milvus.auto_flush_interval (did you mean"),
        ("STAGING_PASSWORD", "OTHER_PASSWORD", "mysql.password_env: the environment has no OTHER_PASSWORD"),
        ('name = "staging"', "name = staging", "not valid TOML"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, was: str, now: str, complaint: str
) -> None:
    monkeypatch.setenv("STAGING_PASSWORD", "secret")
    assert was in WHOLE
    with pytest.raises(UsageError) as error:
        description.load(write(tmp_path, WHOLE.replace(was, now, 1)))
    assert complaint in str(error.value)
    assert str(error.value).startswith(f"endpoints {tmp_path}/staging.toml")
    assert "\n" not in str(error.value)


def test_no_reader_at_all(tmp_path: Path) -> None:
    text = '[writer]\nendpoint = "a:1"\n[mishards]\nendpoint = "b:1"\n[readers]\n'
    with pytest.raises(UsageError, match="0 readers: must be 1 to"):
        description.load(write(tmp_path, text))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--runtime=external"], "where is it? --endpoints=FILE.toml says so"),
        (["--runtime=external", "--endpoints=gone.toml"], "endpoints gone.toml: cannot be read: No such file"),
        (["--runtime=external", "--endpoints=gone.toml", "--readers=3"], "--readers: not with --runtime=external"),
        (["--runtime=external", "--endpoints=gone.toml", "--defect=lost-delete"], "--defect: not with"),
        (["--runtime=embedded", "--allow-faults"], "--allow-faults: is for --runtime=external"),
    ],
)
def test_options_that_do_not_fit(pytester: pytest.Pytester, options: list[str], complaint: str) -> None:
    inner.write(pytester, "import pytest\n@pytest.mark.selftest\ndef test_it() -> None:\n    pass\n")
    result = pytester.runpytest_inprocess(*options)
    assert result.ret == 4
    assert complaint in result.stderr.str()
