"""The redaction processor: what it does with a secret, whose values it looks at, and what it tells of it."""

from __future__ import annotations

import logging
import re
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given

from tapio_otel.component import Kind
from tapio_otel.config.loader import load
from tapio_otel.config.problem import ConfigError
from tapio_otel.event import EntityReference, Origin, Severity, UnifiedEvent
from tapio_otel.processors.redaction import RedactionConfig, RedactionProcessor
from tapio_otel.processors.redaction.detectors import BUILTIN
from tapio_otel.processors.redaction.scanner import MOST_SECRETS
from tests.components import context
from tests.processors.redaction_samples import CARD, PASSWORD
from tests.strategies import events as any_events

TEXT = f"login password={PASSWORD} ok"
MASKED = "login password=**** ok"


def processor(**options):
    """Return the processor with these options."""
    return RedactionProcessor(context(Kind.PROCESSOR, "redaction"), RedactionConfig(**options))


def entry(text="ordinary", own=None, origin=None):
    """Return an event as a receiver makes it."""
    origin = origin or Origin(EntityReference("systemd_unit", "a.service"), {"pid": 1}, {"unit": "a.service"})
    return UnifiedEvent.of_origin(origin, "id", 1, 2, "journald", "log", Severity.INFO, text[:200], text, dict(own or {}))


def redacted(own, **options):
    """Return an event's own attributes after redaction with these options."""
    event = entry(own=own)
    processor(**options).process([event])
    return event.own


@given(any_events())
def test_an_event_without_secrets_is_not_changed(event):
    """It is equal to what it was, with the very same origin."""
    origin, before = event.shared, event.copy()
    subject = processor()
    assert subject.process([event]) == [event]
    if not subject.context.counters.counts:
        assert repr(event._key()) == repr(before._key())  # by text, as a NaN equals nothing
        assert event.shared is origin


def test_origins_are_redacted_once_and_shared_again():
    """All events of an origin get the same new one; its secrets are counted once, its caches are its own."""
    origin = Origin(EntityReference("systemd_unit", "a.service"), {"cmdline": "app --password x1y2", "pid": 1}, {"a": TEXT})
    origin.cache["encoder"] = "with the secret"
    subject = processor()
    batch = [entry(origin=origin) for _ in range(40)]
    subject.process(batch)
    subject.process(again := [entry(origin=origin), batch[0]])
    shared = {id(event.shared) for event in batch + again}
    assert len(shared) == 1
    clean = batch[0].shared
    assert clean is not origin
    assert (clean.attributes, clean.labels) == ({"cmdline": "app --password ****", "pid": 1}, {"a": MASKED})
    assert clean.entity is origin.entity
    assert "encoder" not in clean.cache
    assert origin.attributes["cmdline"] == "app --password x1y2"
    assert subject.context.counters.counts["redacted"] == 2


def test_two_processors_do_not_take_each_others_work_for_their_own():
    """What one has found clean, another with other detectors still looks at."""
    origin = Origin(attributes={"note": "mail bob@example.com"})
    event = entry(origin=origin)
    processor().process([event])
    assert event.shared is origin
    processor(detectors={"email": True}).process([event])
    assert event.shared.attributes == {"note": "mail ****"}


def test_what_a_normalizer_reads_later_is_redacted_too():
    """The journal's raw fields of an origin lose their secrets, though the attributes do not show them."""
    origin = Origin(attributes={"pid": 1}, record={"_CMDLINE": b"app --password x1y2", "_PID": b"1"})
    event = entry(origin=origin)
    processor().process([event])
    assert event.shared.record == {"_CMDLINE": b"app --password ****", "_PID": b"1"}


def test_only_the_events_with_secrets_change_in_a_batch():
    """One secret among many events is found, and the others stay as they are."""
    batch = [entry(TEXT if number == 20 else f"ordinary message {number}") for number in range(50)]
    processor().process(batch)
    assert [event.description for event in batch if "ordinary" not in event.description] == [MASKED]
    assert batch[20].title == MASKED


