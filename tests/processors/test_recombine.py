"""recombine joins what belongs together, loses nothing, keeps each stream's order, and holds back no more than it must."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tapio_otel.component import Kind
from tapio_otel.event import EntityReference, Origin, Severity, UnifiedEvent
from tapio_otel.normalizers.journald import normalize
from tapio_otel.processors.recombine import RecombineConfig, RecombineProcessor
from tests import strategies as _profile  # noqa: F401 - sets the profile without a deadline
from tests.components import context
from tests.processors.test_recombine_forms import ORDINARY, STACKS, lines, made, origin_of

PYTHON = STACKS["python"]
JAVA = STACKS["java"]
UNFINISHED = PYTHON[:3]


def texts(events):
    """Return what the events say."""
    return [event.description for event in events]


class Clock:
    """Be a clock that the test turns."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def timed(**options):
    """Return a processor and its clock."""
    clock = Clock()
    surroundings = context(Kind.PROCESSOR, "recombine")
    return RecombineProcessor(surroundings, RecombineConfig.model_validate(options), clock), clock


def test_the_joined_event_is_the_first_line_that_tells_all():
    """Id, times, title and attributes are the first line's; lines, count and what only later lines have are added."""
    batch = lines(PYTHON, origin_of("shop"))
    batch[0].own["CODE_LINE"] = 1
    batch[2].own.update(CODE_LINE=2, truncated=["MESSAGE"])
    first = batch[0].copy()
    (joined,) = [*(subject := made()).process(batch), *subject.flush(final=True)]
    assert (joined.id, joined.timestamp, joined.observed, joined.title) == (
        *(first.id, first.timestamp, first.observed),
        "Traceback (most recent call last):",
    )
    assert joined.description == "\n".join(PYTHON)
    assert joined.shared is first.shared
    assert joined.own == {"CODE_LINE": 1, "truncated": ["MESSAGE"], "recombined": len(PYTHON)}


@pytest.mark.parametrize(
    ("priorities", "worst"),
    [
        ([b"6", b"3", b"4"], b"3"),
        ([b"", b"6", b"7"], b""),
        ([b"7", b"", b"7"], b""),
        ([b"5", b"6", None], b"5"),
        ([None, None, None], None),
        ([b"6", [b"7", b"2"], b"4"], [b"7", b"2"]),
        ([b"4", b"x", b"30"], b"4"),
    ],
)
def test_the_worst_priority_counts(priorities, worst):
    """A PRIORITY of none, or none that is one, counts as info; what no longer has a raw form keeps none."""
    batch = lines(PYTHON[:3], origin_of("shop"))
    for event, priority in zip(batch, priorities, strict=True):
        event.raw = priority
    (subject := made()).process(batch)
    assert subject.flush(final=True)[0].raw == worst


def test_the_worst_severity_counts_after_normalizing_too():
    """It may stand behind normalize, where the raw form is gone."""
    batch = lines(PYTHON[:3], origin_of("shop"))
    batch[1].raw = b"2"
    normalize(batch)
    (subject := made()).process(batch)
    (joined,) = subject.flush(final=True)
    assert (joined.severity, joined.raw, joined.description) == (Severity.CRITICAL, None, "\n".join(PYTHON[:3]))


def test_normalize_makes_of_it_what_it_makes_of_any_entry():
    """Severity from the worst priority, title from the first line, entity from the origin's record."""
    batch = lines(PYTHON, origin_of("shop"))
    batch[3].raw = b"3"
    passed = [*(subject := made()).process(batch), *subject.flush(final=True)]
    normalize(passed)
    assert [(one.severity, one.title) for one in passed] == [(Severity.ERROR, "Traceback (most recent call last):")]


def test_a_single_line_goes_on_as_it_came():
    """What began a stack that never came is the very event."""
    batch = lines(["fatal error: help", "bye"], origin_of("shop"))
    before = [event.copy() for event in batch]
    passed = made().process(batch)
    assert passed == before
    assert [id(one) for one in passed] == [id(one) for one in batch]


