"""The shared library: found, its functions declared, and what it says kept instead of printed.

libbpf prints its reasons to stderr unless it is given a function to print with; that function is process-wide. Ours keeps the
text for the thread that is inside `listening()` and drops it otherwise.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import c_bool, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from functools import cache
from typing import Any, Final

from tapio_otel.receivers.ebpf.feed import ProbeUnavailable

SONAME: Final = "libbpf.so.1"
OLD_SONAME: Final = "libbpf.so.0"
FIRST_LIBBPF_ERROR: Final = 4000  # libbpf's own error numbers begin here (enum libbpf_errno)

_LONGEST_MESSAGE = 16 << 20  # the verifier's log is one message of up to UINT32_MAX >> 8 bytes; its end is what tells
_KEPT_OF_MESSAGE = 8 << 10
_KEPT_LINES = 400
_DEBUG = 2  # enum libbpf_print_level

Print = ctypes.CFUNCTYPE(c_int, c_int, c_void_p, c_void_p)
Sample = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t)

_OBJECT = _PROGRAM = _MAP = _LINK = _RING = _BTF = c_void_p
_BATCH = (c_int, [c_int, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p])
_PROTOTYPES: Final[dict[str, tuple[Any, Sequence[Any]]]] = {
    "libbpf_set_print": (c_void_p, [Print]),
    "libbpf_strerror": (c_int, [c_int, c_char_p, c_size_t]),
    "libbpf_num_possible_cpus": (c_int, []),
    "bpf_object__open_file": (_OBJECT, [c_char_p, c_void_p]),
    "bpf_object__load": (c_int, [_OBJECT]),
    "bpf_object__close": (None, [_OBJECT]),
    "bpf_object__btf": (_BTF, [_OBJECT]),
    "bpf_object__next_program": (_PROGRAM, [_OBJECT, _PROGRAM]),
    "bpf_object__find_map_by_name": (_MAP, [_OBJECT, c_char_p]),
    "bpf_program__name": (c_char_p, [_PROGRAM]),
    "bpf_program__autoload": (c_bool, [_PROGRAM]),
    "bpf_program__set_autoload": (c_int, [_PROGRAM, c_bool]),
    "bpf_program__attach": (_LINK, [_PROGRAM]),
    "bpf_link__destroy": (c_int, [_LINK]),
    "bpf_map__fd": (c_int, [_MAP]),
    "bpf_map__type": (c_int, [_MAP]),
    "bpf_map__key_size": (c_uint32, [_MAP]),
    "bpf_map__value_size": (c_uint32, [_MAP]),
    "bpf_map__max_entries": (c_uint32, [_MAP]),
    "bpf_map__initial_value": (c_void_p, [_MAP, ctypes.POINTER(c_size_t)]),
    "bpf_map_lookup_elem": (c_int, [c_int, c_void_p, c_void_p]),
    "bpf_map_lookup_and_delete_elem": (c_int, [c_int, c_void_p, c_void_p]),
    "bpf_map_update_elem": (c_int, [c_int, c_void_p, c_void_p, c_uint64]),
    "bpf_map_delete_elem": (c_int, [c_int, c_void_p]),
    "bpf_map_get_next_key": (c_int, [c_int, c_void_p, c_void_p]),
    "bpf_map_lookup_batch": _BATCH,
    "bpf_map_lookup_and_delete_batch": _BATCH,
    "ring_buffer__new": (_RING, [c_int, Sample, c_void_p, c_void_p]),
    "ring_buffer__free": (None, [_RING]),
    "ring_buffer__consume": (c_int, [_RING]),
    "ring_buffer__epoll_fd": (c_int, [_RING]),
    "btf__load_vmlinux_btf": (_BTF, []),
    "btf__free": (None, [_BTF]),
    "btf__find_by_name_kind": (c_int32, [_BTF, c_char_p, c_uint32]),
    "btf__type_by_id": (c_void_p, [_BTF, c_uint32]),
    "btf__resolve_type": (c_int, [_BTF, c_uint32]),
    "btf__resolve_size": (c_int64, [_BTF, c_uint32]),
    "btf__name_by_offset": (c_char_p, [_BTF, c_uint32]),
}


class Log:
    """Keep the last lines that libbpf said."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        # Anonymous memory costs only the pages written, so the buffer may be as large as the largest message.
        room = mmap.mmap(-1, _LONGEST_MESSAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._buffer = (ctypes.c_char * _LONGEST_MESSAGE).from_buffer(room)

    def add(self, template: int | None, arguments: int | None) -> None:
        """Append one message, given as for vprintf: the format and the va_list, which all ABIs of Linux pass as one word."""
        length = min(_vsnprintf()(self._buffer, _LONGEST_MESSAGE, template, arguments), _LONGEST_MESSAGE - 1)
        if length > 0:
            start = max(0, length - _KEPT_OF_MESSAGE)
            text = ctypes.string_at(ctypes.addressof(self._buffer) + start, length - start)
            self.lines.extend(text.decode("utf-8", "replace").splitlines())


_thread = threading.local()


def _print(level: int, template: int | None, arguments: int | None) -> int:
    log: Log | None = getattr(_thread, "log", None)
    if log is not None and level < _DEBUG:
        log.add(template, arguments)
    return 0


_PRINT: Final = Print(_print)  # for as long as the process lives, because libbpf keeps its address


@contextmanager
def listening() -> Iterator[Log]:
    """Keep what libbpf says to this thread inside the block."""
    outer = getattr(_thread, "log", None)
    _thread.log = log = Log()
    try:
        yield log
    finally:
        _thread.log = outer


@cache
def _vsnprintf() -> Any:
    function = ctypes.CDLL(None).vsnprintf
    function.restype, function.argtypes = c_int, [c_void_p, c_size_t, c_void_p, c_void_p]
    return function


@cache
def libbpf() -> ctypes.CDLL:
    """Return the library with its functions declared; raises ProbeUnavailable where it is missing or too old."""
    library = _open()
    for name, (result, arguments) in _PROTOTYPES.items():
        function = _function(library, name)
        function.restype, function.argtypes = result, arguments
    library.libbpf_set_print(_PRINT)
    return library


def _open() -> ctypes.CDLL:
    try:
        return ctypes.CDLL(SONAME, use_errno=True)
    except OSError as error:
        cause = f"libbpf cannot be used: {error}"
    if _is_there(OLD_SONAME):
        cause = f"{SONAME} is missing, and {OLD_SONAME}, which is there, reports errors in another way and is not supported"
    raise ProbeUnavailable(cause, "Install libbpf 1.0 or later (apt package libbpf1; dnf and apk package libbpf)")


def _is_there(soname: str) -> bool:
    try:
        ctypes.CDLL(soname)
    except OSError:
        return False
    return True


def _function(library: ctypes.CDLL, name: str) -> Any:
    try:
        return getattr(library, name)
    except AttributeError:
        raise ProbeUnavailable(f"{SONAME} has no function {name!r}", "Install libbpf 1.0 or later") from None


@cache
def possible_cpus() -> int:
    """Return for how many CPUs per-CPU maps have values, which may be more than are there."""
    count: int = libbpf().libbpf_num_possible_cpus()
    if count < 0:
        raise OSError(-count, os.strerror(-count), "/sys/devices/system/cpu/possible")
    return count


def give_memory_back() -> None:
    """Let the C library return what was freed to the kernel: types of a kernel, once read, are 10 MB that it would keep."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's own
    if trim is not None:
        trim(c_size_t(0))


def error_text(number: int) -> str:
    """Return what an error number (positive) of libbpf or the kernel means, in words."""
    if number < FIRST_LIBBPF_ERROR:
        return os.strerror(number)
    buffer = ctypes.create_string_buffer(256)
    libbpf().libbpf_strerror(number, buffer, len(buffer))
    return buffer.value.decode("utf-8", "replace")