def test_a_title_of_its_own_is_redacted_alone():
    """A title that is no part of the description is looked at by itself."""
    event = entry()
    event.title = TEXT
    processor().process([event])
    assert (event.title, event.description) == (MASKED, "ordinary")


def test_equal_secrets_have_equal_hashes():
    """Hashes tell that two are the same; a salt makes others of them."""
    texts = [f"password={PASSWORD}", f'"password": "{PASSWORD}"', "password=other1"]
    plain = [redacted({"text": text}, action="hash")["text"] for text in texts]
    assert plain[0] == "password=****" + sha256(PASSWORD.encode()).hexdigest()[:16]
    assert plain[0][-16:] == plain[1][-17:-1] != plain[2][-16:]
    salted = redacted({"text": texts[0]}, action="hash", salt="pepper")["text"]
    assert salted.startswith("password=****")
    assert salted != plain[0]
    assert redacted({"text": texts[0]}, action="hash", salt="other")["text"] != salted


def test_dropping_removes_the_attribute_but_masks_a_message():
    """Attributes, elements and entries with a secret go; a message keeps its words."""
    event = entry(TEXT, {"a": TEXT, "b": ["x", TEXT], "c": {"d": TEXT, "e": 1}, "f": "stays"})
    processor(action="drop").process([event])
    assert (event.description, event.title) == (MASKED, MASKED)
    assert event.own == {"b": ["x"], "c": {"e": 1}, "f": "stays"}


def test_each_detector_may_have_an_action_of_its_own():
    """One masks, one hashes, one drops, one is off."""
    options = {
        "action": "drop",
        "detectors": {"assignment": "mask", "url_password": "hash", "credit_card": True, "own": "hash", "jwt": False},
        "patterns": {"own": "EMP-(?P<secret>[0-9]{6})"},
    }
    own = redacted({"a": TEXT, "b": f"x://u:{PASSWORD}@h", "c": f"card {CARD}", "d": "by EMP-123456"}, **options)
    assert own["a"] == MASKED
    assert own["b"] == f"x://u:****{sha256(PASSWORD.encode()).hexdigest()[:16]}@h"
    assert "c" not in own
    assert own["d"] == "by EMP-****" + sha256(b"123456").hexdigest()[:16]


def test_patterns_of_ones_own_are_found_by_their_name():
    """The group `secret` is replaced, without one the whole match; anchors mean the text's own ends."""
    subject = processor(
        patterns={
            "employee": "EMP-(?P<secret>[0-9]{6})",
            "badge": "badge é[0-9]+",
            "start": "^AB(?P<secret>C+)",
            "end": r"Z+\z",
        }
    )
    batch = [entry(text) for text in ("of EMP-123456 and EMP-654321", "badge é77!", "ABCCC", "x ABCCC", "last ZZZ", "ZZZ last")]
    subject.process(batch)
    assert [event.description for event in batch] == [
        *("of EMP-**** and EMP-****", "****!", "AB****", "x ABCCC", "last ****", "ZZZ last")
    ]
    counts = subject.context.counters.counts
    assert [counts[f"redacted:{name}"] for name in ("employee", "badge", "start", "end")] == [2, 1, 1, 1]


def test_an_anchored_pattern_is_found_in_the_middle_of_a_batch():
    """Looking at several events at once hides no beginning and no end."""
    batch = [entry("x"), entry("ABC"), entry("x"), entry("xyz")]
    processor(patterns={"start": "^A(?P<secret>B)", "end": "y(?P<secret>z)$"}).process(batch)
    assert [event.description for event in batch] == ["x", "A****C", "x", "xy****"]


def test_blocked_and_allowed_values():
    """What a blocked value matches goes, but not within what an allowed one matches."""
    own = redacted(
        {
            "a": "call mycompany.com or support.mycompany.com",
            "b": "password=guest1",
            "c": "password=other1",
            "password": "guest1",
        },
        blocked_values=["mycompany\\.com"],
        allowed_values=["support\\.mycompany\\.com", "guest1"],
    )
    assert own == {
        "a": "call **** or support.mycompany.com",
        "b": "password=guest1",
        "c": "password=****",
        "password": "guest1",
    }