def test_a_batch_without_stacks_is_returned_as_it_is():
    """Also where a line looks as if it began one, and where a stack's lines come without their first."""
    for said in (ORDINARY, PYTHON[1:], ["no Err or Exception here", "PHP is nice", "SIGnal"]):
        batch = lines(said, origin_of("shop"))
        assert (subject := made()).process(batch) is batch
        assert subject.held_from is None


def test_a_stack_over_many_batches_is_held_from_its_first():
    """Each line comes in a batch of its own, other streams' lines pass meanwhile."""
    subject, other = made(), origin_of("other")
    batches = lines(PYTHON, origin_of("shop"))
    for serial, event in enumerate(batches, 7):
        subject.serial = serial
        assert texts(subject.process([event, *lines([f"tick {serial}"], other, start=serial)])) == [f"tick {serial}"]
        assert subject.held_from == 7
    subject.serial = 99
    assert texts(subject.process(lines(["bye"], origin_of("shop")))) == ["\n".join(PYTHON), "bye"]
    assert subject.held_from is None


def test_lines_given_up_are_held_from_the_batch_they_came_in():
    """Where the first line goes on alone, the next one may hold a batch of its own."""
    subject = made()
    for serial, said in enumerate(["/srv/a.js:4", "Traceback (most recent call last):", "  File"], 1):
        subject.serial = serial
        passed = subject.process(lines([said], origin_of("shop")))
    assert (texts(passed), subject.held_from) == (["/srv/a.js:4"], 2)


def test_a_silent_stack_is_let_go_after_the_timeout():
    """The time counts from the last line; a flush before it gives nothing."""
    subject, clock = timed(flush_timeout="2s")
    assert subject.flush_interval == 1.0
    subject.process(lines(UNFINISHED[:1], origin_of("shop")))
    clock.now += 1.9
    assert subject.flush(final=False) == []
    subject.process(lines(UNFINISHED[1:], origin_of("shop")))
    clock.now += 1.9
    assert subject.flush(final=False) == []
    clock.now += 0.2
    assert texts(subject.flush(final=False)) == ["\n".join(UNFINISHED)]
    assert (subject.held_from, subject.flush(final=True)) == (None, [])


def test_the_end_lets_everything_go():
    """Also lines on trial, each looked at once more."""
    subject = made()
    subject.process(lines(["Error: no", "one", *PYTHON[:2]], origin_of("a")) + lines(JAVA, origin_of("b")))
    assert sorted(texts(subject.flush(final=True))) == sorted(["Error: no", "one", "\n".join(PYTHON[:2]), "\n".join(JAVA)])
    assert (subject.held_from, subject.flush(final=True)) == (None, [])


def test_streams_are_told_apart_by_process_and_not_by_priority():
    """Two processes of one service fail at once, in lines of changing priority."""
    one, two = origin_of("shop"), origin_of("shop")
    two.record = {**two.record, "_PID": b"8"}
    batch = []
    for index, pair in enumerate(zip(lines(PYTHON, one), lines(PYTHON, two), strict=True)):
        for event in pair:
            event.raw = b"%d" % (3 + index % 4)
            batch.append(event)
    subject = made()
    assert texts(subject.process(batch)) == []
    assert texts(subject.flush(final=True)) == ["\n".join(PYTHON)] * 2


def test_a_stream_survives_a_change_of_its_origin():
    """The receiver forgets an origin, or a thread has another name: the writer is the same."""
    first, later = origin_of("shop"), origin_of("shop")
    later.record = {**later.record, "_COMM": b"worker", "_CAP_EFFECTIVE": b"0"}
    subject = made()
    subject.process(lines(PYTHON[:2], first) + lines(PYTHON[2:], later, start=2))
    assert texts(subject.flush(final=True)) == ["\n".join(PYTHON)]


