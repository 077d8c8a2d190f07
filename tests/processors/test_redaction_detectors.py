"""The detectors of redaction: what each finds, wherever it stands, and what none takes for a secret."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.component import Kind, Scope
from tapio_otel.event import EntityReference, Origin, Severity, UnifiedEvent
from tapio_otel.otlp.wire import RequestBuilder
from tapio_otel.processors.redaction import RedactionConfig, RedactionProcessor
from tapio_otel.processors.redaction.detectors import BUILTIN
from tests.components import context
from tests.processors.redaction_samples import HARMLESS, SAMPLES

SCOPE = Scope("tapio_otel.receivers.journald", "1")
ACTIONS = ["mask", "hash"]


def processor(**options):
    """Return the processor with these options."""
    return RedactionProcessor(context(Kind.PROCESSOR, "redaction"), RedactionConfig(**options))


MASKING = processor()
HASHING = processor(action="hash", salt="pepper")
EVERYTHING = processor(detectors={"email": True}, summary="silent")


def said(text, title=None):
    """Return an event with this message."""
    origin = Origin(EntityReference("systemd_unit", "a.service"), {"pid": 1}, {"unit": "a.service"})
    title = text[:200] if title is None else title
    return UnifiedEvent.of_origin(origin, "id", 1, 2, "journald", "log", Severity.INFO, title, text, {})


def exported(event):
    """Return what an exporter sends for an event."""
    builder = RequestBuilder({})
    builder.add([event], SCOPE)
    return builder.build()


@pytest.mark.parametrize(("detector", "secret", "before", "behind"), SAMPLES)
def test_a_secret_is_masked_and_what_stands_around_it_stays(detector, secret, before, behind):
    """The value goes, the key and the other words remain readable; the right detector is counted."""
    event, subject = said(f"{before}{secret}{behind}"), processor()
    subject.process([event])
    assert event.description == f"{before}****{behind}"
    assert event.title == event.description[: len(event.title)]
    counts = subject.context.counters.counts
    assert (counts["redacted"], counts[f"redacted:{detector}"]) == (1, 1)


@pytest.mark.parametrize("detector", [one.name for one in BUILTIN if one.default])
def test_every_detector_has_a_sample(detector):
    """No detector is without a test of what it finds."""
    assert detector in {name for name, *_ in SAMPLES}


@pytest.mark.parametrize("text", HARMLESS)
def test_ordinary_texts_stay(text):
    """Words about secrets, ids, times and masks are not changed, in a message or in an attribute."""
    event = said(text)
    origin = event.shared
    event.set("detail", text)
    before = event.copy()
    MASKING.process([event])
    assert event == before
    assert event.shared is origin


@pytest.mark.parametrize(("detector", "secret", "before", "behind"), SAMPLES)
def test_a_detector_that_is_off_finds_nothing(detector, secret, before, behind):
    """With all others off too, the text stays."""
    event = said(f"{before}{secret}{behind}")
    processor(detectors=dict.fromkeys((one.name for one in BUILTIN), False)).process([event])
    assert event.description == f"{before}{secret}{behind}"
    alone = {one.name: one.name == detector for one in BUILTIN}
    processor(detectors=alone).process([event])
    assert event.description == f"{before}****{behind}"


def test_e_mail_addresses_are_found_when_asked_for():
    """Off by default; a unit's instance is no address."""
    text = "from bob.smith+x@mail.example.com to getty@tty1.service"
    kept, event = said(text), said(text)
    MASKING.process([kept])
    EVERYTHING.process([event])
    assert kept.description == text
    assert event.description == "from **** to getty@tty1.service"


def place_in(event, where, text):
    """Put a text somewhere into an event; returns the event."""
    origin = event.shared
    if where == "description":
        event.description = text
    elif where == "title":
        event.title, event.description = text, "something else"
    elif where == "own":
        event.set("detail", text)
    elif where == "bytes":
        event.set("MESSAGE", b"\xff" + text.encode() + b"\xfe")
    elif where == "nested":
        event.set("body", {"a": [1, {"b": [text]}], "c": None})
    elif where == "detached":
        event.attributes["COREDUMP_CMDLINE"] = text
    else:
        attributes = {"cmdline": text} if where == "cmdline" else {}
        labels = {"cmdline": text} if where == "label" else {}
        annotations = {"note": text} if where == "annotation" else {}
        event.shared = Origin(origin.entity, attributes, labels, annotations, {"_CMDLINE": text.encode()})
    return event


