"""Rule files: what is read, what is refused and how that is told; and the rules that ship, by their own examples."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapio_otel.config.problem import ConfigError
from tapio_otel.correlation.examples import example_events, run_examples
from tapio_otel.correlation.facts import Fact
from tapio_otel.correlation.library import load_rules
from tapio_otel.correlation.rule import Conclusion
from tapio_otel.correlation.rule_file import RuleFile
from tapio_otel.event import Severity
from tests.components import CountingSink
from tests.correlation.incidents import at, concluded, engine, oom, restart, rule

GOOD = """\
rules:
  - name: mine
    title: '{root.entity}'
    description: 'x'
    window: 1m
    facts:
      oom: {class: oom, severity: warning, before: 2s}
      other: {event_type: [a, b], where: 'attributes.x == 1', having: [x], source: ebpf, join: any, optional: true}
    condition: oom and not other
    group_by: [unit, attributes.x, target]
    aliases: {target: {oom: host}}
    root: [oom]
    impacts: [other]
    confidence: 0.5
"""
SHIPPED = load_rules(("builtin",))


@pytest.mark.parametrize("one", SHIPPED, ids=[one.name for one in SHIPPED])
def test_the_examples_of_a_shipped_rule_hold(one):
    """Alone, and beside all other rules unless one of them suppresses it."""
    assert [(result.example, result.problem) for result in run_examples(one) if result.problem] == []


@pytest.mark.parametrize("one", SHIPPED, ids=[one.name for one in SHIPPED])
def test_a_shipped_rule_is_documented_by_examples(one):
    """At least one that must fire and one that must not; a hint; words without unknown values where it fires."""
    assert any(example.findings for example in one.examples)
    assert any(not example.findings for example in one.examples)
    assert one.hint
    assert set(one.suppresses) <= {other.name for other in SHIPPED}
    found = [told for example in one.examples for told in concluded(example_events(example.events)[0], one)]
    texts = [text for told in found for text in (told.title, told.description, told.get("hint"))]
    assert texts
    assert [text for text in texts if "unknown" in text or "{" in text or "  " in text] == []


def read(tmp_path: Path, text: str) -> RuleFile:
    """Return the file that has this text."""
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    return RuleFile(path)


def test_a_rule_is_read_whole(tmp_path):
    """Every option comes to the rule."""
    (one,) = read(tmp_path, GOOD).rules
    assert (one.name, one.window_ns, one.confidence, one.line) == ("mine", 60_000_000_000, 0.5, 2)
    assert one.facts["oom"].severity is Severity.WARNING
    assert one.facts["oom"].before_ns == 2_000_000_000
    assert one.facts["other"].event_types == ("a", "b")
    assert (one.facts["other"].join, one.facts["other"].optional, one.facts["other"].sources) == ("any", True, {"ebpf"})
    assert (one.group_by, one.root, one.impacts) == (("unit", "attributes.x", "target"), ("oom",), ("other",))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "condition: oom and not other",
            "condition: oom nd other",
            "9: rules[0].condition: at column 5: expected and, or, or the end, found 'nd'",
        ),
        ("class: oom,", "class: oomm,", "7: rules[0].facts.oom.class: there is no class 'oomm'; did you mean 'oom'?"),
        ("attributes.x == 1", "attributes.x = 1", "8: rules[0].facts.other.where: at 1:14"),
        ("[unit, ", "[unti, ", "10: rules[0].group_by[0]: there is no rank 'unti'; did you mean 'unit'?"),
        ("root: [oom]", "root: [oon]", "12: rules[0].root: there is no alias 'oon'; did you mean 'oom'?"),
        ("'{root.entity}'", "'{rot.entity}'", "3: rules[0].title: {rot.entity}: there is no 'rot'; did you mean 'root'?"),
        ("join: any", "join: nod", "8: rules[0].facts.other.join: there is no join 'nod'; did you mean 'node'?"),
        ("root: [oom]", "root: {earliest: [oon]}", "12: rules[0].root: there is no alias 'oon'; did you mean 'oom'?"),
        ("root: [oom]", "root: {earliest: []}", "rules[0].root"),
        ("window: 1m", "window: 1", "rules[0].window"),
        ("impacts: [other]", "imapcts: [other]", "unknown option 'imapcts'; did you mean 'impacts'?"),
        ("event_type: [a, b], ", "class: oom, event_type: [a, b], ", "give class or event_type, not both"),
        (
            "event_type: [a, b], where: 'attributes.x == 1', ",
            "",
            "this chooses every event; give class, event_type, has_pattern or where",
        ),
        ("having: [x]", "has_pattern: '('", "RE2 cannot read '('"),
        ("      oom: {", "      root: {", "'root' has a meaning of its own in conditions and texts"),
        ("rules:", "rule:", "unknown key 'rule'; a rule file has the one key rules"),
    ],
)
def test_errors_say_where_and_what_to_do(tmp_path, old, new, message):
    """One message each, with its line and path."""
    assert old in GOOD
    found = read(tmp_path, GOOD.replace(old, new, 1))
    assert any(message in str(problem) for problem in found.problems), "\n".join(map(str, found.problems))


def test_a_rule_may_say_join_by_rank_and_the_earliest_of_some(tmp_path):
    """Both come to the rule as they are written."""
    (one,) = read(
        tmp_path, GOOD.replace("join: any", "join: node").replace("root: [oom]", "root: {earliest: [oom, other]}")
    ).rules
    assert (one.facts["other"].join, one.root, one.earliest) == ("node", ("oom", "other"), True)


def test_two_rules_of_one_name_are_refused(tmp_path):
    """Within a file; a later file's rule takes the place of an earlier one."""
    found = read(tmp_path, GOOD + GOOD.partition("\n")[2])
    assert "a rule 'mine' is already at line 2; rename one" in str(found.problems[0])


