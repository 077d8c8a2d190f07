"""Conditions: what they mean, what they refuse, and that no text and no event makes them fail."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tapio_otel.conditions import Condition, ConditionError
from tapio_otel.conditions.analysis import references
from tapio_otel.conditions.engine import engine
from tapio_otel.conditions.syntax import tokens
from tapio_otel.conditions.vocabulary import ADDED, CONSTANTS, FUNCTIONS, MACROS, METHODS, VARIABLES
from tapio_otel.event import EntityReference, Origin, Severity, UnifiedEvent
from tests.strategies import events

DOCUMENT = Path(__file__).parents[1] / "docs/conditions.md"
NODE = EntityReference("node", "n1", uid="m1")
POD = EntityReference("pod", "web-0", "shop", "u1", NODE, {"qos": "burstable"})
SECOND = 1_000_000_000
NOON = 1_769_860_800 * SECOND  # 2026-01-31T12:00:00Z, a Saturday


def event(own=None, **fields):
    """Return an event as a receiver makes it: sharing an origin with attributes and labels."""
    attributes = {"unit": "cron.service", "pid": 42, "http.status": 503, "ratio": 0.5, "tags": ["a", "b"], "ok": True}
    origin = Origin(POD, attributes, {"app": "web", "team": "x"}, {"note": "n"})
    made = UnifiedEvent.of_origin(
        *(origin, "id1", NOON + 1_500_000, NOON, "journald", "log", Severity.WARNING, "GET /Health", "GET /Health took 12ms"),
        {"pattern": "slow"} if own is None else own,
    )
    made.trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def matches(text, subject=None):
    """Return what a condition says of an event, the same twice, of the event shared and detached."""
    condition = Condition.compile(text)
    subject = event() if subject is None else subject
    first = condition.matches(subject)
    assert condition.matches(subject) is first
    twin = subject.copy()
    twin.detach()
    assert Condition.compile(text).matches(twin) is first
    return first


TRUE = [
    'id == "id1"',
    'source == "journald" && type == "log"',
    "severity == 'warning' && severity_number == 13",
    "severity_number >= WARNING && severity_number < ERROR",
    "[DEBUG, INFO, NOTICE, WARNING, ERROR, CRITICAL, ALERT, EMERGENCY] == [5, 9, 10, 13, 17, 18, 19, 21]",
    "title.startsWith('GET') && message == description",
    "trace_id != '' && span_id == '' && parent_id == ''",
    "timestamp == timestamp('2026-01-31T12:00:00.0015Z') && timestamp - observed < duration('2ms')",
    "attributes.pid == 42 && attributes['http.status'] >= 500 && attributes.ratio < 1.0",
    "attributes.pattern == 'slow'",
    "'unit' in attributes && !('nothing' in attributes)",
    "has(attributes.pid) && !has(attributes.nothing)",
    "'b' in attributes.tags && attributes.tags[0] == 'a' && attributes.tags.size() == 2",
    "attributes.ok",
    "labels.app == 'web' && annotations['note'] == 'n'",
    "labels.exists(key, key == 'team' && labels[key] == 'x')",
    "attributes.exists(key, key.startsWith('http.')) && attributes.pid > 41",
    "entity.type == 'pod' && entity.name == 'web-0' && entity.namespace == 'shop' && entity.uid == 'u1'",
    "entity.attributes.qos == 'burstable' && entity.parent.type == 'node' && !has(entity.parent.parent)",
    "type in ['log', 'other'] || false",
    "(type == 'other' || title.contains('Health')) && true",
    "type == 'log' ? attributes.pid == 42 : false",
    "type(attributes.pid) == int && type(title) == string",
    "labels.exists(type, type == 'app')",  # the macro's name hides the variable
    "labels.exists(k, k == 'app') ? labels.exists(k, k == 'team') : labels.all(k, k == 'b')",  # three, none within another
    "// every event\n true // of all",
    "attributes.nothing == 'x' || type == 'log'",
    "'pi' + 'd' in attributes",
    "attributes[title == '' ? 'unit' : 'pid'] == 42",
]


@pytest.mark.parametrize("text", TRUE)
def test_a_true_condition_is_met(text):
    """Each one names variables by their documented names; with a `!` before it, it is not met."""
    assert matches(text) is True
    assert matches(f"!({text}\n)") is False


@pytest.mark.parametrize(
    "text",
    [
        "attributes.nothing == 'x'",
        "attributes.nothing != 'x'",
        "!(attributes.nothing == 'x')",
        "attributes['nothing'].matches('x')",
        "attributes.nothing == 'x' && true",
        "labels.nothing == 'x'",
        "entity.parent.parent.name == 'x'",
        "attributes.exists(key, attributes.nothing == key)",
        "{'a': 1}[title] == 1",
    ],
)
def test_what_is_missing_makes_a_condition_false_and_is_no_error(text):
    """Neither the condition nor its opposite is met."""
    condition = Condition.compile(text)
    assert condition.matches(event()) is False
    assert (condition.errors, condition.last_error) == (0, "")


def test_an_attribute_that_is_null_is_missing():
    """Whether by itself or in the whole map."""
    subject = event({"empty": None})
    assert not matches("has(attributes.empty)", subject)
    assert not matches("attributes.exists(key, key == 'empty')", subject)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("attributes.unit > 5", "the operation is not defined for values of these types"),
        ("attributes.pid.startsWith('4')", "function 'startsWith' is not defined for such values"),
        ("attributes.pid.matches('4')", "function 'matches' is not defined for such values"),
        ("attributes.pid.lowerAscii() == '4'", "function 'lowerAscii' is not defined for such values"),
        ("title.matches(attributes.unit + '(')", "function 'matches': missing ): cron.service("),
        ("attributes.pid / (attributes.pid - 42) == 1", "division by zero"),
        ("attributes.unit", "the result is 'cron.service', not true or false"),
        ("int(title) == 5", "function 'int': string parse error"),
        ("attributes.tags[5] == 'x'", "index out of bounds"),
    ],
)
def test_what_cannot_be_computed_is_counted(text, said):
    """The condition is false for the event, and tells how often and why, every time."""
    condition = Condition.compile(text)
    assert [condition.matches(event()) for _ in range(3)] == [False] * 3
    assert condition.errors == 3
    assert said in condition.last_error
    assert "re2_matches" not in condition.last_error


def test_an_error_does_not_count_where_another_part_decides():
    """As in CEL: an undecided part matters only when no other part decides, on either side of it."""
    for text in ("attributes.unit > 5 || type == 'log'", "type == 'log' || attributes.unit > 5"):
        condition = Condition.compile(text)
        assert condition.matches(event())
        assert condition.errors == 0
    for text in ("attributes.unit > 5 && type == 'x'", "type == 'x' && attributes.unit > 5"):
        condition = Condition.compile(text)
        assert not condition.matches(event())
        assert condition.errors == 0
    condition = Condition.compile("type == 'x' || attributes.nothing == 1 || attributes.unit > 5")
    assert not condition.matches(event())
    assert condition.errors == 1


def test_failures_of_functions_are_not_logged(caplog):
    """A condition that fails for each of a million events writes no million lines."""
    condition = Condition.compile("attributes.pid.matches('4')")
    with caplog.at_level(logging.DEBUG):
        condition.matches(event())
    assert condition.errors == 1
    assert caplog.records == []


REFUSED = [
    ("", "the condition is empty: write one such as severity_number >= WARNING"),
    (" \n ", "the condition is empty: write one such as severity_number >= WARNING"),
    ("type ==", "at 1:8: expected a value, found the end in `type ==`"),
    ("type = 'log'", "at 1:6: CEL has no '=' (write == to compare), at `= 'log'` in `type = 'log'`"),
    ("type == 'a' and true", "at 1:13: expected an operator or the end, found 'and' (CEL writes && for and), at `and true`"),
    ("type == 'a' or true", "found 'or' (CEL writes || for or)"),
    ("type == 'a' | true", "CEL has no '|' (write || for or)"),
    ("type == 'a' & true", "CEL has no '&' (write && for and)"),
    ("type ~ 'a'", "CEL has no '~' (write title.matches('...') to match a pattern)"),
    ("type == 'a", "at 1:9: this text has no closing quote, or an escape such as \\d that CEL does not know: write a raw one"),
    (r"title.matches('\d')", "write a raw one, r'\\d', at `'\\d')`"),
    ("(type == 'a'", "at 1:13: expected ')', found the end in `(type == 'a'`"),
    ("type == 'a')", "at 1:12: expected the end, found ')'"),
    ("true ? true", "expected an operator or ':', found the end"),
    ("has(title)", "at 1:5: has() asks for a key of a map: write has(attributes.name)"),
    ("labels.exists(1, true)", "the first argument names the element: write labels.exists(key, key == 'app')"),
    ("type == 'a' &&\n  titel == 'b'", "at 2:3: unknown variable 'titel'; did you mean 'title'?, at `titel == 'b'`"),
    ("Type == 'log'", "unknown variable 'Type'; did you mean 'type'?"),
    ("severity_number >= WARN", "unknown variable 'WARN'; did you mean 'WARNING'?"),
    ("cmdline == 'x'", "unknown variable 'cmdline'; the event's own are id, timestamp, observed, source, type, severity, "),
    ("cmdline == 'x'", "others are keys, as in attributes['cmdline']"),
    ("labels.exists(k, k == 'a') && k == 'b'", "at 1:31: unknown variable 'k'"),
    ("labels.exists(k, k == 'a') == (k == 'b')", "at 1:32: unknown variable 'k'"),
    (".type == 'log'", "at 1:2: write 'type' without the dot before it"),
    ("title.contain('x')", "at 1:7: unknown function 'contain'; did you mean 'contains'?"),
    ("title.zzzzzz('x')", "unknown function 'zzzzzz'; known are all, contains, endsWith"),
    ("contains(title, 'x')", "contains is called on a value, as in title.contains(...)"),
    ("siz(title) > 1", "unknown function 'siz'; did you mean 'size'?"),
    ("title.int() == 1", "int is called as int(value)"),
    ("labels.exists(k, v, true)", "at 1:8: exists takes a name and a condition, as in labels.exists(key, key == 'app')"),
    ("entity.kind == 'pod'", "an entity has no 'kind'; it has attributes, name, namespace, parent, type, uid"),
    ("entity.nam == 'pod'", "an entity has no 'nam'; did you mean 'name'?"),
    ("Foo{a: 1} == 1", "there are no messages such as Foo{...} here"),
    ("severity", "at 1:1: this is a text, where true or false is needed: compare it with something"),
    ("type == 'a' && title", "at 1:16: this is a text, where true or false is needed"),
    ("severity_number + 1", "this is a number, where"),
    ("type == 'a' ? 'x' : 'y'", "this is a text, where"),
    ("labels", "this is a map, where"),
    ("[true]", "this is a list, where"),
    ("null", "this is null, where"),
    ("b'x'", "this is bytes, where"),
    ("timestamp", "this is a time, where"),
    ("timestamp - observed", "this is a value, where"),
    ("severity > 3", "at 1:1: this can never be decided: the operation is not defined for values of these types"),
    ("title.contains(1)", "this can never be decided: function 'contains' is not defined for such values"),
    ("title.matches()", "this can never be decided: function 'matches' is not defined for such values"),
    ("1 / 0 == 1", "this can never be decided: division by zero"),
    ("title.matches('(')", "at 1:15: RE2 cannot take the pattern '(': missing ): (, at `'(')`"),
    ("matches(title, '[')", "at 1:16: RE2 cannot take the pattern '[': missing ]: ["),
    (r"title.matches(r'\d(?=x)')", "RE2 cannot take the pattern"),
    ("timestamp > timestamp('2026')", "at 1:23: timestamp() cannot read '2026': write RFC 3339, as in '2026-01-31T12:00:00Z'"),
    ("duration('1d') == duration('24h')", "duration() cannot read '1d': write hours, minutes and seconds, as in '1h30m'"),
    ("int('x') == 1", "int() cannot read 'x': write a whole number"),
    ("(" * 200, "at 1:97: this is nested too deeply"),
    ("true" + " " * 5000, "the condition has 5004 characters: at most 4096 are allowed"),
    ("type == '\ud800'", "character 10 is half of a surrogate pair: write the whole character"),
    ("labels.all(a, labels.all(b, labels.all(c, a == b)))", "at 1:36: more than 2 macros within each other take too long"),
    ("99999999999999999999 > 1", "at 1:1: invalid int literal"),
    ("type == 'log' || " * 20 + "tipe == 'x'", "at 1:341: unknown variable 'tipe'; did you mean 'type'?, at `tipe == 'x'` "),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_a_wrong_condition_says_where_what_and_what_to_write(text, message):
    """One message for each kind of mistake."""
    with pytest.raises(ConditionError) as caught:
        Condition.compile(text)
    assert message in str(caught.value)


def test_equal_numbers_of_different_types_are_told_apart():
    """What was remembered for 1 is not given for true, which Python takes for the same."""
    condition = Condition.compile("attributes.x == 1")
    assert [condition.matches(event({"x": x})) for x in (1, True, 1.0, "1", 1)] == [True, False, True, False, True]
    types = Condition.compile("type(attributes.x) == double")
    assert [types.matches(event({"x": x})) for x in (1, 1.0, True, 1.0, 1)] == [False, True, False, True, False]


def test_what_is_remembered_follows_every_value_that_decides():
    """Changing one referenced value at a time changes the result, whatever came before."""
    condition = Condition.compile("(type == 'log' || labels.app == 'web') == (attributes.x == 1 && entity.name == 'web-0')")
    subject = event({"x": 1})
    assert condition.matches(subject)
    subject.set("x", 2)
    assert not condition.matches(subject)
    subject.set("x", 1)
    assert condition.matches(subject)
    other = subject.copy()
    other.entity = NODE
    assert not condition.matches(other)
    subject.type = "other"
    assert condition.matches(subject)
    subject.labels = {"app": "db"}
    assert not condition.matches(subject)


def test_the_whole_map_is_not_remembered_for_an_event_with_attributes_of_its_own():
    """Two events of one origin differ in what they alone have."""
    condition = Condition.compile("attributes.exists(key, key == 'mine')")
    plain, own = event({}), event({"mine": 1})
    own.shared = plain.shared
    assert [condition.matches(one) for one in (plain, own, plain, own)] == [False, True, False, True]


def test_nothing_is_remembered_without_bound():
    """A million different titles or pids do not stay in memory, nor with their origin."""
    subject = event()
    origin = subject.shared
    for text in ("title == 'x'", "attributes.pid == 7", "labels.app == title"):
        condition = Condition.compile(text)
        for number in range(3000):
            subject.title = f"t{number}"
            subject.set("pid", number)
            condition.matches(subject)
        kept = [*(origin.cache.values()), condition._decide.__self__._results]
        assert max(map(len, kept)) <= 1024


def test_a_long_text_is_seen_whole():
    """What is too long to remember is compared all the same."""
    subject = event(description="x" * 1_000_000 + "needle", title="y" * 300)
    condition = Condition.compile("description.endsWith('needle') && title.size() == 300")
    assert condition.matches(subject)
    subject.description = "x" * 1_000_000
    assert not condition.matches(subject)


def test_events_are_not_changed_nor_taken_from_their_origin():
    """A condition over everything leaves the event as it was."""
    subject = event()
    before, origin = subject.copy(), subject.shared
    for text in TRUE:
        Condition.compile(text).matches(subject)
    assert subject == before
    assert subject.shared is origin


DEEP = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "value",
    [
        *(b"\xff\xfe", None, float("nan"), float("inf"), 2**70, -(2**64), 10**5000, "\ud800x", "\x00", [], [None], {}),
        *({"a": ["\udfff", {"b": 2**80}]}, DEEP, (1, 2), {1, 2}, object(), {"x": object()}, {1: 2}, range(3), 1 + 2j),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize(
    "text",
    [
        "attributes.x == 'y'",
        "attributes.x > 5 && type == 'other'",
        "attributes.exists(key, attributes[key] == 'y')",
        "attributes.x.matches('nothing') && attributes.x.lowerAscii() != ''",
        "size(attributes.x) == 100",
    ],
)
def test_no_value_makes_a_condition_fail(text, value):
    """Values that CEL cannot hold, or that would exhaust it, give false."""
    subject = event({"x": value})
    assert Condition.compile(text).matches(subject) is False
    subject.detach()
    assert Condition.compile(text).matches(subject) is False


@pytest.mark.parametrize(
    "name", ["id", "source", "type", "severity", "title", "description", "timestamp", "observed", "trace_id"]
)
@pytest.mark.parametrize("value", [None, 5, 2**80, "\ud800", b"x", [], "error", float("nan")], ids=repr)
def test_no_field_makes_a_condition_fail(name, value):
    """A plugin's event may hold anything in any place."""
    subject = event()
    setattr(subject, name, value)
    number = " || severity_number == 99" if name == "severity" else ""
    nothing = {"timestamp": "timestamp", "observed": "timestamp", "severity": "'debug'"}.get(name, "'nothing'")
    other = f"{name} == {nothing}"
    Condition.compile(f"{other} || size(title) > 300{number}").matches(subject)