def plain(said, **attributes):
    """Return events of a plugin, with attributes of their own."""
    entity = EntityReference("pod", "p", uid="u1")
    return [
        UnifiedEvent(str(n), n + 1, "acme", entity=entity, description=text, attributes=dict(attributes))
        for n, text in enumerate(said)
    ]


def test_streams_of_a_plugin_are_told_apart_as_well():
    """Detached events by entity, identifier and pid; those of an origin by that, and by pid or stream of their own."""
    subject = made()
    mixed = [event for pair in zip(plain(PYTHON, pid=1), plain(PYTHON, pid=2), strict=True) for event in pair]
    subject.process(mixed)
    assert texts(subject.flush(final=True)) == ["\n".join(PYTHON)] * 2
    shared, batch = Origin(attributes={"SYSLOG_IDENTIFIER": "x"}), []
    for number, said in enumerate(PYTHON):
        for stream in ("a", "b"):
            own = {"_STREAM_ID": stream}
            batch.append(
                UnifiedEvent.of_origin(shared, f"{number}{stream}", 1, 1, "acme", "log", Severity.INFO, said, said, own)
            )
    subject.process(batch)
    assert texts(subject.flush(final=True)) == ["\n".join(PYTHON)] * 2
    origins = Origin(), Origin()
    subject.process(
        [UnifiedEvent.of_origin(o, "i", 1, 1, "acme", "log", Severity.INFO, "", t, {}) for t in PYTHON for o in origins]
    )
    assert texts(subject.flush(final=True)) == ["\n".join(PYTHON)] * 2


@pytest.mark.parametrize("spoil", ["type", "text", "repeated"])
def test_what_is_no_line_ends_the_stack_before_it(spoil):
    """An event of another type, a text of several lines, a repeated message: none is joined, none overtakes."""
    batch = lines([*UNFINISHED, "  looks like a frame", "  really"], origin_of("shop"))
    odd = batch[3]
    if spoil == "type":
        odd.type = "oom_kill"
    elif spoil == "text":
        odd.description += "\n  more"
    else:
        odd.own["MESSAGE"] = ["  looks", "  so"]
    said = odd.description
    assert texts(made().process(batch)) == ["\n".join(UNFINISHED), said, "  really"]


def test_bytes_of_lines_that_are_no_text_are_joined_as_well():
    """The joined event still tells the bytes of the whole message."""
    batch = lines(PYTHON, origin_of("shop"))
    batch[-1].description, batch[-1].own["MESSAGE"] = "ValueError: caf\ufffd", b"ValueError: caf\xe9"
    (subject := made()).process(batch)
    (joined,) = subject.flush(final=True)
    assert joined.get("MESSAGE") == "\n".join(PYTHON[:-1]).encode() + b"\nValueError: caf\xe9"
    assert joined.description.endswith("caf\ufffd")


def test_beyond_the_most_lines_another_event_goes_on():
    """Nothing is left out: every part but the last is full, and the last line stands alone if it must."""
    said = [PYTHON[0], *(f"  frame {number}" for number in range(9)), "KeyError: 1"]
    subject = made(max_lines=5)
    passed = subject.process(lines([*said, "bye"], origin_of("shop")))
    assert texts(passed) == ["\n".join(said[:5]), "\n".join(said[5:10]), said[10], "bye"]
    assert [event.get("recombined") for event in passed] == [5, 5, None, None]
    assert subject.context.counters.counts["recombined"] == 8


def test_lines_on_trial_at_the_limit_are_given_up():
    """What only might belong to a stack is not joined because there is no room to find out."""
    said = ["java.lang.IllegalStateException: x", "one", "two", "three"]
    passed = (subject := made(max_lines=3)).process(lines(said, origin_of("shop")))
    assert texts([*passed, *subject.flush(final=True)]) == said