def test_values_of_keys_called_like_secrets_are_redacted():
    """A key says what its value is, at any depth; what is no value stays."""
    own = {
        "password": "x1",
        "DB_PASSWORD": b"x2",
        "apiKey": 12345,
        "body": {"client_secret": "x3", "ok": "x4", "token": ["x5", {"a": "x6"}]},
        "token": None,
        "secret": "",
        "pwd": "/root",
        "access_token": "****",
        "tokens": "x7",
        "secretName": "tls",
    }
    assert redacted(own) == {
        **own,
        "password": "****",
        "DB_PASSWORD": b"****",
        "apiKey": "****",
        "body": {"client_secret": "****", "ok": "x4", "token": ["****", {"a": "x6"}]},
    }


def test_the_argument_after_an_option_is_redacted_in_a_list():
    """Arguments that are elements of a list are as one on a command line."""
    own = {"args": ["app", "--password", "x1", "--verbose", "-token", "x2", "--user", "bob"]}
    assert redacted(own) == {"args": ["app", "--password", "****", "--verbose", "-token", "****", "--user", "bob"]}


def test_arguments_in_a_list_are_read_as_one_command_line():
    """What only the program's name makes a secret is found in a list too; lists of bytes have options as well."""
    own = {
        "mysql": ["mysql", "-u", "root", f"-p{PASSWORD}"],
        "curl": ["/usr/bin/curl", "-u", f"bob:{PASSWORD}", "https://host/"],
        "redis": ["redis-cli", "-a", PASSWORD, "ping"],
        "bytes": [b"--password", PASSWORD.encode()],
        "deep": [["--token", [PASSWORD]]],
        "plain": ["mysql", "--port", "3306", "shop"],
    }
    assert redacted(own) == {
        "mysql": ["mysql", "-u", "root", "-p****"],
        "curl": ["/usr/bin/curl", "-u", "bob:****", "https://host/"],
        "redis": ["redis-cli", "-a", "****", "ping"],
        "bytes": [b"--password", b"****"],
        "deep": [["--token", ["****"]]],
        "plain": own["plain"],
    }
    assert redacted(own, action="drop")["mysql"] == ["mysql", "-u", "root"]


def test_null_bytes_between_arguments_are_blanks():
    """The command line as the kernel keeps it hides nothing, and its null bytes stay."""
    own = {"cmdline": b"app\0--password\0" + PASSWORD.encode() + b"\0-v", "text": f"mysql\0-p{PASSWORD}"}
    assert redacted(own) == {"cmdline": b"app\0--password\0****\0-v", "text": "mysql\0-p****"}


def test_a_name_beside_a_value_says_what_it_is():
    """Lists of variables and of headers have the name as a value of its own."""
    own = {
        "env": [{"name": "DB_PASSWORD", "value": PASSWORD}, {"name": "MODE", "value": "fast"}],
        "headers": [{"key": "Authorization", "value": PASSWORD}],
    }
    assert redacted(own) == {
        "env": [{"name": "DB_PASSWORD", "value": "****"}, {"name": "MODE", "value": "fast"}],
        "headers": [{"key": "Authorization", "value": "****"}],
    }


def test_headers_and_short_names_are_keys_of_secrets_too():
    """Captured headers and `pass` count, numbers of passes do not; keys may be bytes."""
    own = {
        "http.request.header.authorization": [PASSWORD],
        "Set-Cookie": PASSWORD,
        "dbPass": PASSWORD,
        "pass": PASSWORD,
        "body": {b"password": PASSWORD},
        "tests.pass": 12,
        "compass": "north",
        "bypass": "on",
    }
    assert redacted(own) == {
        **own,
        "http.request.header.authorization": ["****"],
        "Set-Cookie": "****",
        "dbPass": "****",
        "pass": "****",
        "body": {b"password": "****"},
    }


