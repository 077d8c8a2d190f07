"""Whether entries are missing because they were deleted, or because libsystemd passes over what is damaged."""

from __future__ import annotations

from collections.abc import Callable

from tapio_otel.receivers.journald.cursor import Cursor
from tapio_otel.receivers.journald.header import FileHeader, Inventory


class DamagedFile:
    """Remember the file in which entries were last found damaged; `look` takes stock of the journal's files."""

    def __init__(self, look: Callable[[], Inventory]) -> None:
        self._look = look
        self._file: FileHeader | None = None

    def has(self, after: Cursor, missing: int, is_certain: bool) -> bool:
        """Tell whether the entries missing before `after` are in a file that is still there.

        Unless it `is_certain` that some are damaged, they may as well have been in the file of another user.
        """
        first = after.number - missing
        if self._file is not None:
            self._file = FileHeader.read(self._file.path)
        if self._file is None or not self._file.surrounds(after.sequence, first, after.number):
            self._file = self._find(after, first, is_certain)
        return self._file is not None

    def _find(self, after: Cursor, first: int, is_certain: bool) -> FileHeader | None:
        headers = self._look().headers
        found = next((header for header in headers if header.surrounds(after.sequence, first, after.number)), None)
        if found is None or found.line == after.sequence or is_certain:
            return found
        return None if sum(header.line == found.line for header in headers) > 1 else found