def test_beyond_the_most_bytes_another_event_goes_on():
    """Bytes count, not characters; a line that is too long by itself stands alone."""
    said = [PYTHON[0], "  " + "é" * 30, "  x" * 10, "  " + "y" * 500, "  z"]
    passed = made(max_size="100").process(lines([*said, "good bye"], origin_of("shop")))
    assert texts(passed) == ["\n".join(said[:2]), said[2], said[3], said[4], "good bye"]
    passed = made(max_size="1KiB").process(lines([*said, "good bye"], origin_of("shop")))
    assert texts(passed) == ["\n".join(said), "good bye"]


def test_the_oldest_stack_makes_room_for_another():
    """So many streams at once and no more are remembered."""
    subject = made(max_groups=2)
    passed = []
    for name in "abc":
        passed += subject.process(lines([PYTHON[0], f"  of {name}"], origin_of(name)))
    assert texts(passed) == [f"{PYTHON[0]}\n  of a"]
    assert len(subject.flush(final=True)) == 2
    subject = made(max_groups=1)
    passed = subject.process(lines(["/a.js:1", "Error: x", "Error: y"], origin_of("a")) + lines(PYTHON, origin_of("b")))
    assert texts(passed + subject.flush(final=True)) == ["/a.js:1", "Error: x", "Error: y", "\n".join(PYTHON)]


def test_only_a_few_lines_are_on_trial():
    """A program that indents everything it says is not held for long, and each line is looked at a few times only."""
    said = [f"  x.y.ZException: {number}" for number in range(100)]
    subject, held = made(), 0
    passed = []
    for event in lines(said, origin_of("shop")):
        passed += subject.process([event])
        held = max(held, len(said) - len(passed) if len(passed) < 100 else 0)
    assert len(passed) > 80
    assert texts(passed + subject.flush(final=True)) == said


def test_a_text_that_is_no_unicode_does_no_harm():
    """A plugin's lone surrogate neither begins nor continues anything."""
    said = ["Error: \ud800", PYTHON[0], "  \udfff"]
    subject = made()
    assert texts(subject.process(lines(said, origin_of("shop"))) + subject.flush(final=True)) == said


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"rules": [{"name": "x", "first": "a(b", "next": "c"}]},
            r"rules.0.first\n.*'a\(b' is no RE2 regular expression: missing \)",
        ),
        (
            {"rules": [{"name": "x", "first": "a", "next": "(?=b)"}]},
            r"rules.0.next\n.*is no RE2 regular expression: invalid perl op",
        ),
        ({"rules": [{"name": "x", "first": "a"}]}, "the rule 'x' never ends: give next, until, or both"),
        ({"rules": [{"name": "No Name", "first": "a", "until": "b"}]}, r"rules.0.name"),
        ({"languages": ["cobol"]}, r"languages.0\n.*'python', 'go'"),
        ({"flush_timeout": 0}, "flush_timeout"),
        ({"max_lines": 1}, "max_lines"),
    ],
)
def test_options_are_refused_with_reasons(options, expected):
    """Each error names the option and what is wrong with it."""
    with pytest.raises(ValidationError, match=f"(?i){expected}"):
        RecombineConfig.model_validate(options)


def test_rules_are_told_by_the_beginning_of_their_lines_where_they_have_one():
    """A first line with a fixed beginning leaves all other lines as cheap as before; alternatives have none."""

    def looks_at_every_line(first):
        return made(rules=[{"name": "x", "first": first, "until": "end"}])._forms.every_line

    assert not looks_at_every_line("^=CRASH")
    assert not looks_at_every_line("^abc*d")
    assert [looks_at_every_line(first) for first in ("^a|^b", "^a", "^a?bc", "(?i)^abc", "abc", "^ab|cd", r"^\d\d")] == [
        True
    ] * 7
    for first, said in (("^abc*d", "abccd"), ("^abc*d", "abd"), ("^ab*c", "ac"), ("(?i)^abc", "ABC"), ("^ab{0,1}c", "ac")):
        subject = made(rules=[{"name": "x", "first": first, "until": "^end"}])
        assert texts(subject.process(lines([said, "in", "end"], origin_of("shop")))) == [f"{said}\nin\nend"]


# --- whatever comes, in whatever batches ---

