"""The normalize processor reads texts: patterns first, then classifiers, and what was declared is not lowered."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tapio_otel.classification import Classification, Classifier
from tapio_otel.component import Kind
from tapio_otel.config.problem import ConfigError
from tapio_otel.entity import EntityReference
from tapio_otel.event import Origin, Severity, UnifiedEvent
from tapio_otel.processors.normalize import NormalizeConfig, NormalizeProcessor
from tests.components import context

NODE = EntityReference("node", "n1", uid="m1")
LIBRARY = """
patterns:
  - name: kernel_oom_kill
    pattern: 'Out of memory: Killed process (?P<pid>\\d+) \\((?P<process_name>[^)]+)\\)'
    event_type: oom_kill
    severity: critical
    category: memory
    extract: {pid: int}
    entity: {process: pid, name: process_name}
    title: 'OOM kill: {process_name} (PID {pid})'
  - name: chatter
    pattern: 'polling (?P<peer>\\S+)'
    event_type: poll
    severity: debug
  - name: kernel_only
    pattern: 'link is down'
    event_type: link
    severity: error
    fields: {transport: kernel}
"""
OOM = "Out of memory: Killed process 4242 (java) total-vm:1kB"


def processor(tmp_path: Path, offered: dict[str, Classifier] | None = None, **options: object) -> NormalizeProcessor:
    """Return the processor with the library above; `.reports` collects what it says of its health."""
    path = tmp_path / "patterns.yaml"
    path.write_text(dedent(LIBRARY))
    surroundings = context(Kind.PROCESSOR, "normalize", {"classifiers": offered or {}})
    reports: list[str | None] = []
    surroundings.report = reports.append
    made = NormalizeProcessor(surroundings, NormalizeConfig(**{"patterns": [str(path)], **options}))
    made.reports = reports
    return made


def event(text: str, severity: Severity = Severity.INFO, record: dict[str, bytes] | None = None, **own: object) -> UnifiedEvent:
    """Return a log event of an origin with these journal fields."""
    origin = Origin(NODE, {"pid": 900}, record=record or {"_TRANSPORT": b"syslog"})
    return UnifiedEvent.of_origin(origin, "id", 1, 1, "test", "log", severity, text[:200], text, own)


def classified(subject: NormalizeProcessor, *events: UnifiedEvent) -> UnifiedEvent:
    """Return the first of the events after processing them."""
    assert subject.process(list(events)) == list(events)
    return events[0]


def test_a_pattern_says_what_a_text_means(tmp_path):
    """Type, severity, title, entity and attributes; the text stays."""
    found = classified(processor(tmp_path), event(OOM, record={"_TRANSPORT": b"kernel", "_BOOT_ID": b"b1"}))
    assert (found.type, found.severity, found.title) == ("oom_kill", Severity.CRITICAL, "OOM kill: java (PID 4242)")
    assert found.description == OOM
    assert found.entity == EntityReference("process", "java", uid="process-4242-b1", parent=NODE)
    assert found.attributes == {
        "pid": 900,
        "subject_pid": 4242,
        "process_name": "java",
        "pattern": "kernel_oom_kill",
        "category": "memory",
    }


def test_an_attribute_that_says_the_same_is_not_repeated(tmp_path):
    """A number and its text are the same."""
    found = classified(processor(tmp_path), event(OOM, pid="4242"))
    assert found.get("pid") == "4242"
    assert "subject_pid" not in found.attributes


def test_a_text_that_nobody_knows_stays_as_it_is(tmp_path):
    """And keeps its shared origin."""
    plain = event("all is well", Severity.WARNING)
    origin = plain.shared
    found = classified(processor(tmp_path), plain)
    assert (found.type, found.severity, found.shared, found.own) == ("log", Severity.WARNING, origin, {})


def test_only_events_of_type_log_are_read(tmp_path):
    """What a receiver knows needs no guess."""
    known = event(OOM)
    known.type = "k8s_event"
    assert classified(processor(tmp_path), known).get("pattern") is None


def test_a_severity_is_raised_and_never_lowered(tmp_path):
    """The writer may know of worse."""
    subject = processor(tmp_path)
    assert classified(subject, event(OOM, Severity.ALERT)).severity == Severity.ALERT
    assert classified(subject, event("polling a", Severity.INFO)).severity == Severity.INFO
    assert classified(subject, event("polling a", Severity.WARNING)).severity == Severity.WARNING


@pytest.mark.parametrize("record", [{"_TRANSPORT": b"stdout"}, {"other": b"field"}])
def test_debug_is_believed_where_nothing_was_declared(tmp_path, record):
    """The journal takes standard output for info; without journal fields info means nothing either."""
    subject = processor(tmp_path)
    assert classified(subject, event("polling a", record=record)).severity == Severity.DEBUG
    assert classified(subject, event("polling a", Severity.NOTICE, record)).severity == Severity.NOTICE


def test_conditions_on_fields_are_asked(tmp_path):
    """The same text by another writer means nothing."""
    subject = processor(tmp_path)
    assert classified(subject, event("link is down", record={"_TRANSPORT": b"kernel"})).type == "link"
    assert classified(subject, event("link is down", record={"_TRANSPORT": b"stdout"})).type == "log"


def says(**said: object) -> Classifier:
    """Return a classifier that says this of every text."""
    return Classifier(lambda _text, _event: Classification(**said))


def test_classifiers_are_asked_where_no_pattern_decides(tmp_path):
    """What they say is taken, but for what the event says of itself."""
    one = says(severity=Severity.ERROR, type="told", category="c", title="short", attributes={"pid": 1, "logger": "l"})
    found = classified(processor(tmp_path, {"one": one}), event("hello"))
    assert (found.type, found.severity, found.title) == ("told", Severity.ERROR, "short")
    assert found.attributes == {"pid": 900, "logger": "l", "category": "c", "classifier": "one"}
    assert classified(processor(tmp_path, {"one": one}), event(OOM)).get("classifier") is None


def test_triggered_classifiers_come_before_those_without_a_trigger(tmp_path):
    """And within each in the order of the chain; one that says nothing leaves it to the next."""
    nothing = Classifier(lambda _text, _event: None, "b")
    chain = {
        "always": says(),
        "nothing": nothing,
        "late": Classifier(says().classify, "b"),
        "early": Classifier(says().classify, "a"),
    }
    subject = processor(tmp_path, chain)
    assert [classified(subject, event(text)).get("classifier") for text in ("a b", "a", "b", "c")] == [
        *("late", "early", "late", "always")
    ]


def test_the_chain_can_be_chosen(tmp_path):
    """By name and order; none at all is a choice too."""
    chain = {"one": says(), "two": says()}
    assert classified(processor(tmp_path, chain, classifiers=["two", "one"]), event("x")).get("classifier") == "two"
    assert classified(processor(tmp_path, chain, classifiers=[]), event("x")).get("classifier") is None


def test_normalizing_twice_changes_nothing(tmp_path):
    """Neither what a pattern nor what a classifier said is said again."""
    asked = []
    counting = Classifier(lambda text, _event: asked.append(text) or Classification(severity=Severity.ERROR))
    subject = processor(tmp_path, {"counting": counting})
    first = [event(OOM), event("hello"), event("polling a")]
    subject.process(first)
    before = [one.copy() for one in first]
    assert subject.process(first) == before
    assert asked == ["hello"]


def test_a_classifier_that_fails_is_counted_and_reported_once(tmp_path):
    """The next one is asked; when all goes well again, that is reported too."""

    def fail(text, _event):
        if "bad" in text:
            raise KeyError("no such field")

    subject = processor(tmp_path, {"failing": Classifier(fail), "next": says(severity=Severity.ERROR)})
    found = classified(subject, event("bad"), event("bad"))
    assert (found.get("classifier"), found.severity) == ("next", Severity.ERROR)
    counts = subject.context.counters.counts
    assert (counts["failed"], counts["failed:KeyError"], counts["failed:failing"]) == (2, 2, 2)
    assert len(subject.reports) == 1
    assert "the classifier 'failing' fails: KeyError" in subject.reports[0]
    subject.process([event("good")])
    assert subject.reports[1:] == [None]


@pytest.mark.parametrize("said", ["error", (Severity.ERROR, "", "", "", {}), {"severity": "error"}, Severity.ERROR])
def test_a_classifier_that_answers_with_something_else_is_reported_and_the_next_one_asked(tmp_path, said):
    """The report tells what it answered and what was expected; nothing of it is taken."""
    odd = Classifier(lambda _text, _event: said)
    subject = processor(tmp_path, {"odd": odd, "next": says(severity=Severity.WARNING)})
    found = classified(subject, event("hello"))
    assert (found.type, found.severity, found.attributes) == ("log", Severity.WARNING, {"pid": 900, "classifier": "next"})
    assert "the classifier 'odd' fails: TypeError: returned " in subject.reports[0]
    assert "expected a tapio_otel.Classification or None" in subject.reports[0]


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (Classifier("json"), "classifiers: `classify` of the classifier 'broken' is 'json', expected a function"),
        (Classifier(len, b"a"), "classifiers: the trigger of the classifier 'broken' is b'a', expected an expression"),
        (Classifier(len, None), "classifiers: the trigger of the classifier 'broken' is None, expected an expression"),
        (Classifier(len, "a("), "classifiers: the trigger of the classifier 'broken' is refused by RE2 at column 2"),
    ],
)
def test_a_classifier_that_cannot_be_asked_is_told_before_the_start(tmp_path, broken, told):
    """By its name, with what was found and what was expected."""
    with pytest.raises(ConfigError) as raised:
        processor(tmp_path, {"broken": broken})
    assert [str(problem)[: len(told)] for problem in raised.value.problems] == [told]


def test_what_is_added_to_an_event_of_its_own_is_left_out_where_it_is_there(tmp_path):
    """Also for an event that shares nothing with others; an attribute without a value counts as missing."""
    alone = event("hello", logger=None, peer="p")
    alone.detach()
    found = classified(processor(tmp_path, {"one": says(attributes={"pid": 1, "logger": "l", "peer": "q"})}), alone)
    assert found.attributes == {"pid": 900, "logger": "l", "peer": "p", "classifier": "one"}


def test_what_was_classified_is_counted(tmp_path):
    """By category, or by classifier."""
    subject = processor(tmp_path, {"one": Classifier(says().classify, "hello")})
    subject.process([event(OOM), event(OOM), event("polling a"), event("hello"), event("nothing")])
    counts = subject.context.counters.counts
    assert (counts["classified"], counts["classified:memory"], counts["classified:none"], counts["classified:one"]) == (
        4,
        2,
        1,
        1,
    )


def test_a_classifier_gets_the_beginning_of_a_long_text(tmp_path):
    """16 KiB of it, and the event with all of it."""
    seen = []
    subject = processor(tmp_path, {"one": Classifier(lambda text, event: seen.append((len(text), len(event.description))))})
    subject.process([event("x" * 1_000_000)])
    assert seen == [(16384, 1_000_000)]


def test_everything_that_is_wrong_is_raised_at_once(tmp_path):
    """Pattern files, names of classifiers, and a plugin's trigger."""
    with pytest.raises(ConfigError) as raised:
        processor(
            tmp_path,
            {"json": says(), "broken": Classifier(says().classify, "a(?=b)")},
            patterns=["/nonexistent/a.yaml"],
            classifiers=["jsn", "broken"],
        )
    told = [str(problem) for problem in raised.value.problems]
    assert len(told) == 3
    assert told[0].startswith("patterns[0]: '/nonexistent/a.yaml' is none of builtin, plugins, and there is no such file")
    assert told[1] == "classifiers[0]: there is no classifier 'jsn'; did you mean 'json'?"
    assert told[2].startswith("classifiers: the trigger of the classifier 'broken' is refused by RE2 at column 2")