@pytest.mark.parametrize("action", ["mask", "hash"])
def test_the_rest_of_a_text_with_too_many_secrets_is_masked_as_one(action):
    """Behind the thousandth secret of a kind nobody looks for more: the rest goes, and is counted as such."""
    subject = processor(action=action)
    event = entry(f"password={PASSWORD} and " * 50_000)
    subject.process([event])
    parts = event.description.split(" and ")
    assert len(parts) == MOST_SECRETS + 1
    assert all(part.startswith("password=****") for part in parts[:-1])
    assert parts[-1] == "****"
    counts = subject.context.counters.counts
    assert (counts["redacted:assignment"], counts["redacted:rest"]) == (MOST_SECRETS, 1)
    once = event.copy()
    subject.process([event])
    assert event == once


def test_as_many_secrets_as_are_allowed_leave_the_rest_as_it_is():
    """The bound itself is not too many."""
    event = entry(f"password={PASSWORD} and " * MOST_SECRETS + "the end")
    processor().process([event])
    assert event.description == "password=**** and " * MOST_SECRETS + "the end"


def test_a_secret_that_lies_across_the_bound_goes_with_the_rest():
    """No part of it stays, whichever detector found it."""
    block = (
        "-----BEGIN "
        + "PRIVATE KEY-----\n"
        + f"{'aB3dE5gH7jK9' * 4}\npassword=x1y2z3\n" * 2000
        + "-----END "
        + "PRIVATE KEY-----"
    )
    event = entry("head " + block + " tail")
    processor().process([event])
    assert event.description in {"head -----BEGIN " + "PRIVATE KEY-----\n****", "head ****"}


