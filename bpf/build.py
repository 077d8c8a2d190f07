"""Build the BPF programs: each `<probe>.bpf.c` here becomes one object, without debug information but with its types (BTF).

    python bpf/build.py [OUTPUT_DIRECTORY] [--force]

The objects run on any kernel with BTF, whatever machine they were built on (of the same byte order). Needs clang and libbpf's
headers; nothing is taken from the running kernel. Objects that are newer than all sources are left alone.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
OUTPUT = SOURCES.parent / "tapio_otel/receivers/ebpf/objects"
REMEDY = "apt-get install clang llvm libbpf-dev"
FLAGS = ("-target", "bpf", "-g", "-O2", "-Wall", "-Werror", "-c")
_SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])  # bpftool is in /usr/sbin on Debian
_MISSING_HEADER = re.compile(r"'(bpf/\w+\.h)' file not found")


class BuildError(Exception):
    """Report why an object cannot be built, and what to do."""


def programs(sources: Path = SOURCES) -> list[Path]:
    """Return the sources of the objects, by name."""
    return sorted(sources.glob("*.bpf.c"))


def object_of(source: Path, output: Path) -> Path:
    """Return where the object of a source goes."""
    return output / source.with_suffix(".o").name


def is_current(target: Path, sources: Iterable[Path]) -> bool:
    """Tell whether a file is there and newer than all that it is made of."""
    return target.exists() and target.stat().st_mtime >= max(source.stat().st_mtime for source in sources)


def ingredients(source: Path) -> list[Path]:
    """Return what an object is made of: its source, all headers, and this file."""
    return [source, *source.parent.glob("*.h"), Path(__file__)]


def find_clang() -> str:
    """Return the compiler: `$CLANG`, else `clang` or the newest `clang-N`; raises BuildError where it is missing."""
    named = os.environ.get("CLANG")
    if named and (chosen := shutil.which(named, path=_SEARCH)) is None:
        raise BuildError(f"CLANG names {named!r}, which is no program that can be run: correct or unset it")
    found = chosen if named else shutil.which("clang", path=_SEARCH) or _newest("clang")
    if found is None:
        raise BuildError(f"clang is missing, which compiles the BPF programs: {REMEDY}")
    return found


def strip_command(target: Path, source: Path) -> list[str] | None:
    """Return the command that makes `target` of `source` without debug information, keeping BTF; None where there is none."""
    if bpftool := shutil.which("bpftool", path=_SEARCH):
        return [bpftool, "gen", "object", str(target), str(source)]
    strip = shutil.which("llvm-strip", path=_SEARCH) or _newest("llvm-strip")
    return [strip, "-g", str(source), "-o", str(target)] if strip else None


def compile_command(clang: str, source: Path, target: Path) -> list[str]:
    """Return the command that compiles one program."""
    return [clang, *FLAGS, str(source), "-o", str(target)]


def build_one(source: Path, output: Path) -> Path:
    """Build one object; it appears whole or not at all. Raises BuildError with the compiler's words."""
    target = object_of(source, output)
    clang = find_clang()
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=output) as directory:
        # bpftool derives a name from the file's own, so both keep it
        compiled, stripped = Path(directory) / "compiled" / target.name, Path(directory) / target.name
        compiled.parent.mkdir()
        _run(compile_command(clang, source, compiled))
        command = strip_command(stripped, compiled)
        if command is None or not _succeeds(command):
            stripped = compiled  # larger, and just as good
        stripped.chmod(0o644)
        stripped.replace(target)
    return target


def build(output: Path = OUTPUT, sources: Path = SOURCES, force: bool = False) -> list[Path]:
    """Build what is not current and return what was built."""
    wanted = [source for source in programs(sources) if force or not is_current(object_of(source, output), ingredients(source))]
    return [build_one(source, output) for source in wanted]


def _newest(name: str) -> str | None:
    """Return the program `name-N` with the greatest N."""
    directories = [Path(directory) for directory in _SEARCH.split(os.pathsep) if directory]
    found = [path for directory in directories for path in directory.glob(f"{name}-*") if path.name[len(name) + 1 :].isdigit()]
    return str(max(found, key=lambda path: int(path.name.rpartition("-")[2]))) if found else None


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode == 0:
        return
    if missing := _MISSING_HEADER.search(done.stderr):
        raise BuildError(f"libbpf's header {missing[1]} is missing: {REMEDY}")
    raise BuildError(f"{' '.join(command)} failed:\n{done.stderr.strip()}")


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603 - our own command


def main() -> int:
    """Build from the command line; the exit status tells whether all objects are there."""
    parser = argparse.ArgumentParser(description="Build the BPF programs.")
    parser.add_argument("output", type=Path, nargs="?", default=OUTPUT, help="the objects' directory (default: in the package)")
    parser.add_argument("--force", action="store_true", help="build also what is current")
    options = parser.parse_args()
    try:
        built = build(options.output, force=options.force)
    except BuildError as error:
        print(f"bpf: {error}", file=sys.stderr)  # noqa: T201 - a command line
        return 1
    print(f"bpf: built {', '.join(path.name for path in built) or 'nothing, all is current'}")  # noqa: T201 - a command line
    return 0


if __name__ == "__main__":
    sys.exit(main())