def test_it_is_told_why_a_pattern_was_chosen(tmp_path):
    """For authors: by rank, with the reason of each."""
    subject = processor(tmp_path, {"always": says()})
    told = subject.explain(event(f"{OOM} polling a, link is down", record={"_TRANSPORT": b"stdout"}))
    assert told == [
        {"pattern": "kernel_only", "chosen": False, "reason": "asks for another writer: transport kernel"},
        {"pattern": "kernel_oom_kill", "chosen": True, "reason": "ranks first"},
        {"pattern": "chatter", "chosen": False, "reason": "ranks after kernel_oom_kill"},
        {"classifier": "always", "chosen": False, "reason": "comes after kernel_oom_kill, which decides"},
    ]


def test_it_is_told_which_classifier_decided(tmp_path):
    """Each is asked in its order, until one understands the text."""

    def fails(_text, _event):
        raise ValueError("no")

    chain = {"none": Classifier(lambda _text, _event: None), "bad": Classifier(fails), "one": says(), "two": says()}
    told = processor(tmp_path, chain, patterns=[]).explain(event("hello"))
    assert [(row["classifier"], row["chosen"], row["reason"]) for row in told] == [
        ("none", False, "does not understand it"),
        ("bad", False, "fails: ValueError: no"),
        ("one", True, "the first that understands it"),
        ("two", False, "comes after one, which decides"),
    ]