KINDS = [name for name in STACKS if not name.startswith("kernel")]
stretches = st.lists(
    st.one_of(st.sampled_from(KINDS).map(STACKS.get), st.lists(st.sampled_from(ORDINARY), max_size=3)), max_size=6
)
torn = stretches.map(lambda parts: [line for part in parts for line in part])
shuffled = st.builds(
    lambda told, seed, share: [line for line in told if random.Random(f"{seed}{line}").random() > share],
    torn,
    st.integers(0, 99),
    st.sampled_from([0.0, 0.0, 0.2]),
)


@st.composite
def interleaved(draw):
    """Draw lines of up to three streams, mixed, as events."""
    waiting = [lines(draw(shuffled), origin_of(f"s{number}"), start=1000 * number) for number in range(draw(st.integers(1, 3)))]
    mixed = []
    choose = random.Random(draw(st.integers(0, 1 << 16)))
    while any(waiting):
        queue = choose.choice([one for one in waiting if one])
        for _ in range(min(len(queue), choose.randint(1, 9))):
            mixed.append(queue.pop(0))
    return mixed


def cut(events, sizes):
    """Return the events in batches of these sizes, over and over."""
    batches, start, turn = [], 0, 0
    while start < len(events):
        size = sizes[turn % len(sizes)]
        batches.append([event.copy() for event in events[start : start + size]])
        start, turn = start + size, turn + 1
    return batches


def run(batches, **options):
    """Return what becomes of the batches, and the processor."""
    subject = made(**options)
    passed = []
    for serial, batch in enumerate(batches, 1):
        subject.serial = serial
        passed += subject.process(batch)
    return passed + subject.flush(final=True), subject


def by_stream(events):
    """Return the lines of each stream, in order."""
    told = defaultdict(list)
    for event in events:
        told[event.get("SYSLOG_IDENTIFIER")] += event.description.split("\n")
    return told


limits = st.fixed_dictionaries(
    {
        "max_lines": st.sampled_from([2, 3, 500]),
        "max_groups": st.sampled_from([1, 2, 1024]),
        "max_size": st.sampled_from([60, 1 << 18]),
    }
)


@given(interleaved(), st.lists(st.integers(1, 12), min_size=1, max_size=5), limits)
def test_no_line_is_lost_put_twice_or_moved_within_its_stream(events, sizes, options):
    """All lines that came in go out, each stream's in order, and every one is counted."""
    received = len(events)
    passed, subject = run(cut(events, sizes), **options)
    assert by_stream(passed) == by_stream(events)
    assert received == len(passed) + subject.context.counters.counts["recombined"]
    assert sum(event.get("recombined", 1) for event in passed) == received
    assert subject.held_from is None


@given(interleaved(), st.lists(st.integers(1, 12), min_size=1, max_size=5), limits)
def test_how_lines_are_spread_over_batches_makes_no_difference(events, sizes, options):
    """The same events come out, in the same order."""
    whole, _ = run(cut(events, [max(len(events), 1)]), **options)
    parts, _ = run(cut(events, sizes), **options)
    assert parts == whole


@given(interleaved(), st.lists(st.integers(1, 12), min_size=1, max_size=5))
def test_held_from_is_the_batch_of_the_oldest_line_that_is_held(events, sizes):
    """Nothing that was not passed on is older than what is told."""
    subject, missing = made(), Counter()
    came: list[tuple[int, str, str]] = []
    for serial, batch in enumerate(cut(events, sizes), 1):
        subject.serial = serial
        came += [(serial, event.get("SYSLOG_IDENTIFIER"), event.description) for event in batch]
        for event in subject.process(batch):
            missing.update((event.get("SYSLOG_IDENTIFIER"), line) for line in event.description.split("\n"))
        gone, oldest = missing.copy(), None
        for number, *what in came:
            if gone[tuple(what)]:
                gone[tuple(what)] -= 1
            elif oldest is None:
                oldest = number
        assert subject.held_from == oldest
