"""Tests of how the BPF programs are built: what is asked of the machine, and what is said when it is missing."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tapio_otel.receivers.ebpf.feed import ProbeName
from tests.requirements import require

BUILD = Path(__file__).parents[2] / "bpf/build.py"
PROGRAM = '#include <bpf/{header}>\nchar LICENSE[] __attribute__((section("license"))) = "Dual BSD/GPL";\n'
TYPES = (
    "typedef unsigned int __u32;\ntypedef unsigned long long __u64;\ntypedef long long __s64;\ntypedef unsigned short __u16;\n"
)


@pytest.fixture
def build() -> Iterator[ModuleType]:
    """Give a test bpf/build.py, on a machine that can build."""
    require("bpf", BUILD.exists(), "the sources of the BPF programs are not here")
    spec = importlib.util.spec_from_file_location("tapio_bpf_build", BUILD)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    clang = shutil.which("clang") or module._newest("clang")
    require("bpf", clang is not None, "clang is missing")
    yield module


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Give a test a directory with a program that needs nothing."""
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "small.bpf.c").write_text(TYPES + 'char LICENSE[] __attribute__((section("license"), used)) = "Dual BSD/GPL";\n')
    return sources


def test_there_is_a_program_for_each_probe(build: ModuleType) -> None:
    """The receiver finds objects by the probe's name."""
    assert {path.name for path in build.programs()} == {f"{name}.bpf.c" for name in ProbeName}


def test_the_command_builds_all_objects_and_nothing_else(build: ModuleType, tmp_path: Path) -> None:
    """Nothing but whole objects appears; they hold types, and no debug information."""
    done = subprocess.run([sys.executable, str(BUILD), str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.bpf.o" for name in ProbeName}
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        assert b".BTF" in content
        assert b".debug_info" not in content
        assert len(content) < 64 << 10


def test_what_is_current_is_left_alone(build: ModuleType, program: Path, tmp_path: Path) -> None:
    """An object is built again when its source or any header is newer, or when told to."""
    output = tmp_path / "objects"
    header = program / "shared.h"
    header.write_text("")
    assert [path.name for path in build.build(output, program)] == ["small.bpf.o"]
    assert build.build(output, program) == []
    later = (output / "small.bpf.o").stat().st_mtime + 10
    os.utime(header, (later, later))
    assert len(build.build(output, program)) == 1
    assert len(build.build(output, program, force=True)) == 1


def test_a_missing_compiler_is_told_with_the_command_that_installs_it(
    build: ModuleType, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever builds from source need not search for package names."""
    monkeypatch.setattr(build, "_SEARCH", str(tmp_path))
    with pytest.raises(build.BuildError, match=r"clang is missing.*: apt-get install clang llvm libbpf-dev$"):
        build.build(tmp_path / "objects", program)


def test_a_compiler_that_is_named_and_missing_is_an_error(
    build: ModuleType, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else is taken in its place."""
    monkeypatch.setenv("CLANG", "/no/such/clang")
    with pytest.raises(build.BuildError, match="CLANG names '/no/such/clang', which is no program"):
        build.build(tmp_path / "objects", program)


def test_missing_headers_are_told_with_the_command_that_installs_them(build: ModuleType, program: Path, tmp_path: Path) -> None:
    """clang alone is not enough."""
    (program / "small.bpf.c").write_text(PROGRAM.format(header="bpf_missing.h"))
    with pytest.raises(build.BuildError, match=r"libbpf's header bpf/bpf_missing.h is missing: apt-get install clang"):
        build.build(tmp_path / "objects", program)


def test_a_failed_build_leaves_the_old_object(build: ModuleType, program: Path, tmp_path: Path) -> None:
    """An object is replaced by a whole one or not at all; the compiler's words are told."""
    output = tmp_path / "objects"
    [target] = build.build(output, program)
    before = target.read_bytes()
    (program / "small.bpf.c").write_text("this is no C;\n")
    with pytest.raises(build.BuildError, match="unknown type name 'this'"):
        build.build(output, program, force=True)
    assert target.read_bytes() == before
    assert list(output.iterdir()) == [target]


def test_an_object_that_cannot_be_stripped_is_shipped_larger(
    build: ModuleType, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither bpftool nor llvm-strip is needed."""
    monkeypatch.setattr(build, "strip_command", lambda target, source: None)
    [target] = build.build(tmp_path / "objects", program)
    assert target.stat().st_mode & 0o777 == 0o644
    assert b".debug_info" in target.read_bytes()