def test_a_number_too_big_for_the_engine_spoils_nothing():
    """It is infinite in conditions; those about the whole of the attributes can still be decided."""
    subject = event({"big": 10**400, "small": -(10**400)})
    assert matches("attributes.big > 1 && attributes.small < 0", subject)
    assert matches("attributes.exists(key, key == 'pid') && attributes.exists(key, attributes[key] == 42)", subject)


def test_a_severity_that_is_a_keyword_counts_as_the_severity():
    """Before `normalize`, a plugin's event may have one."""
    assert matches("severity == 'error' && severity_number == ERROR", event(severity="ERROR"))


def test_one_odd_attribute_does_not_hide_the_others():
    """The rest of the map is searched though one value is none that CEL knows."""
    assert matches("attributes.exists(key, attributes[key] == 'yes')", event({"odd": object(), "half": "\ud800", "a": "yes"}))


def test_a_pattern_takes_linear_time():
    """What takes a backtracking engine for ever is decided at once; the test's time limit tells."""
    condition = Condition.compile(r"description.matches('^(a+)+$') || description.matches(r'(x+x+)+y')")
    assert not condition.matches(event(description="a" * 100_000 + "!"))
    assert not condition.matches(event(description="x" * 100_000))


def test_a_chain_of_operators_as_long_as_allowed_is_decided():
    """The engine recurses along it."""
    chain = "true" + "!=true" * 680
    assert len(chain) < 4096
    assert matches(f"({chain})") is True
    assert matches("1" + "+1" * 2000 + " == 2001") is True