@pytest.mark.parametrize(
    "piece", ["token: is ", "1753264800123456 ", "passwd: Authentication error, ", "Password: ", "mysql -p "]
)
def test_what_is_looked_at_in_a_text_is_bounded_too(piece):
    """Matches that are no secrets cost as much: of two long texts, the longer one has no more of them checked."""
    checked = [_checks_made(piece * (size // len(piece))) for size in (200_000, 400_000)]
    assert checked[1] <= checked[0] + 200


def _checks_made(text):
    """Count the calls of Python functions that redacting a text makes."""
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event == "call"

    event, subject = entry(text), processor()
    subject.process([entry("compiles")])
    sys.setprofile(count)
    try:
        subject.process([event])
    finally:
        sys.setprofile(None)
    return calls


def test_what_is_shared_is_not_changed_in_place():
    """Lists and maps that others may hold keep their content."""
    body = {"a": [TEXT]}
    event = entry(own={"body": body})
    processor().process([event])
    assert event.own == {"body": {"a": [MASKED]}}
    assert body == {"a": [TEXT]}


def test_bytes_stay_bytes_and_what_is_no_text_stays():
    """Bytes are looked at as they are, whatever they mean."""
    assert redacted({"raw": b"\xff\xfe password=" + PASSWORD.encode() + b" \x80"}) == {"raw": b"\xff\xfe password=**** \x80"}
    assert redacted({"raw": b"\xff\xfe\x00\x80 nothing"}) == {"raw": b"\xff\xfe\x00\x80 nothing"}


def test_half_a_surrogate_pair_hides_nothing():
    """Text that is no Unicode is redacted and otherwise kept."""
    event = entry(f"\ud800 password={PASSWORD} \udfff")
    processor().process([event])
    assert event.description == "\ud800 password=**** \udfff"


def test_numbers_are_looked_at_when_asked_for():
    """A card number that is no text is found with `redact_all_types`; other numbers stay numbers."""
    own = {"card": int(CARD), "n": 42, "f": 1.5, "flag": True}
    assert redacted(own) == own
    assert redacted(own, redact_all_types=True) == {**own, "card": "****"}


def test_ignored_keys_are_never_redacted():
    """Neither by name nor by pattern, nor where their key is called like a secret."""
    own = {"a": TEXT, "ab_x": TEXT, "token": "x1", "b": TEXT}
    options = {"ignored_keys": ["a", "token"], "ignored_key_patterns": ["^ab_"], "blocked_key_patterns": ["^a$"]}
    assert redacted(own, **options) == {**own, "b": MASKED}


def test_blocked_keys_lose_their_whole_value():
    """Whatever the value is; by `hash` and `drop` as well."""
    own = {"user.name": "bob", "user.id": 7, "user.tags": ["a"], "x": "y", "nothing": {"user.name": "bob"}}
    options = {"blocked_key_patterns": ["^user\\."]}
    assert redacted(own, **options) == {
        **{"user.name": "****", "user.id": "****", "user.tags": "****", "x": "y"},
        "nothing": {"user.name": "****"},
    }
    hashed = redacted(own, **options, detectors={"blocked_keys": "hash"})
    assert hashed["user.id"] == "****" + sha256(b"7").hexdigest()[:16]
    assert redacted(own, **options, action="drop") == {"x": "y", "nothing": {}}


def test_an_allow_list_keeps_what_is_named_and_what_names_the_resource():
    """Without `allow_all_keys` unknown keys go, command lines among them; kept values are still redacted."""
    origin = Origin(
        EntityReference("systemd_unit", "a.service"),
        {"pid": 1, "cmdline": "app", "exe": "/bin/app", "SYSLOG_IDENTIFIER": "app", "GID": 0},
        {"unit": "a.service", "team": "x"},
        {"note": "y"},
    )
    event = entry("ordinary", {"a": TEXT, "b": 1, "trace_flags": 1, "safe": TEXT}, origin)
    subject = processor(allow_all_keys=False, allowed_keys=["a", "team"], ignored_keys=["safe"])
    subject.process([event])
    assert event.own == {"a": MASKED, "trace_flags": 1, "safe": TEXT}
    assert event.shared.attributes == {"pid": 1, "exe": "/bin/app", "SYSLOG_IDENTIFIER": "app"}
    assert (event.shared.labels, event.shared.annotations) == ({"unit": "a.service", "team": "x"}, {})
    assert subject.context.counters.counts["redacted:allowed_keys"] == 4


def test_the_summary_names_keys_and_counts():
    """`debug` has keys and counts, `info` counts; the origin's and the event's own come together. Twice is once."""
    origin = Origin(attributes={"cmdline": "app --password x1", "gone": "x"})
    options = {"allow_all_keys": False, "allowed_keys": ["cmdline", "a"]}
    for summary, expected in (
        (
            "debug",
            {
                "redaction.masked.keys": "a,cmdline,description,title",
                "redaction.masked.count": 4,
                "redaction.redacted.keys": "b,gone",
                "redaction.redacted.count": 2,
            },
        ),
        ("info", {"redaction.masked.count": 4, "redaction.redacted.count": 2}),
        ("silent", {}),
    ):
        event = entry(TEXT, {"a": TEXT, "b": "x"}, Origin(attributes=origin.attributes))
        subject = processor(**options, summary=summary)
        subject.process([event])
        subject.process([event])
        told = {key: value for key, value in event.view().attributes.items() if key.startswith("redaction.")}
        assert told == expected


def test_ids_and_names_stay():
    """Ids, trace ids, types and entities are never looked at."""
    entity = EntityReference("pod", "password=x1", uid="token=x2", attributes={"image": "secret=x3"})
    event = UnifiedEvent("token=x1", 1, "test", entity=entity, trace_id="a" * 32, description=TEXT, labels={"a": TEXT})
    processor().process([event])
    assert (event.id, event.trace_id, event.entity) == ("token=x1", "a" * 32, entity)
    assert (event.description, event.labels) == (MASKED, {"a": MASKED})


def test_an_event_that_cannot_be_redacted_shows_nothing(caplog):
    """Title, description and attributes go; it is counted, and the exception's words appear nowhere."""

    class Hostile:
        def __str__(self):
            raise RuntimeError(f"cannot show {PASSWORD}")

    event = entry(TEXT, {"odd": Hostile()})
    number = entry(TEXT)
    number.title = 42
    broken = Origin(EntityReference("systemd_unit", "a.service"), {"odd": Hostile()})
    shared = entry("ordinary", {}, broken)
    subject = processor()
    with caplog.at_level(logging.DEBUG):
        subject.process([event, number, shared])
    for one in (event, number):
        assert (one.title, one.description, one.view().attributes) == ("****", "****", {})
    assert (shared.description, shared.shared.attributes, shared.entity.name) == ("ordinary", {}, "a.service")
    counts = subject.context.counters.counts
    assert (counts["failed"], counts["failed:RuntimeError"], counts["failed:TypeError"]) == (3, 2, 1)
    assert PASSWORD not in caplog.text + str(counts)


def test_what_is_nested_too_deep_is_masked():
    """Deeper than is exported, nobody looks; a list that holds itself comes to an end."""
    deep = TEXT
    for _ in range(100):
        deep = [deep]
    endless = []
    endless.append(endless)
    own = redacted({"deep": deep, "endless": endless})
    assert PASSWORD not in str(own)
    assert "****" in str(own["deep"])


def test_the_salt_is_shown_nowhere():
    """Neither the processor nor its options show it."""
    subject = processor(action="hash", salt="peppercorn")
    assert "peppercorn" not in repr(subject.config) + str(subject.config) + repr(vars(subject))


class _Registry:
    """Know the redaction processor, and nothing behind the other names."""

    def types(self, kind):
        return ["redaction"] if kind is Kind.PROCESSOR else ["any"]

    def find(self, kind, type):
        from tests.components import CollectingExporter, ListReceiver

        return {Kind.PROCESSOR: RedactionProcessor, Kind.RECEIVER: ListReceiver}.get(kind, CollectingExporter)


def problems(options):
    """Return what loading a configuration with these options, which stand in line 4, says."""
    text = (
        "receivers: {any: {}}\nexporters: {any: {}}\nprocessors:\n"
        f"  redaction: {options}\n"
        "service: {pipelines: {logs: {receivers: [any], processors: [redaction], exporters: [any]}}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load([("a.yaml", text)], [], _Registry(), {})
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("{patterns: {own: 'ab(c'}}", "a.yaml:4: processors.redaction.patterns.own: 'ab(c' is refused by RE2 at column 3"),
        ("{blocked_values: ['ok', 'a(?=b)']}", "a.yaml:4: processors.redaction.blocked_values[1]: 'a(?=b)' is refused"),
        ("{allowed_values: ['.*']}", "a.yaml:4: processors.redaction.allowed_values[0]: '.*' matches the empty text"),
        (
            "{detectors: {jwts: false}}",
            "a.yaml:4: processors.redaction.detectors: there is no detector 'jwts'; did you mean 'jwt'?",
        ),
        ("{patterns: {jwt: abc}}", "a.yaml:4: processors.redaction.patterns: 'jwt' is the name of a built-in detector"),
        ("{patterns: {A B: abc}}", "a.yaml:4: processors.redaction.patterns: 'A B' is no name for a detector"),
        ("{action: erase}", "a.yaml:4: processors.redaction.action: "),
    ],
)
def test_wrong_options_are_named_with_their_place(options, expected):
    """A message has file, line, path, what was found and what to do."""
    found = problems(options)
    assert any(expected in problem for problem in found), found


def test_the_documentation_lists_every_detector_in_order():
    """docs/redaction.md has a row for each, in the order of precedence, and names every option."""
    document = Path(__file__).parents[2].joinpath("docs/redaction.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \|", document, re.MULTILINE)
    names = [one.name for one in BUILTIN]
    assert rows[: len(names)] == names
    assert [option for option in RedactionConfig.model_fields if f"`{option}`" not in document] == []
