"""Event ids: deterministic, distinct, and UUIDs of version 8."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.identity import event_id, sequence_id, sequence_prefix

parts = st.lists(st.one_of(st.integers(), st.text(st.characters(exclude_characters="\x1f"))), min_size=1, max_size=5)


@given(parts)
def test_ids_are_uuids_of_version_8(values):
    """Any parts give a valid UUID in its canonical form."""
    text = event_id(*values)
    parsed = uuid.UUID(text)
    assert (str(parsed), parsed.version, parsed.variant) == (text, 8, uuid.RFC_4122)


@given(parts, parts)
def test_only_equal_parts_give_equal_ids(left, right):
    """The same occurrence has the same id, another has another."""
    assert (event_id(*left) == event_id(*right)) == (list(map(str, left)) == list(map(str, right)))


@given(st.text(st.characters()), st.integers(0, (1 << 60) - 1))
def test_sequence_ids_are_uuids_of_version_8(namespace, number):
    """Every element of a sequence has a valid UUID."""
    text = sequence_id(sequence_prefix(namespace), number)
    parsed = uuid.UUID(text)
    assert (str(parsed), parsed.version, parsed.variant) == (text, 8, uuid.RFC_4122)


@given(st.text(), st.text(), st.integers(0, (1 << 60) - 1), st.integers(0, (1 << 60) - 1))
def test_sequence_ids_differ_by_namespace_and_number(left, right, first, second):
    """Neither another sequence nor another number has the same id."""
    same = sequence_id(sequence_prefix(left), first) == sequence_id(sequence_prefix(right), second)
    assert same == ((left, first) == (right, second))


def test_undecodable_bytes_are_accepted():
    """A part that came from bytes by surrogateescape has an id too."""
    part = b"\xff".decode("utf-8", "surrogateescape")
    assert len({event_id(part), event_id(""), sequence_prefix(part)}) == 3


def test_ids_do_not_change_between_releases():
    """A stored id must be found again after an upgrade."""
    assert event_id("boot", 1, "x") == event_id("boot", "1", "x")
    assert event_id("boot", 1) == "ae6f0836-16da-8efd-9e6f-8343e1c76d6e"
    assert sequence_id(sequence_prefix("journal"), 255) == "a553ee65-b0bd-8cc1-8000-0000000000ff"
