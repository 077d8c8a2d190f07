"""Reading the journal through libsystemd: open, find the place, take entries, wait for more. All calls block, but shortly."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tapio_otel.receivers.journald import standing
from tapio_otel.receivers.journald.chunk import Chunk
from tapio_otel.receivers.journald.cursor import Checkpoint, Cursor
from tapio_otel.receivers.journald.damage import DamagedFile
from tapio_otel.receivers.journald.files import identities, renamed, sees_all, selected_files
from tapio_otel.receivers.journald.gaps import Gap, GapWitness, boot_of, first_step_back, place
from tapio_otel.receivers.journald.header import Inventory, is_held, obstacle
from tapio_otel.receivers.journald.matches import apply, conditions, is_filtered
from tapio_otel.receivers.journald.options import ReaderOptions, ReadingFailed
from tapio_otel.receivers.journald.resume import load
from tapio_otel.receivers.journald.salvage import DAMAGED, salvaged
from tapio_otel.receivers.journald.shape import Entry
from tapio_otel.receivers.journald.standing import Journal

TIME_SLICE: Final = 0.005
"""Seconds after which `read` returns with what it has, so that an event loop is not held up."""
ADVANCE_INTERVAL: Final = 1.0
"""Seconds between two moves of the position past entries that a filter leaves out."""
JUMP: Final = 8
"""By how many times farther each jump goes that is to get behind unreadable entries."""
_TIES: Final = 16
_FIELD_OVERHEAD: Final = 66  # a field's name has up to 64 bytes; then the equals sign, and one byte that tells of more


class JournalReader:
    """Read one journal, in order, from a checkpoint on. `close` it."""

    def __init__(self, options: ReaderOptions, time_slice: float = TIME_SLICE) -> None:
        self._options = options
        self._time_slice = time_slice
        self._journal: Journal = None
        self._witness: GapWitness | None = None
        self._watches = False
        self._gaps: list[tuple[int, Gap]] = []
        self._stuck_at: str | None = None
        self._astray_at: str | None = None
        self._ahead: list[Entry] = []
        self._late: tuple[str, str] | None = None
        self._damaged = DamagedFile(self._look)
        self._files: frozenset[tuple[str, int, int]] = frozenset()
        self._replaced = False
        self._put_aside: list[Path] = []
        self._next_look = self._next_advance = 0.0
        self._is_behind = False
        self.position: str | None = None
        """The cursor up to which everything was read."""
        self.machine = ""
        self.at_end = False
        """Whether the last `read` came to the end of what there is."""
        self._unreadable = 0
        self.estimate: int | None = None
        """How many entries there were to read when it was opened, if that can be told cheaply."""
        self.passed_over: dict[str, str] = {}
        """The files that were there when it was opened but cannot be read, and why."""

    def open(self, saved: Any | None = None) -> str | None:
        """Open the journal and go to where the saved checkpoint says, or `start_at`.

        Returns why the checkpoint was of no use, if it was not. Raises `ReadingFailed`.
        """
        files = selected_files(self._options)
        self.passed_over = {str(file): problem for file in files if (problem := obstacle(file))}
        inventory = Inventory(files)
        problem, checkpoint = load(saved, inventory)
        self._open_journal()
        self._witness = GapWitness(inventory, sees_all(self._options, files), checkpoint, self._look)
        self._watches = not is_filtered(self._options)
        if checkpoint is not None:
            self._resume(checkpoint)
        elif self._options.begin == "end":
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
        witness = self._witness
        return Checkpoint(self.position, self.machine, witness.numbers, witness.horizon, witness.lines).dump()

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when the journal changes."""
        return int(self._journal.fileno())

    def timeout(self) -> float | None:
        """Return after how many seconds to look again at the latest; None where only a change makes it worth while."""
        milliseconds = self._journal.get_timeout_ms()
        limits = [milliseconds / 1000] if milliseconds >= 0 else []
        if self._is_behind:
            limits.append(max(0.0, self._next_advance - time.monotonic()))
        return min(limits, default=None)

    def process(self) -> None:
        """Take note of files that came and went; resets the descriptor."""
        self._journal.process()

    def read(self, limit: int) -> Chunk:
        """Return up to `limit` entries that come next, fewer when there are no more or the time slice is over.

        None may come though it is not `at_end`: when the journal had to be opened anew, or entries came in late and are next.
        """
        self._journal.process()  # a file that was deleted has to go first: its blocks may be gone too
        return self._hand_on(self._take(limit), limit)

    def _hand_on(self, entries: list[Entry], limit: int = 1) -> Chunk:
        astray = self._astray(entries) if entries else None
        if astray is not None:
            entries = self._leave_out(entries, astray)
        elif self._watches and entries:
            entries = self._check(entries)
        if entries:
            self._note(entries[-1])
        if self._unreadable:
            entries = self._leave_out_damaged(entries)
        if astray is not None:
            self.at_end = False
            self._open_again()
        elif self.at_end:
            self._at_end(bool(entries))
        chunk = Chunk(entries, self._gaps, self._unreadable, self.at_end, len(entries) == limit, self.checkpoint())
        self._gaps, self._unreadable = [], 0
        return chunk

    def skip(self, step: int) -> Chunk:
        """Pass over the next entry, which kills whoever reads it: the first `step` takes what is whole of it, by name.

        The second takes nothing of it. Each further one seeks to a place behind it, ever farther away.
        """
        self.at_end = False
        entries: list[Entry] = []
        if step > 1:
            self._jump(JUMP ** (step - 1))
        elif self._journal._next():
            found = salvaged(self._journal) if step == 0 else DAMAGED
            self._unreadable += found is DAMAGED
            entries.append((found, self._journal._get_cursor()))
        return self._hand_on(entries)

    def _jump(self, distance: int) -> None:
        """Go on `distance` numbers behind the position; what lies between is counted when the next entry is read."""
        if self.position is None:
            raise ReadingFailed("the journal cannot be read: its first entry is damaged. Move its oldest file elsewhere")
        here = Cursor.parse(self.position)
        self._journal.seek_cursor(f"s={here.sequence};i={here.number + distance:x};t={here.realtime:x}")
        self._look_ahead(self._ahead, 1)
        if self._ahead:
            self._late = self.position, self._ahead[0][1]  # nobody shall look at what lies between

    def _take(self, limit: int) -> list[Entry]:
        entries, self._ahead = self._ahead, []
        append, journal = entries.append, self._journal
        step, fields, cursor, clock = journal._next, journal._get_all, journal._get_cursor, time.perf_counter
        until = clock() + self._time_slice
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
                    except (OSError, ValueError):  # ValueError: the name of a field is no text
                        self._pass_over(entries)
        except OSError as error:
            if not entries:
                self._reopen(error)
        return entries

    def _pass_over(self, entries: list[Entry]) -> None:
        """Take what is left of a damaged entry; note one that cannot be read, so that its number is not missing."""
        found = salvaged(self._journal)
        try:
            cursor = self._journal._get_cursor()
        except OSError:
            self._unreadable += not self._watches  # else it is counted when its number is missing
        else:
            self._unreadable += found is DAMAGED
            entries.append((found, cursor))

    def _look_ahead(self, entries: list[Entry], count: int) -> None:
        """Take some more entries."""
        with contextlib.suppress(OSError):  # it is met again at the next read
            for _ in range(count):
                if not self._journal._next():
                    return
                try:
                    entries.append((self._journal._get_all(), self._journal._get_cursor()))
                except (OSError, ValueError):
                    self._pass_over(entries)

    def _astray(self, entries: list[Entry]) -> int | None:
        """Return from which entry on libsystemd has lost its way, or None; at one place it is trusted the second time.

        A vacuum wipes the files it deletes. Who reads an entry meanwhile finds nothing in it, or begins again at the oldest.
        """
        index = first_step_back(entries, self.position)
        if self._unreadable:
            headers = self._look().headers
            gone = (i for i, (fields, cursor) in enumerate(entries) if fields is DAMAGED and not is_held(headers, cursor))
            index = min(index, next(gone, index))
        if index == len(entries):
            return None
        trusted = self._astray_at == (before := entries[index - 1][1] if index else self.position or "")
        self._astray_at = before
        return None if trusted else index

    def _leave_out(self, entries: list[Entry], index: int) -> list[Entry]:
        """Give up the entries from `index` on: they are read again."""
        self._unreadable -= sum(entry[0] is DAMAGED for entry in entries[index:])
        self.at_end = True  # nothing may be read beyond them
        return self._check(entries[:index]) if self._watches and index else entries[:index]

    def _leave_out_damaged(self, entries: list[Entry]) -> list[Entry]:
        left = [entry for entry in entries if entry[0] is not DAMAGED]
        self._gaps = [(sum(entry[0] is not DAMAGED for entry in entries[:index]), gap) for index, gap in self._gaps]
        return left

    def _reopen(self, error: OSError) -> None:
        """Start over where reading stopped, as after files were deleted under it; gives up when that does not help."""
        if self._stuck_at == (self.position or ""):
            raise ReadingFailed(f"the journal cannot be read on: {error.strerror or error}. It is opened anew") from error
        self._stuck_at = self.position or ""
        self._open_again()

    def _open_again(self) -> None:
        self.close()
        self._ahead = []
        self._open_journal()
        self._go_on()

    def _go_on(self, tell: Callable[[Cursor], None] | None = None) -> None:
        """Apply the filter and go behind the position; `tell` is called, before, when its entry is gone."""
        journal, position = self._journal, self.position
        if position is None:
            self._filter()
            journal.seek_head()
            return
        stands, lost = standing.stand_on(journal, position), False
        if not stands and not journal._next():
            inventory = self._look()
            lost = bool(inventory.after(Cursor.parse(position)))
            stands = lost and standing.read_forward(journal, position)
        if tell is not None and not stands:
            if not lost:
                journal.seek_cursor(position)
            tell(Cursor.parse(position))
        self._filter()
        if lost:
            standing.read_forward(journal, position)
        else:
            standing.stand_on(journal, position)

    def _at_end(self, has_read: bool) -> None:
        """Do from time to time what can be done only at the end: look for files put in the place of others, and move on."""
        now = time.monotonic()
        if self._replaced:
            self.at_end = False
            if not has_read:  # what was written to the old ones is read
                self._replaced = False
                self._open_again()
        elif now >= self._next_look:
            self._next_look = now + self._options.poll_interval
            found = identities(self._options)
            self._replaced = found != self._files
            if self._replaced:
                self._put_aside = renamed(self._files, found) if self._options.files else []
            self.at_end, self._files = not self._replaced, found
        elif not self._watches:
            self._is_behind = now < self._next_advance
            if not self._is_behind:
                self._next_advance = now + ADVANCE_INTERVAL
                self._advance()

    def _advance(self) -> None:
        """Move on to the last entry there is, which the filter leaves out, unless one that it lets through came meanwhile."""
        with contextlib.suppress(OSError):
            tail = standing.last_cursor(self._options)
            self._journal.process()  # a file that was begun before the tail was written is known from here on
            self._look_ahead(self._ahead, 1)
            if self._ahead:
                self.at_end = False
            elif tail is not None and tail != self.position:
                self._note((DAMAGED, tail))

    def _note(self, entry: Entry) -> None:
        fields, self.position = entry
        machine = fields.get("_MACHINE_ID")
        if isinstance(machine, bytes):
            self.machine = machine.decode("ascii", "replace")
        if not self._watches and self._witness is not None:
            self._witness.note(*place(self.position), boot_of(self.position))

    def _check(self, entries: list[Entry]) -> list[Entry]:
        """Look for numbers left out; entries of another file may only have come in late, so look again before saying so."""
        witness = self._witness
        hole = witness.find(entries) if witness else None
        if hole is not None and not self.at_end and hole[0] + _TIES > len(entries):
            self._look_ahead(entries, _TIES)  # entries of one instant come in any order from different files
            hole = witness.find(entries, hole[0]) if witness else None
        while hole is not None and witness is not None:
            index, missing = hole
            before = entries[index - 1][1] if index else self.position
            after = Cursor.parse(entries[index][1])
            if self._damaged.has(after, missing, self._unreadable > 0):
                self._unreadable += missing
            elif before is not None and self._came_late(before, after):
                self.at_end = False
                if not standing.stand_on(self._journal, before):
                    standing.read_forward(self._journal, before)
                return entries[:index]
            else:
                self._gaps.append((index, Gap(before or "", after, missing)))
            witness.note(after.sequence, after.number, after.boot)
            hole = witness.find(entries, index + 1)
        return entries

    def _came_late(self, before: str, after: Cursor) -> bool:
        """Tell whether a readable entry now comes between these two, so that reading must go back; never twice at one place."""
        if self._late == (before, after.text):
            return False
        self._late = (before, after.text)
        cursor = standing.next_readable(self._options, before)
        if cursor is None:
            return False
        sequence, number = place(cursor)
        known = self._witness.numbers.get(sequence) if self._witness else None
        return cursor != after.text and (known is None or number > known)

    def _look(self) -> Inventory:
        return Inventory(selected_files(self._options))

    def _open_journal(self) -> None:
        self._files = identities(self._options)
        self._next_look = time.monotonic() + self._options.poll_interval
        try:
            self._journal = standing.open_reader(self._options, self._put_aside)
            self._journal.data_threshold = self._options.max_message_size + _FIELD_OVERHEAD
            self._journal.fileno()  # from now on nothing new goes unnoticed
        except OSError as error:
            self.close()
            raise ReadingFailed(f"the journal cannot be opened: {error.strerror or error}. It is tried again") from error

    def _filter(self) -> None:
        apply(self._journal, conditions(self._options, lambda: standing.current_boot(self._journal, self._options)))

    def _go_to_end(self) -> None:
        """Go behind the last entry, whether or not the filter lets it through: it is where a restart goes on."""
        self._journal.seek_tail()
        if not self._journal._previous():
            self._filter()
            self._journal.seek_head()  # there is nothing: whatever comes is new
            return
        self.position = self._journal._get_cursor()
        if self._witness is not None:
            self._witness.note(*place(self.position), boot_of(self.position))
        self._filter()
        standing.stand_on(self._journal, self.position)

    def _resume(self, checkpoint: Checkpoint) -> None:
        """Go to the checkpoint; where its entry is gone, find out, without filters, how many went with it."""
        self.position, self.machine = checkpoint.cursor, checkpoint.machine
        self._go_on(self._find_gap)

    def _find_gap(self, saved: Cursor) -> None:
        if not self._journal._next():
            return
        after, witness = Cursor.parse(self._journal._get_cursor()), self._witness
        if witness is None:
            return
        previous = witness.previous(after.sequence)
        missing = None if previous is None or after.number <= previous else after.number - previous - 1
        if missing != 0:
            self._gaps.append((0, Gap(saved.text, after, missing)))
        if missing is not None:
            witness.note(after.sequence, after.number - 1, after.boot)
