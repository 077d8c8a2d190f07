"""The event model: what is shared, what is copied, and when two events are equal."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given

from tapio_otel.event import EntityReference, Origin, Severity, UnifiedEvent
from tests import strategies


def shared_event() -> UnifiedEvent:
    """Return an event that shares an origin."""
    origin = Origin(EntityReference("process", "java", uid="process-1-2"), {"pid": 1, "comm": "java"}, {"unit": "a.service"})
    return UnifiedEvent.of_origin(origin, "id", 1, 2, "journald", "log", Severity.INFO, "title", "text", {"REQUEST_ID": "r"})


def test_severity_numbers_are_opentelemetrys():
    """Each of syslog's eight keywords has the number of the log data model's appendix B."""
    numbers = {severity.keyword: int(severity) for severity in Severity}
    assert numbers == {
        **{"debug": 5, "info": 9, "notice": 10, "warning": 13, "error": 17, "critical": 18, "alert": 19, "emergency": 21}
    }


def test_severity_is_found_by_its_keyword():
    """Keywords are understood in any case."""
    assert Severity.from_keyword("Warning") is Severity.WARNING


def test_unknown_severity_names_the_known_ones():
    """The error says what was found and what is accepted."""
    with pytest.raises(ValueError, match="unknown severity 'fatal': expected one of debug, info, notice"):
        Severity.from_keyword("fatal")


def test_entity_uid_defaults_to_its_name():
    """An entity without an identity of its own is identified by its name."""
    assert EntityReference("systemd_unit", "a.service").uid == "a.service"


def test_lineage_begins_with_the_entity_itself():
    """The nearest comes first."""
    pod = EntityReference("pod", "p")
    container = EntityReference("container", "c", parent=pod)
    assert container.lineage() == [container, pod]


def test_equal_entities_have_equal_hashes():
    """Entities may be keys."""
    assert len({EntityReference("pod", "p", "n", "u"), EntityReference("pod", "p", "n", "u")}) == 1


def test_reading_does_not_detach():
    """`get`, `view` and `entity` leave the event sharing its origin."""
    event = shared_event()
    assert (event.get("pid"), event.get("REQUEST_ID"), event.get("none", 7)) == (1, "r", 7)
    assert event.view().attributes == {"pid": 1, "comm": "java", "REQUEST_ID": "r"}
    assert event.entity.name == "java"
    assert event.shared is not None


def test_setting_one_attribute_does_not_touch_the_origin():
    """`set` belongs to this event alone."""
    event, origin = shared_event(), shared_event().shared
    event.set("pid", 5)
    assert event.get("pid") == 5
    assert event.shared is not None and event.shared.attributes["pid"] == 1
    assert origin is not None


@pytest.mark.parametrize("name", ["attributes", "labels", "annotations"])
def test_changing_a_dict_changes_only_this_event(name):
    """Plugins may treat the dicts as the event's own."""
    event = shared_event()
    origin = event.shared
    getattr(event, name)["added"] = "x"
    assert event.shared is None
    assert "added" not in getattr(origin, name)
    assert getattr(event, name)["added"] == "x"


@pytest.mark.parametrize(
    ("name", "value"),
    [("attributes", {"a": 1}), ("labels", {"a": "b"}), ("annotations", {"a": "b"}), ("entity", EntityReference("pod", "p"))],
)
def test_assigning_replaces_only_that_part(name, value):
    """The rest stays what the origin said."""
    event, twin = shared_event(), shared_event()
    setattr(event, name, value)
    assert getattr(event, name) == value
    for other in {"attributes", "labels", "annotations", "entity"} - {name}:
        assert getattr(event, other) == getattr(twin, other)


@given(strategies.events())
def test_a_copy_is_equal_and_independent(event):
    """Changing a copy leaves the first as it was."""
    twin = event.copy()
    assert repr(twin._key()) == repr(event._key())
    twin.attributes["added"] = 1
    assert "added" not in event.view().attributes


@given(strategies.shared_events())
def test_detaching_changes_no_content(event):
    """A detached event says the same."""
    before = repr(event._key())
    event.detach()
    assert repr(event._key()) == before
    event.detach()
    assert repr(event._key()) == before


def test_an_event_observed_now_says_so():
    """Without an observed time the clock is asked."""
    assert UnifiedEvent("id", 1, "x").observed > 1_700_000_000_000_000_000


def test_events_show_what_matters():
    """The representation names id, source, type, severity, entity and title."""
    assert repr(shared_event()) == "UnifiedEvent(id journald/log info EntityReference(process/java, uid='process-1-2') 'title')"


def test_an_event_that_names_no_entity_is_about_this_node():
    """A plugin's author need not know how nodes are identified."""
    entity = UnifiedEvent("id", 1, "test").entity
    assert (entity.type, entity.name) == ("node", socket.gethostname())


def test_a_value_set_to_none_reads_as_none_before_and_after_detaching():
    """What the event says itself counts, also where it says that there is no value."""
    event = shared_event()
    event.set("comm", None)
    assert (event.get("comm", "x"), event.get("pid"), event.get("other", "x")) == (None, 1, "x")
    event.detach()
    assert (event.get("comm", "x"), event.get("pid"), event.get("other", "x")) == (None, 1, "x")
