"""Reading the journal through libsystemd: open, find the place, take entries, wait for more. All calls block, but shortly."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Any, Final

from tapio_otel.component import ComponentError
from tapio_otel.receivers.journald.availability import expand, sees_all, selected_files
from tapio_otel.receivers.journald.config import JournaldConfig
from tapio_otel.receivers.journald.cursor import BadCheckpoint, Checkpoint, Cursor
from tapio_otel.receivers.journald.entry import Entry
from tapio_otel.receivers.journald.gaps import Gap, GapWitness, place
from tapio_otel.receivers.journald.header import Inventory
from tapio_otel.receivers.journald.matches import apply, conditions, is_filtered
from tapio_otel.receivers.journald.process import boot_id

TIME_SLICE: Final = 0.005
"""Seconds after which `read` returns with what it has, so that the event loop is not held up."""
_FIELD_OVERHEAD: Final = 66  # a field's name has up to 64 bytes; then the equals sign, and one byte that tells of more


@dataclass(slots=True)
class Chunk:
    """Hold entries read at once; `gaps` says before which of them others were lost."""

    entries: list[Entry]
    gaps: list[tuple[int, Gap]] = field(default_factory=list)
    unreadable: int = 0
    """How many entries were passed over because their file is damaged there."""


class JournalReader:
    """Read one journal, in order, from a checkpoint on. `close` it."""

    def __init__(self, config: JournaldConfig) -> None:
        self._config = config
        self._journal: Any = None
        self._witness: GapWitness | None = None
        self._watches = False
        self._gaps: list[tuple[int, Gap]] = []
        self._stuck_at: str | None = None
        self.position: str | None = None
        """The cursor of the last entry read."""
        self.machine = ""
        self.at_end = False
        """Whether the last `read` came to the end of what there is."""
        self._unreadable = 0
        self.estimate: int | None = None
        """How many entries there were to read when it was opened, if that can be told cheaply."""

    def open(self, saved: Any | None = None) -> str | None:
        """Open the journal and go to where the saved checkpoint says, or `start_at`.

        Returns why the checkpoint was of no use, if it was not. Raises `ComponentError`.
        """
        files = selected_files(self._config)
        inventory = Inventory(files)
        problem, checkpoint = self._load(saved, inventory)
        self._open_journal()
        self._witness = GapWitness(inventory, sees_all(self._config, files), checkpoint)
        self._watches = not is_filtered(self._config)
        if checkpoint is not None:
            self._resume(checkpoint)
        elif self._config.start_at == "end" and self._config.follow:
            self._go_to_end()
        else:
            self._filter()
            self._journal.seek_head()
        if self._watches:
            self.estimate = inventory.after(Cursor.parse(self.position) if self.position else None)
        return problem

    def close(self) -> None:
        """Let go of the journal's files; safe to call twice."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def checkpoint(self) -> dict[str, Any] | None:
        """Return the checkpoint for what was read so far, or None when nothing was."""
        if self.position is None or self._witness is None:
            return None
        return Checkpoint(self.position, self.machine, self._witness.numbers, self._witness.horizon).dump()

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when the journal changes."""
        return int(self._journal.fileno())

    def timeout(self) -> float | None:
        """Return after how many seconds to look again at the latest, where the file system announces nothing; else None."""
        milliseconds = self._journal.get_timeout_ms()
        return None if milliseconds < 0 else milliseconds / 1000

    def process(self) -> None:
        """Take note of files that came and went; resets the descriptor."""
        self._journal.process()

    def read(self, limit: int) -> Chunk:
        """Return up to `limit` entries that come next, fewer when there are no more or the time slice is over."""
        self._journal.process()  # a file that was deleted has to go first: its blocks may be gone too
        while True:
            entries = self._take(limit)
            if entries and self._watches:
                entries = self._check(entries)
            if not entries and not self.at_end:  # it had to be opened anew, or entries came in late and are next
                continue
            if entries:
                self._note(entries[-1])
            chunk = Chunk(entries, self._gaps, self._unreadable)
            self._gaps, self._unreadable = [], 0
            return chunk

    def _take(self, limit: int) -> list[Entry]:
        entries: list[Entry] = []
        append, journal = entries.append, self._journal
        step, fields, cursor, clock = journal._next, journal._get_all, journal._get_cursor, time.perf_counter
        until = clock() + TIME_SLICE
        self.at_end = False
        try:
            while len(entries) < limit and clock() < until:
                for _ in range(min(16, limit - len(entries))):
                    if not step():
                        self.at_end = True
                        return entries
                    try:
                        found = fields()
                        append((found, cursor()))
                    except OSError:
                        self._unreadable += 1
        except OSError as error:
            if not entries:
                self._reopen(error)
        return entries

    def _reopen(self, error: OSError) -> None:
        """Start over where reading stopped, as after files were deleted under it; gives up when that does not help."""
        if self._stuck_at == (self.position or ""):
            raise ComponentError(f"the journal cannot be read on: {error.strerror or error}. It is opened anew") from error
        self._stuck_at = self.position or ""
        self.close()
        self._open_journal()
        self._filter()
        if self.position is None:
            self._journal.seek_head()
        else:
            self._stand_on(self.position)

    def _note(self, entry: Entry) -> None:
        fields, self.position = entry
        machine = fields.get("_MACHINE_ID")
        if isinstance(machine, bytes):
            self.machine = machine.decode("ascii", "replace")
        if not self._watches and self._witness is not None:
            self._witness.note(*place(self.position))

    def _check(self, entries: list[Entry]) -> list[Entry]:
        """Look for numbers left out; entries of another file may only have come in late, so look again before saying so."""
        witness = self._witness
        index = witness.find(entries) if witness else None
        while index is not None and witness is not None:
            before = entries[index - 1][1] if index else self.position
            if before is not None and self._came_late(before, entries[index][1]):
                self.at_end = False
                return entries[:index]
            after = Cursor.parse(entries[index][1])
            self._gaps.append((index, Gap(before or "", after, after.number - witness.numbers[after.sequence] - 1)))
            witness.note(after.sequence, after.number)
            self._stand_on(entries[-1][1])
            index = witness.find(entries, index + 1)
        return entries

    def _came_late(self, before: str, after: str) -> bool:
        """Tell whether another entry now comes between these two; if so, that one is read next."""
        if not self._stand_on(before) or not self._journal._next() or self._is_at(after):
            return False
        return self._stand_on(before)

    def _stand_on(self, cursor: str) -> bool:
        """Go to where the next entry read is the one after `cursor`; tells whether that entry itself is still there."""
        self._journal.seek_cursor(cursor)
        if self._journal._next() and self._is_at(cursor):
            return True
        self._journal.seek_cursor(cursor)  # the next one read is the first that is left
        return False

    def _is_at(self, cursor: str) -> bool:
        """Tell whether the current entry is the cursor's: journald renumbers entries when it moves them from /run to /var."""
        here: str = self._journal._get_cursor()
        return here == cursor or here.partition(";b=")[2] == cursor.partition(";b=")[2]

    def _load(self, saved: Any | None, inventory: Inventory) -> tuple[str | None, Checkpoint | None]:
        if saved is None:
            return None, None
        try:
            checkpoint = Checkpoint.load(saved)
            sequence = Cursor.parse(checkpoint.cursor).sequence
        except BadCheckpoint as error:
            return f"the saved checkpoint is of no use: {error}", None
        known = sequence in inventory.horizon or not inventory.machines or checkpoint.machine in inventory.machines
        if not known:
            machines = ", ".join(sorted(inventory.machines))
            return (
                f"the saved checkpoint is of another journal: it was read on machine {checkpoint.machine or 'unknown'!r}, "
                f"and what there is now comes from {machines}",
                None,
            )
        return None, checkpoint

    def _open_journal(self) -> None:
        from systemd import _reader

        config = self._config
        options: dict[str, Any] = {"flags": 0}
        if config.directory is not None:
            options["path"] = os.fspath(config.directory)
        elif config.files:
            options["files"] = [os.fspath(file) for file in expand(config.files)]
        else:
            options["flags"] = _reader.LOCAL_ONLY
            if config.namespace:
                options["namespace"] = config.namespace
        try:
            self._journal = _reader._Reader(**options)
            self._journal.data_threshold = config.max_message_size + _FIELD_OVERHEAD
            self._journal.fileno()  # from now on nothing new goes unnoticed
        except OSError as error:
            self.close()
            raise ComponentError(f"the journal cannot be opened: {error.strerror or error}. It is tried again") from error

    def _filter(self) -> None:
        apply(self._journal, conditions(self._config, self._current_boot))

    def _current_boot(self) -> str | None:
        """Return the boot that is current: this machine's, or for other journals the one of their last entry."""
        if self._config.directory is None and not self._config.files:
            return boot_id()
        self._journal.seek_tail()
        return Cursor.parse(self._journal._get_cursor()).boot if self._journal._previous() else None

    def _go_to_end(self) -> None:
        self._filter()
        self._journal.seek_tail()
        if self._journal._previous():
            self.position = self._journal._get_cursor()
            if self._witness is not None:
                self._witness.note(*place(self.position))
        else:
            self._journal.seek_head()  # there is nothing: whatever comes is new

    def _resume(self, checkpoint: Checkpoint) -> None:
        """Go to the checkpoint; where its entry is gone, find out, without filters, how many went with it."""
        self.position, self.machine = checkpoint.cursor, checkpoint.machine
        saved = Cursor.parse(checkpoint.cursor)
        self._journal.seek_cursor(checkpoint.cursor)
        if self._journal._next() and not self._is_at(checkpoint.cursor):
            self._find_gap(saved, Cursor.parse(self._journal._get_cursor()))
        self._filter()
        self._stand_on(checkpoint.cursor)

    def _find_gap(self, saved: Cursor, after: Cursor) -> None:
        same = after.sequence == saved.sequence and after.number > saved.number
        missing = after.number - saved.number - 1 if same else None
        if missing != 0:
            self._gaps.append((0, Gap(saved.text, after, missing)))
        if same and self._witness is not None:
            self._witness.note(after.sequence, after.number - 1)
