"""The trace_context processor: what it sets on events, keeps, removes and counts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.component import Kind
from tapio_otel.event import EntityReference, EventType, Origin, Severity, UnifiedEvent
from tapio_otel.processors.trace_context import TraceContextConfig, TraceContextProcessor
from tapio_otel.trace_context import NAMES
from tests.components import context

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OTHER = "0af7651916cd43dd8448eb211c80319c"
SPAN = "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


def processor(**options):
    """Return the processor with these options."""
    return TraceContextProcessor(context(Kind.PROCESSOR, "trace_context"), TraceContextConfig(**options))


def entry(own=None, origin=None):
    """Return an event as a receiver makes it, on the fast path."""
    origin = origin or Origin(EntityReference("systemd_unit", "a.service"), {"pid": 1}, {"unit": "a.service"})
    return UnifiedEvent.of_origin(origin, "id", 1, 2, "journald", EventType.LOG, Severity.INFO, "t", "d", dict(own or {}))


def detached(**attributes):
    """Return an event as a plugin makes it, without an origin."""
    return UnifiedEvent("id", 1, "kubernetes", attributes=attributes)


def ids(event):
    """Return all that the processor sets."""
    return event.trace_id, event.span_id, event.get("trace_flags"), event.get("tapio.trace.source")


def test_a_journal_field_sets_the_events_trace():
    """TRACEPARENT gives ids, flags and provenance; the field itself stays."""
    event = entry({"TRACEPARENT": PARENT})
    assert processor().process([event]) == [event]
    assert ids(event) == (TRACE, SPAN, 1, "traceparent")
    assert event.get("TRACEPARENT") == PARENT
    assert event.shared is not None


def test_an_event_without_an_origin_is_read_too():
    """A plugin's event has its attributes to itself."""
    event = detached(trace_id=TRACE.upper(), span_id=SPAN, trace_flags="01")
    processor().process([event])
    assert ids(event) == (TRACE, SPAN, 1, "attribute")


def test_what_the_origin_says_holds_for_all_of_its_events():
    """A trace id among the shared attributes reaches every event, and is looked for once."""
    origin = Origin(attributes={"uber-trace-id": f"{TRACE}:{SPAN}:0:0"})
    events = [entry(origin=origin), entry(), entry(origin=origin), detached(), entry({"TRACE_ID": OTHER}, origin)]
    processor().process(events)
    assert [event.trace_id for event in events] == [TRACE, "", TRACE, "", OTHER]
    assert ids(events[0]) == (TRACE, SPAN, 0, "uber-trace-id")


def test_plain_events_are_left_alone():
    """Events that mention no trace keep their attributes as they were."""
    events = [entry(), entry({"SYSLOG_IDENTIFIER": "x"}), detached(reason="y")]
    subject = processor()
    subject.process(events)
    assert [ids(event) for event in events] == [("", "", None, None)] * 3
    assert events[0].own == {}
    assert subject.context.counters.counts == {}


def test_a_trace_id_set_by_the_receiver_is_kept():
    """The event's own id goes before the attributes, which may complete it but not replace it."""
    event = entry({"traceparent": PARENT})
    event.trace_id = OTHER
    subject = processor()
    subject.process([event])
    assert ids(event) == (OTHER, "", None, None)
    assert subject.context.counters.counts["refused:conflict"] == 1
    event = entry({"SPAN_ID": SPAN})
    event.trace_id = TRACE
    subject.process([event])
    assert ids(event) == (TRACE, SPAN, None, None)


def test_an_invalid_id_set_by_the_receiver_is_replaced():
    """A wrong id gives way to a right attribute; a wrong or orphaned span id is cleared."""
    event, orphan = entry({"traceparent": PARENT}), entry()
    event.trace_id, event.span_id, orphan.span_id = "not hex", "zz", SPAN
    subject = processor()
    subject.process([event, orphan])
    assert ids(event) == (TRACE, SPAN, 1, "traceparent")
    assert orphan.span_id == ""
    assert subject.context.counters.counts["refused:length"] == 1