def test_patterns_are_what_the_variable_says():
    """The function form, the method form, a pattern from the event, and the anchors of RE2."""
    assert matches("matches(title, '^GET') && title.matches(r'/\\w+$') && title.matches('(?i)health')")
    assert matches("title.matches(attributes.re)", event({"re": "H.*h"}))
    assert not matches("title.matches('^Health')")


VALUES = [
    *(
        "type",
        "'log'",
        "severity_number",
        "ERROR",
        "attributes.x",
        "attributes['x']",
        "labels.app",
        "title",
        "5",
        "1.5",
        "null",
    ),
    *(
        "entity.name",
        "has(attributes.y)",
        "attributes",
        "[1, 'a']",
        "true",
        "timestamp",
        "size(title)",
        "k",
        "r'\\d'",
        "{'a': 1}",
    ),
    *("labels.exists(k, k == 'app')", "title.matches('x')", "'x' in attributes", "duration('1s')", "entity.parent", "'''a'''"),
]
OPERATORS = ["==", "!=", "<", ">=", "&&", "||", "+", "-", "*", "/", "%", "in", "?", ":", ".", ",", "and", "//"]
expressions = st.recursive(
    st.sampled_from(VALUES),
    lambda inner: st.one_of(
        st.builds(" ".join, st.tuples(inner, st.sampled_from(OPERATORS), inner)),
        st.builds("({})".format, inner),
        st.builds("!{}".format, inner),
        st.builds("{} ? {} : {}".format, inner, inner, inner),
        st.builds("labels.exists(k, {})".format, inner),
        st.builds("{}[{}]".format, inner, inner),
    ),
    max_leaves=6,
)
texts = st.one_of(
    expressions,
    st.text(max_size=40),
    st.text("()[]{}'\"\\.&|!=<>? \n:,rb/*-+%abk01", max_size=30),
    st.builds(lambda text, cut, junk: text[:cut] + junk + text[cut:], expressions, st.integers(0, 40), st.text(max_size=3)),
)


