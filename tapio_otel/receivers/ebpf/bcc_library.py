"""BCC: found, loaded and made to say in one line what it lacks. It is optional, and not on PyPI: distributions package it.

BCC's Python part is pure Python, so the one of the system's Python serves any other. It compiles C at run time, and prints what
went wrong to the process's standard output and error, from where it is taken.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import importlib
import importlib.util
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, Final

from tapio_otel.receivers.ebpf.feed import ProbeUnavailable

DIST_PACKAGES: Final = Path("/usr/lib/python3/dist-packages")
"""Where Debian and Ubuntu keep the modules of the system's Python."""
KERNEL_HEADERS: Final = Path("/sys/kernel/kheaders.tar.xz")
"""Where a kernel with CONFIG_IKHEADERS has its own headers."""
OWN_NAME: Final = "_tapio_otel_bcc"
"""The name by which BCC is loaded from there; `bcc` on PyPI is another package."""

_INSTALL: Final = "Install BCC with its Python module (apt: python3-bpfcc and linux-headers-{release})"
_REPAIR: Final = "Reinstall BCC with its library (apt: python3-bpfcc brings libbpfcc along)"
_RIGHTS: Final = "Run the agent as root: tracefs is for root, whatever capabilities others have"
_LONGEST: Final = 300


def load_bcc() -> ModuleType:
    """Return BCC's module, from this Python or from the system's; raises ProbeUnavailable."""
    if OWN_NAME in sys.modules:
        return sys.modules[OWN_NAME]
    check_installed()
    return _loaded((lambda: importlib.import_module("bcc")) if _is_in_this_python() else _load_from_system)


def check_installed() -> None:
    """Raise ProbeUnavailable where there is no BCC; loads nothing of it."""
    if not _is_in_this_python() and not (DIST_PACKAGES / "bcc" / "__init__.py").exists():
        remedy = _INSTALL.format(release=os.uname().release)
        raise ProbeUnavailable(f"BCC is not installed: neither this Python nor {DIST_PACKAGES} has it", remedy)


def _is_in_this_python() -> bool:
    spec = importlib.util.find_spec("bcc")
    return spec is not None and spec.origin is not None and (Path(spec.origin).parent / "libbcc.py").exists()


def _loaded(load: Any) -> ModuleType:
    try:
        module = load()
    except Exception as error:
        raise ProbeUnavailable(f"BCC cannot be loaded: {error}", _REPAIR) from error
    assert isinstance(module, ModuleType)
    return module


def _load_from_system() -> ModuleType:
    """Load one package of the system's Python without making all of them visible."""
    package = DIST_PACKAGES / "bcc"
    spec = importlib.util.spec_from_file_location(OWN_NAME, package / "__init__.py", submodule_search_locations=[str(package)])
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[OWN_NAME] = module
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # of code older than this Python
            spec.loader.exec_module(module)
    except BaseException:
        for name in [name for name in sys.modules if name.partition(".")[0] == OWN_NAME]:
            del sys.modules[name]
        raise
    return module


def check_headers() -> None:
    """Raise ProbeUnavailable where BCC would find no kernel headers; it looks in the same places."""
    modules = Path("/lib/modules") / os.uname().release
    told = os.environ.get("BCC_KERNEL_SOURCE")
    places = [Path(told)] if told else [modules / "source", modules / "build"]
    if any((place / "include" / "linux").is_dir() for place in places) or KERNEL_HEADERS.exists():
        return
    where = f"the directory that BCC_KERNEL_SOURCE names ({told!r})" if told else str(modules / "build")
    package = f"linux-headers-{os.uname().release}"
    raise ProbeUnavailable(
        f"BCC needs the kernel's headers, and {where} has none",
        f"Install the package {package} (kernel-devel on Fedora), or use a kernel with BTF, which needs none",
    )


def compile_program(bcc: ModuleType, text: str) -> Any:
    """Return BCC's object for a program, loaded and attached; raises ProbeUnavailable with what BCC said."""
    bpf = bcc.BPF.__new__(bcc.BPF)
    with diverted_output() as said:
        try:
            bpf.__init__(text=text.encode())
        except Exception as error:
            release(bpf)
            _flush()
            raise _refusal(error, _read_all(said)) from error
    _give_back_memory()
    return bpf


def release(bpf: Any) -> None:
    """Detach and close everything that a BCC object holds, and make BCC forget it; safe to call twice."""
    atexit.unregister(bpf.cleanup)
    atexit.unregister(bpf.donothing)
    bpf.cleanup()


def _refusal(error: Exception, said: str) -> ProbeUnavailable:
    lines = [line.strip() for line in said.splitlines()]
    telling = next((line for line in lines if "error" in line.lower() or "not permitted" in line.lower()), "")
    cause = f"BCC cannot load its program: {error}{f': {telling}' if telling else ''}"
    refused = any(word in cause for word in ("not permitted", "super-user", "Permission denied"))
    return ProbeUnavailable(cause[:_LONGEST], _RIGHTS if refused else "")


@contextlib.contextmanager
def diverted_output() -> Iterator[BinaryIO]:
    """Take what the process writes to standard output and error meanwhile, as C code does, into a file."""
    _flush()
    kept = [(number, os.dup(number)) for number in (1, 2)]
    try:
        with tempfile.TemporaryFile() as file:
            for number, _ in kept:
                os.dup2(file.fileno(), number)
            try:
                yield file
            finally:
                _flush()
                for number, copy in kept:
                    os.dup2(copy, number)
    finally:
        for _, copy in kept:
            os.close(copy)


def _flush() -> None:
    """Write out what Python's and C's streams still hold."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    ctypes.CDLL(None).fflush(None)


def _read_all(file: BinaryIO) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def _give_back_memory() -> None:
    """Return to the system what the compiler used, as far as the C library can."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
