"""The normalize processor: each source gets its normalizer, and a failing one costs nobody else anything."""

from __future__ import annotations

import pytest

from tapio_otel.component import Kind
from tapio_otel.event import EntityReference, Origin, Severity, UnifiedEvent
from tapio_otel.processors.normalize import ERROR_KEY, NormalizeConfig, NormalizeProcessor, first_line
from tests.components import context, events


def processor(**normalizers):
    """Return the processor with these normalizers by source; `.reports` collects what it says of its health."""
    surroundings = context(Kind.PROCESSOR, "normalize", {"normalizers": normalizers})
    reports: list[str | None] = []
    surroundings.report = reports.append
    made = NormalizeProcessor(surroundings, NormalizeConfig())
    made.reports = reports
    return made


def shout(batch):
    """Normalise by writing titles in capitals; fail on the title `bad`, but only after half of the work."""
    for event in batch:
        event.severity = Severity.ERROR
        if event.title == "bad":
            event.set("half", "done")
            raise KeyError("no such field")
        event.title = event.title.upper()


def test_a_batch_of_one_source_goes_to_its_normalizer_whole():
    """The normalizer sees the very list, once."""
    seen = []
    batch = events("a", "b")
    assert processor(test=seen.append).process(batch) is batch
    assert seen == [batch]


def test_a_mixed_batch_keeps_its_order():
    """Every event meets its own source's normalizer and stays in its place."""
    batch = events("a", source="x") + events("b", "c", source="y") + events("d", source="x") + events("e", source="z")
    processor(x=shout).process(batch)
    assert [event.title for event in batch] == ["A", "b", "c", "D", "e"]


def test_an_empty_batch_stays_empty():
    """Nothing in, nothing out."""
    assert processor(x=shout).process([]) == []


def test_a_failing_event_goes_on_marked_and_the_others_are_normalised():
    """The event at fault is unchanged but for the error; it is counted by source and reason."""
    batch = events("a", "bad", "c")
    subject = processor(test=shout)
    subject.process(batch)
    assert [event.title for event in batch] == ["A", "bad", "C"]
    assert batch[1].attributes == {"half": "done", ERROR_KEY: "KeyError: 'no such field'"}
    counts = subject.context.counters.counts
    assert (counts["failed"], counts["failed:KeyError"], counts["failed:test"]) == (1, 1, 1)


def test_what_failed_while_alone_is_undone():
    """A normalizer that gives up half way leaves no half of its work, on a shared origin either."""

    def spoil(batch):
        for event in batch:
            if len(batch) > 1:
                raise ValueError("not in company")
            event.entity = EntityReference("pod", "wrong")
            event.title = "wrong"
            raise ValueError("nor alone")

    origin = Origin(EntityReference("systemd_unit", "a.service"), {"pid": 1})
    batch = [
        UnifiedEvent.of_origin(origin, str(number), 1, 1, "test", "log", Severity.INFO, "right", "", {"a": 1})
        for number in range(2)
    ]
    processor(test=spoil).process(batch)
    for event in batch:
        assert (event.title, event.entity.name) == ("right", "a.service")
        assert event.attributes == {"pid": 1, "a": 1, ERROR_KEY: "ValueError: nor alone"}


def test_health_is_reported_once_and_cleared_when_well():
    """Ten thousand bad events make one report, and a good batch takes it back."""
    subject = processor(test=shout)
    for _ in range(3):
        subject.process(events("bad", "bad"))
    assert len(subject.reports) == 1
    assert "the normalizer of source 'test' fails: KeyError" in subject.reports[0]
    subject.process(events("good"))
    subject.process(events("good"))
    assert subject.reports[1:] == [None]


@pytest.mark.parametrize(
    ("title", "description", "expected"),
    [
        ("fine", "whatever", "fine"),
        ("", "  first line \nsecond", "first line"),
        ("", "", "log"),
        ("\n\n", "body", "body"),
        ("one\ntwo", "", "one"),
        ("x" * 300, "", "x" * 200),
        ("", "y" * 1_000_000, "y" * 200),
    ],
)
def test_a_source_without_a_normalizer_gets_a_usable_title(title, description, expected):
    """The title is one line of at most 200 characters, from the description or the type where there is none."""
    event = UnifiedEvent("id", 1, "acme", title=title, description=description)
    processor().process([event])
    assert event.title == expected
    assert event.description == description


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Severity.ALERT, Severity.ALERT),
        (17, Severity.ERROR),
        ("warning", Severity.WARNING),
        ("bad", Severity.INFO),
        (None, Severity.INFO),
    ],
)
def test_a_source_without_a_normalizer_gets_a_severity(given, expected):
    """Numbers and keywords of a severity become it; what is none becomes info."""
    event = UnifiedEvent("id", 1, "acme", title="t", severity=given)
    processor().process([event])
    assert event.severity is expected


def test_an_event_that_cannot_be_made_sane_goes_on():
    """A plugin's title that is no text is counted, and the event stays."""
    bad, good = UnifiedEvent("id", 1, "acme", title=42), UnifiedEvent("id", 1, "acme", description="a\nb")
    subject = processor()
    subject.process([bad, good])
    assert (bad.title, good.title) == (42, "a")
    assert bad.get(ERROR_KEY).startswith("TypeError")
    assert subject.context.counters.counts["failed:TypeError"] == 1


def test_first_line_skips_blank_lines():
    """The first line that says something counts."""
    assert first_line(" \r\n\t\n  Started.\r\nmore") == "Started."