@given(texts, events())
@example("labels.exists(k, k.exists(", event())
@example("'''", event())
@example('"\\', event())
@example("r'\\' == title || b'\\x00' == b\"\"", event())
def test_any_text_compiles_or_says_why_not(text, subject):
    """Nothing but ConditionError comes out of `compile`, nothing at all out of `matches`."""
    try:
        condition = Condition.compile(text)
    except ConditionError as error:
        assert str(error)
        return
    before = subject.copy()
    origin = subject.shared
    assert condition.matches(subject) in (True, False)
    assert subject == before
    assert subject.shared is origin


@given(expressions, st.lists(events(), min_size=1, max_size=4))
def test_what_is_remembered_is_what_the_engine_says(text, subjects):
    """Splitting, key analysis and memory change no result: one evaluation of the whole text, with all maps, gives the same."""
    try:
        condition = Condition.compile(text)
    except ConditionError:
        return
    for subject in [*subjects, *subjects]:
        assert condition.matches(subject) is plainly(text, subject)


def plainly(text, subject):
    """Evaluate a condition with everything there is to know of an event."""
    seen = subject.view()

    def entity(reference):
        own = {"type": reference.type, "name": reference.name, "namespace": reference.namespace, "uid": reference.uid}
        parent = {} if reference.parent is None else {"parent": entity(reference.parent)}
        return {**own, "attributes": dict(reference.attributes), **parent}

    values = {
        **CONSTANTS,
        "type": subject.type,
        "severity_number": int(subject.severity),
        "title": subject.title,
        "timestamp": __import__("datetime").datetime.fromtimestamp(0, __import__("datetime").UTC)
        + __import__("datetime").timedelta(microseconds=subject.timestamp // 1000),
        "entity": entity(seen.entity),
        "attributes": {key: value for key, value in seen.attributes.items() if value is not None},
        "labels": dict(seen.labels),
    }
    try:
        return engine().compile(text).execute(values) is True
    except Exception:
        return False


@given(texts)
def test_the_analysis_finds_every_variable_that_the_engine_finds(text):
    """No text that the engine reads has a variable which the tokens do not show."""
    try:
        program = engine().compile(text)
    except BaseException:
        return
    try:
        found = references(text, tokens(text))
    except ConditionError:
        return
    assert set(program.variables()) <= found.variables | found.bound


def documented():
    """Return the examples of docs/conditions.md: every `name` of its tables with the condition beside it."""
    text = DOCUMENT.read_text("utf-8")
    rows = re.findall(r"^\| `([A-Za-z_]+)[^|]*\|(?:[^|\n]|\|\|)*\| `((?:[^`])+)` \|$", text, re.MULTILINE)
    assert len(rows) > 40
    return rows


@pytest.mark.parametrize(("name", "text"), documented(), ids=lambda value: value[:30])
def test_what_the_documentation_shows_is_true(name, text):
    """Every variable, function and macro in the tables has an example, which holds for the event of these tests."""
    assert name in text
    assert matches(text.replace("\\|", "|")) is True


def test_everything_there_is_is_documented():
    """Each variable, constant, function, method and macro stands in a table."""
    shown = {name for name, _ in documented()}
    assert {*VARIABLES, *FUNCTIONS, *METHODS, *ADDED, *MACROS, *CONSTANTS} <= shown


def test_conditions_cost_nothing_until_one_is_compiled():
    """Neither the engine nor RE2 is imported with the package, and the engine comes without its command line."""
    script = (
        "import sys, tapio_otel.conditions as c; assert not {'cel', 'cel.cel', 're2'} & set(sys.modules);"
        "c.Condition.compile('true'); assert 'cel.cel' in sys.modules and 'typer' not in sys.modules;"
        "import cel; assert cel.evaluate('1 + 1') == 2"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)


def test_the_engine_is_shared_with_who_imported_it_before():
    """It cannot be loaded twice in one process."""
    script = "import cel; import tapio_otel.conditions as c; assert c.Condition.compile('true').text == 'true'"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("severity == 'warn'", r"at 1:13: there is no severity 'warn'; did you mean 'warning'\?"),
        ("'ERROR' == severity", r"at 1:1: there is no severity 'ERROR'; did you mean 'error'\?"),
        ("type == 'log' && severity in ['error', 'crit']", r"at 1:40: there is no severity 'crit'; did you mean 'critical'\?"),
        ("severity != 'loud'", r"there is no severity 'loud'; there are alert, critical"),
    ],
)
def test_a_severity_that_does_not_exist_is_refused(text, said):
    """No event has it, so the condition would say the same of every event."""
    with pytest.raises(ConditionError, match=said):
        Condition.compile(text)


@pytest.mark.parametrize(
    "text",
    [
        "severity in ['error', 'critical'] || severity == 'warning'",
        "severity == 'war' + 'ning'",
        "severity == 'WARNING'.lowerAscii()",
        "severity in ['WARN'.lowerAscii() + 'ing']",
        "attributes.severity == 'warn'",
        "labels.exists(severity, severity == 'app')",
        "severity in []",
        "severity == title",
    ],
)
def test_what_may_be_a_severity_is_not_refused(text):
    """Expressions, attributes and names of macros are none of the keywords."""
    Condition.compile(text)