def test_entries_are_gathered_by_name(tmp_path):
    """The user's file takes the place of a built-in rule, a plugin's rule is there by its name, a disabled one is not."""
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace("name: mine", "name: oom_cascade"))
    rules = load_rules(("builtin", "acme", str(path)), ["network_partition"], {"acme": rule("acme_rule")})
    by_name = {one.name: one for one in rules}
    assert by_name["oom_cascade"].confidence == 0.5
    assert "acme_rule" in by_name
    assert "network_partition" not in by_name


@pytest.mark.parametrize(
    ("entries", "disabled", "message"),
    [
        (["bultin"], [], "rules[0]: 'bultin' is none of builtin, plugins, and there is no such file; did you mean 'builtin'?"),
        (
            ["builtin"],
            ["oom_cascad"],
            "disabled_rules[0]: there is no rule 'oom_cascad' to leave out; did you mean 'oom_cascade'?",
        ),
    ],
)
def test_unknown_entries_and_names_are_told(entries, disabled, message):
    """With what was probably meant."""
    with pytest.raises(ConfigError) as raised:
        load_rules(entries, disabled)
    assert str(raised.value) == message


def test_a_rule_to_suppress_must_exist(tmp_path):
    """A typing error would silently tell both."""
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD + "    suppresses: [oom_cascad]\n")
    with pytest.raises(ConfigError, match="there is no rule 'oom_cascad'; did you mean 'oom_cascade'"):
        load_rules([str(path)])


def test_a_rule_in_python_concludes_what_yaml_cannot_say():
    """It gets the facts of a group by alias, and decides root, confidence and words."""

    def correlate(facts):
        if len(facts["restart"]) < 2:
            return None
        return Conclusion(root=facts["restart"][0], impacts=facts["oom"], confidence=0.42, title="backwards")

    in_python = rule(name="python")
    from dataclasses import replace

    in_python = replace(in_python, correlate=correlate)
    assert concluded([oom(0), restart(1)], in_python) == []
    (finding,) = concluded([oom(0), restart(1), restart(2)], in_python)
    assert (finding.title, finding.get("confidence")) == ("backwards", 0.42)
    assert finding.get("root_cause").startswith("systemd")


def test_a_rule_in_python_that_fails_concludes_nothing():
    """The others go on."""
    from dataclasses import replace

    def broken(_facts):
        raise RuntimeError("no")

    found = concluded([oom(0), restart(1)], replace(rule("broken"), correlate=broken), rule())
    assert [one.get("rule") for one in found] == ["oom_cascade"]


@pytest.mark.parametrize(
    "nonsense",
    [
        lambda _facts: "yes",
        lambda _facts: {"title": "x"},
        lambda _facts: Conclusion(root="web.service"),
        lambda _facts: Conclusion(impacts=[1]),
        lambda facts: Conclusion(root=replace_fact(facts["oom"][0])),
        lambda _facts: Conclusion(confidence="high"),
        lambda _facts: Conclusion(confidence=7),
        lambda _facts: Conclusion(confidence=float("nan")),
        lambda _facts: Conclusion(title=5),
    ],
)
def test_a_rule_in_python_that_answers_nonsense_concludes_nothing(nonsense, caplog):
    """It is counted and logged, and takes nothing from other rules, whatever else is taken at the same time."""
    from dataclasses import replace

    sink = CountingSink()
    events = [oom(0), restart(1), oom(2, "pod/prod/a", pid=7), restart(3, "pod/prod/a")]
    found = concluded(events, replace(rule("nonsense"), correlate=nonsense), rule(), counters=sink)
    assert [one.get("rule") for one in found] == ["oom_cascade"] * 2
    assert sink.counts["correlation_errors:nonsense"] >= 2
    assert "the rule nonsense failed" in caplog.text


def replace_fact(fact: Fact) -> Fact:
    """Return a fact that says the same, but is none of a group."""
    return Fact(fact.kind, fact.witnesses[0], ())


def test_impacts_may_be_given_by_an_iterator():
    """Each revision names them."""
    from dataclasses import replace

    in_python = replace(rule("python"), correlate=lambda facts: Conclusion(impacts=(one for one in facts["restart"] * 2)))
    one = engine(in_python, update_interval_ns=0)
    one.add([oom(0), restart(1), restart(9)])
    assert [len(finding.get("impacts")) for finding in one.advance(at(60))] == [1, 2]