def test_wrong_values_are_counted_by_form_and_reason_and_stay_visible():
    """Nothing is set from a wrong value, which remains the attribute it was."""
    events = [entry({"TRACEPARENT": f"ff-{TRACE}-{SPAN}-01"}) for _ in range(3)] + [entry({"TRACE_ID": "0" * 32})]
    subject = processor(remove=True)
    subject.process(events)
    assert [event.trace_id for event in events] == [""] * 4
    counts = subject.context.counters.counts
    assert (counts["refused"], counts["refused:version"], counts["refused:traceparent"]) == (4, 3, 3)
    assert (counts["refused:zero"], counts["refused:trace_id"]) == (1, 1)
    assert events[0].get("TRACEPARENT") is not None
    subject.process([entry()])
    assert counts["refused"] == 4


def test_consumed_attributes_can_be_removed():
    """With `remove` what was read is gone, from an origin too, without touching other events of that origin."""
    origin = Origin(attributes={"traceparent": PARENT, "pid": 7})
    events = [entry({"TRACE_ID": TRACE, "TRACE_FLAGS": "00", "SPAN_ID": SPAN}), entry(origin=origin), detached(trace_id=TRACE)]
    processor(remove=True).process(events)
    assert [event.trace_id for event in events] == [TRACE] * 3
    assert [sorted(event.attributes) for event in events] == [
        ["pid", "tapio.trace.source", "trace_flags"],
        ["pid", "tapio.trace.source", "trace_flags"],
        ["tapio.trace.source"],
    ]
    assert "traceparent" in origin.attributes


def said(description, own=None):
    """Return an event with a text."""
    event = entry(own)
    event.description = description
    return event


def test_a_text_is_searched_where_attributes_name_no_trace():
    """The provenance tells that it was the text, and which form in it."""
    events = [said(f"it broke, trace_id={TRACE} span_id={SPAN}"), said(f'{{"traceparent":"{PARENT}"}}'), said("it broke")]
    processor(remove=True).process(events)
    assert ids(events[0]) == (TRACE, SPAN, None, "text.trace_id")
    assert ids(events[1]) == (TRACE, SPAN, 1, "text.traceparent")
    assert ids(events[2]) == ("", "", None, None)
    assert events[0].shared is not None


def test_attributes_go_before_the_text():
    """Of an event whose attributes or receiver name a trace, the text is not looked at."""
    event, given_id = said(f"trace_id={OTHER}", {"TRACE_ID": TRACE}), said(f"trace_id={OTHER}")
    given_id.trace_id = TRACE
    subject = processor()
    subject.process([event, given_id])
    assert ids(event) == (TRACE, "", None, "attribute")
    assert ids(given_id) == (TRACE, "", None, None)
    assert subject.context.counters.counts == {}


def test_an_invalid_attribute_gives_way_to_the_text():
    """What the text says stands in for what the attribute does not, and the attribute is counted."""
    event = said(f"trace_id={TRACE}", {"TRACE_ID": "x"})
    subject = processor()
    subject.process([event])
    assert ids(event) == (TRACE, "", None, "text.trace_id")
    assert subject.context.counters.counts["refused:length"] == 1


def test_the_search_of_texts_can_be_turned_off():
    """With `from_text: false` only attributes count."""
    event = said(f"trace_id={TRACE}")
    processor(from_text=False).process([event])
    assert ids(event) == ("", "", None, None)


def test_wrong_values_in_a_text_are_counted_with_their_form():
    """The form says that it was in a text."""
    subject = processor()
    subject.process([said(f"trace_id={'0' * 32}"), said(f"trace_id={TRACE}, b3: {OTHER}-{SPAN}")])
    counts = subject.context.counters.counts
    assert (counts["refused:text.trace_id"], counts["refused:zero"]) == (1, 1)
    assert (counts["refused:text.b3"], counts["refused:conflict"]) == (1, 1)


def test_a_plugins_event_without_a_text_is_passed_over():
    """A description that is no text is nothing to search."""
    event = detached(reason="x")
    event.description = None
    assert processor().process([event]) == [event]


@given(
    st.lists(st.dictionaries(st.sampled_from([*sorted(NAMES), "x"]), st.text() | st.binary() | st.integers() | st.just(PARENT)))
)
def test_no_event_is_lost_and_every_id_is_valid(many):
    """Whatever the attributes hold, the same events come out, each with valid ids or none."""
    events = [entry(own) if index % 2 else detached(**own) for index, own in enumerate(many)]
    assert processor().process(events) is events
    assert len(events) == len(many)
    for event in events:
        assert event.trace_id == "" or f"{int(event.trace_id, 16):032x}" == event.trace_id
        assert event.span_id == "" or f"{int(event.span_id, 16):016x}" == event.span_id