@pytest.mark.parametrize("wrong", [{"description": None}, {"description": 3}, {"description": OOM, "entity": "java"}])
def test_an_event_that_is_none_is_passed_on_and_counted(tmp_path, wrong):
    """What a plugin made wrongly costs neither its own event nor that of others."""
    subject = processor(tmp_path)
    bad = UnifiedEvent("id", 1, "journald", **{"description": "x", **wrong})
    passed = subject.process([event(OOM), bad, event(OOM)])
    assert len(passed) == 3 and [one.type for one in (passed[0], passed[2])] == ["oom_kill", "oom_kill"]
    assert subject.context.counters.counts["failed"] >= 1


def test_examples_are_not_run_until_asked(tmp_path):
    """Running the agent needs none of them; validating does."""
    path = tmp_path / "own.yaml"
    path.write_text("patterns: [{name: a, pattern: abc, event_type: a, severity: info, examples: [xyz]}]")
    told = [str(problem) for problem in processor(tmp_path, patterns=[str(path)]).check()]
    assert told == [f"{path}:1: a.examples[0]: 'xyz' does not match; correct the expression or the example"]


def test_a_structure_around_a_known_text_adds_what_it_says_by_name(tmp_path):
    """The pattern decides on type and title; a worse severity and other attributes are the structure's."""
    inner = Classification(Severity.EMERGENCY, "other", "other", "other", {"logger": "kern", "pid": 1})
    wrong, form = (Classifier(lambda _t, _e, told=told: told, "Out", structured=True) for told in (1, inner))
    subject = processor(tmp_path, {"wrong": wrong, "form": form, "late": says()})
    found = classified(subject, event(OOM))
    assert (found.type, found.severity, found.title) == ("oom_kill", Severity.EMERGENCY, "OOM kill: java (PID 4242)")
    assert (found.attributes["logger"], found.attributes["pid"], found.get("classifier")) == ("kern", 900, None)
    assert "classifier 'wrong' fails" in str(subject.reports[0])


def test_a_structure_lowers_no_severity_and_titles_what_has_no_title(tmp_path):
    """What the pattern found stays as bad as it is."""
    chain = {"form": Classifier(lambda _t, _e: Classification(Severity.DEBUG, title="told"), "down", structured=True)}
    found = classified(processor(tmp_path, chain), event("link is down", record={"_TRANSPORT": b"kernel"}))
    assert (found.type, found.severity, found.title) == ("link", Severity.ERROR, "told")
