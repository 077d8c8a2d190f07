"""Text that is inert on a terminal."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.event import EntityReference, EntityType, Source, UnifiedEvent
from tapio_otel.exporting.event_text import LineWriter, details, inert, label_of


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
