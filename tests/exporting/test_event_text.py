"""Text that is inert on a terminal."""

from __future__ import annotations

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.event import EntityReference, EntityType, Source, UnifiedEvent
from tapio_otel.exporting.event_text import LineWriter, details, inert, inert_json, label_of


@given(st.text(max_size=80))
def test_nothing_in_a_text_acts_on_a_terminal(text):
    """No control or direction character is left; harmless characters stay as they are."""
    shown = inert(text)
    assert not [letter for letter in shown if unicodedata.category(letter) == "Cc"]
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u2028\u2029\ufeff")
    if text.isprintable():
        assert shown == text


@given(st.text(max_size=40), st.text(max_size=40), st.integers(-(2**63), 2**63), st.text(max_size=10))
def test_any_event_is_one_line_and_its_details_never_fail(title, name, timestamp, kind):
    """Whatever an event holds, it is shown."""
    entity = EntityReference(EntityType.POD, name, name)
    event = UnifiedEvent("id", timestamp, kind, kind, entity=entity, title=title, attributes={name: title, "n": None})
    assert LineWriter().text([event]).count("\n") == 1
    assert details(event, {name: 1}).startswith("Event id\n")


def test_labels_are_short_and_tell_what_it_is():
    """Units by name, processes with their pid, others with their type."""
    assert label_of(EntityReference(EntityType.SYSTEMD_UNIT, "a.service")) == "a.service"
    assert label_of(EntityReference(EntityType.PROCESS, "java", uid="process-42-99")) == "java[42]"
    assert label_of(EntityReference(EntityType.POD, "web", "shop")) == "pod shop/web"
    assert label_of(EntityReference(EntityType.NODE, "n1")) == "node n1"


def test_a_line_explains_what_the_title_leaves_open():
    """A journal entry's description is the text its title comes from; others' say more."""
    lines = [
        LineWriter().text([UnifiedEvent("id", 0, source, "t", title="Back-off", description="restarting failed container")])
        for source in (Source.KUBERNETES, Source.JOURNALD)
    ]
    assert "Back-off: restarting failed container [t]" in lines[0]
    assert "restarting" not in lines[1]


def test_what_no_terminal_can_be_given_is_escaped():
    """A lone surrogate cannot be encoded, and would end the command that prints it."""
    assert inert("a\ud800b") == "a\\ud800b"


def test_json_means_the_same_and_does_nothing_to_a_terminal():
    """C1 controls and what turns the writing direction around are escapes."""
    text = json.dumps({"a": "\x9b2J\u202eüber\x7f"}, ensure_ascii=False)
    shown = inert_json(text)
    assert json.loads(shown) == json.loads(text)
    assert "über" in shown
    assert not set("\x9b\u202e\x7f") & set(shown)
    assert inert_json('{"a": 1}') == '{"a": 1}'