PLACES = ["description", "title", "own", "bytes", "nested", "detached", "cmdline", "label", "annotation"]


@given(
    st.sampled_from(SAMPLES),
    st.sampled_from(PLACES),
    st.text(max_size=20).filter(lambda text: not text[-1:].isalnum() and text[-1:] not in ("-", ".", "_", "%", "*", "/")),
    st.sampled_from([MASKING, HASHING, EVERYTHING]),
    st.sampled_from(["log", "oom_kill"]),
)
def test_a_secret_is_gone_wherever_it_stands(sample, where, noise, subject, kind):
    """Neither the event nor its OTLP bytes hold it; redacting again changes nothing."""
    _, secret, before, behind = sample
    event = said("ordinary")
    event.type = kind
    place_in(event, where, f"{noise} {before}{secret}{behind}")
    subject.process([event])
    assert secret.encode() not in exported(event)
    assert secret not in repr(event)
    assert secret not in str(event.view().attributes) + str(event.view().labels) + str(event.view().annotations)
    assert event.shared is None or secret not in str(event.shared.record)
    again = event.copy()
    subject.process([again])
    assert again == event


FRAGMENTS = st.sampled_from(
    [
        *(
            "password",
            "=",
            ":",
            " ",
            '"',
            "'",
            "\\",
            "token",
            "--",
            "-p",
            "mysql",
            "****",
            "://",
            "@",
            "a:b",
            "bearer ",
            ",",
            "&",
        ),
        *(
            "authorization: ",
            "basic ",
            "\n",
            "4111",
            "1111",
            "-",
            "{",
            "}",
            "]",
            "secret",
            "cookie: ",
            "a=b",
            ";",
            "<",
            ">",
            "</",
        ),
        *(
            "\x00",
            "é",
            "\ud800",
            "%3D",
            "abc1",
            "=>",
            "curl -u ",
            "?sig=",
            "pwd",
            "/root",
            "0123456789abcdef",
            "identified by '",
        ),
        *(secret for _, secret, _, _ in SAMPLES),
        *(before for _, _, before, _ in SAMPLES),
    ]
)


@given(st.lists(FRAGMENTS, max_size=14).map("".join), st.sampled_from([MASKING, HASHING, EVERYTHING]), st.integers(0, 60))
def test_redacting_twice_changes_nothing_more(text, subject, cut):
    """Whatever the text, what redacting leaves is not found again; nothing raises."""
    event = said(text, text[:cut])
    event.set("detail", text)
    event.set("raw", text.encode("utf-8", "surrogatepass"))
    subject.process([event])
    once = event.copy()
    subject.process([event])
    assert event == once
    exported(event)
    assert not subject.context.counters.counts["failed"]


@given(st.text(max_size=200), st.binary(max_size=200))
def test_any_text_and_any_bytes_are_taken(text, raw):
    """Nothing raises, and bytes stay bytes."""
    event = said(text)
    event.set("raw", raw)
    EVERYTHING.process([event])
    assert isinstance(event.get("raw"), bytes)
    assert not EVERYTHING.context.counters.counts["failed"]


@pytest.mark.parametrize("secret", [one for one in SAMPLES if one[0] in {"jwt", "assignment", "github_token"}][:4])
def test_a_secret_far_behind_is_found(secret):
    """The whole of a long text is looked at."""
    _, value, before, behind = secret
    event = said("ordinary words " * 70_000 + before + value + behind)
    MASKING.process([event])
    assert value not in event.description
    assert len(event.description) > 1_000_000


def test_a_title_that_cuts_a_secret_off_shows_no_part_of_it():
    """A beginning too short to be recognised by itself goes too."""
    token = "gh" + "p_" + "Ab1" * 12
    text = "x" * 190 + " " + token + " end"
    for start in ("", "\n"):
        event = said(start + text, text[:200])
        MASKING.process([event])
        assert event.description == start + "x" * 190 + " **** end"
        assert event.title == "x" * 190 + " ****"


def test_what_a_secret_hid_is_found_behind_it():
    """A secret that touches another, and two numbers in a row, are all found."""
    key = "AK" + "IA" + "ABCDEFGH23456789"
    event = said(f"{key}hvs.{'aB3dE5gH7jK9' * 2} {'4111 1111 1111 1111 ' * 3}")
    MASKING.process([event])
    assert event.description == "******** **** **** **** "
