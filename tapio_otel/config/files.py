"""Reading configuration text from files: bounded, and with an answer to everything that can be wrong with a file."""

from __future__ import annotations

import codecs
import os
from pathlib import Path as FilePath
from typing import Final

from tapio_otel.config.compose import MAX_BYTES

_FOREIGN_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


class Unreadable(Exception):
    """Say why a file gives no text; `line` is where, when that is known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def read_text(path: FilePath) -> str:
    """Return a file's text; raises `Unreadable`."""
    return decode(_read(path))


def _read(path: FilePath) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise Unreadable("there is no such file; check the path") from None
    except IsADirectoryError:
        raise Unreadable("this is a directory; name a file in it") from None
    except PermissionError:
        raise Unreadable(f"permission denied for user id {os.geteuid()}; make the file readable for it") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Unreadable(f"it cannot be read: {reason}") from None
    if len(content) > MAX_BYTES:
        raise Unreadable(f"it is larger than {MAX_BYTES // 1024 // 1024} MiB; make it smaller")
    return content


def decode(content: bytes) -> str:
    """Return UTF-8 text, a byte order mark left out; raises `Unreadable` naming the encoding or the first bad byte."""
    foreign = next((name for mark, name in _FOREIGN_MARKS if content.startswith(mark)), None)
    if foreign is None and b"\0" in content[:4]:
        foreign = "UTF-16 or UTF-32"
    if foreign is not None:
        raise Unreadable(f"it is encoded as {foreign}; save it as UTF-8", 1)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # `start` counts without the byte order mark when there was one.
        text = content.removeprefix(codecs.BOM_UTF8)
        line = text.count(b"\n", 0, error.start) + 1
        raise Unreadable(
            f"found the byte 0x{text[error.start]:02X}, which is not UTF-8; save the file as UTF-8", line
        ) from None
