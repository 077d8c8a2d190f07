"""The matcher: one pass finds every pattern, by rank, in whatever a text holds."""

from __future__ import annotations

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.event import Severity
from tapio_otel.patterns import MAX_TEXT, Extraction, FieldConditions, Matcher, Writer
from tests.patterns.library_files import matcher, pattern


def test_hits_are_by_rank_and_each_once():
    """Of a list of expressions several may match, and a text may hold several patterns."""
    subject = Matcher([pattern("alpha", "al+pha", "omega"), pattern("beta"), pattern("gamma")], ["alp", "zeta"])
    assert subject.hits("gamma beta alpha omega") == [0, 1, 2, 3]
    assert subject.hits("zeta") == [4]
    assert subject.hits("delta") == []


def test_nothing_to_look_for_finds_nothing():
    """A library may be empty."""
    assert Matcher([]).hits("anything") == []


def test_a_dot_ends_at_the_line_and_the_text_begins_once():
    """A stack trace below the first line is looked at, but is no beginning."""
    subject = matcher("^panic", "a.*b", "needle")
    assert subject.hits("first\npanic: a\nb needle") == [2]


@pytest.mark.parametrize("text", ["a \ud800 needle", "a \0 needle", "needle \U0010ffff", "needle\n" * 3])
def test_awkward_texts_are_looked_at(text):
    """Lone surrogates, NULs and characters beyond the first plane hinder nobody."""
    subject = matcher(r"(?P<found>nee\w+)")
    assert subject.hits(text) == [0]
    assert subject.extract(0, text).groups == {"found": "needle"}


def test_only_the_beginning_of_a_long_text_is_looked_at():
    """A text of 1 MiB costs what its first 16 KiB cost."""
    subject = matcher("needle")
    assert subject.hits("x" * (MAX_TEXT - 6) + "needle" + "y" * 1_000_000) == [0]
    assert subject.hits("x" * (MAX_TEXT - 5) + "needle" + "y" * 1_000_000) == []


def test_named_groups_are_extracted_with_their_types():
    """What does not convert, and what is empty, is left out of the attributes."""
    subject = matcher(
        r"took (?P<took>\S+) for (?P<size>\S+) by (?P<pid>\w+)(?P<rest>.*)", took="duration", size="bytes", pid="int"
    )
    found = subject.extract(0, "took 3m2s for 12kB by me")
    assert found.groups == {"took": "3m2s", "size": "12kB", "pid": "me"}
    assert found.attributes == {"took": 182.0, "size": 12288}


def test_unnamed_groups_are_named_in_their_order():
    """A list in `extract` names them, whatever named groups lie between."""
    subject = Matcher([pattern(r"(\d+) (?P<middle>\w+) (\w+)", extract=Extraction(("pid", "process_name")))])
    assert subject.extract(0, "4242 of java").groups == {"pid": "4242", "middle": "of", "process_name": "java"}


def test_the_first_expression_that_matches_is_taken_from():
    """Each of a list may have groups of its own."""
    subject = Matcher([pattern(r"to (?P<host>\S+) failed", r"from (?P<peer>\S+)")])
    assert subject.extract(0, "from b to a failed").groups == {"host": "a"}
    assert subject.extract(0, "from b").groups == {"peer": "b"}
    assert subject.extract(0, "neither") is None


@pytest.mark.parametrize(
    ("title", "expected"),
    [("", ""), ("Fixed", "Fixed"), ("Lost {host}", "Lost a"), ("{host} {{x}}", "a {x}"), ("Lost {port}", "")],
)
def test_a_title_is_made_of_groups(title, expected):
    """Where a group is missing there is none, so that the first line stays."""
    subject = Matcher([pattern(r"to (?P<host>\S+)(?P<port>:\d+)?", title=title)])
    assert subject.extract(0, "to a").title == expected


def test_a_title_is_one_short_line():
    """Whatever a group took."""
    subject = Matcher([pattern(r"(?s)to (?P<host>.*)", title="Lost {host}")])
    assert subject.extract(0, "to a\nb").title == "Lost a b"
    assert len(subject.extract(0, "to " + "x" * 500).title) == 200


def test_a_group_is_cut():
    """An attribute does not grow to the size of the text."""
    assert len(matcher("x(?P<all>y+)").extract(0, "x" + "y" * 5000).groups["all"]) == 1024


KERNEL = Writer(identifier="kernel", transport="kernel")
SHOP = Writer(identifier="shop", unit="shop@3.service", transport="stdout")


@pytest.mark.parametrize(
    ("fields", "writer", "severity", "expected"),
    [
        (FieldConditions(transport=("kernel",)), KERNEL, Severity.INFO, True),
        (FieldConditions(transport=("kernel",)), SHOP, Severity.INFO, False),
        (FieldConditions(transport=("kernel",)), Writer(), Severity.INFO, True),
        (FieldConditions(identifier=("sh?p", "till")), SHOP, Severity.INFO, True),
        (FieldConditions(identifier=("till",)), SHOP, Severity.INFO, False),
        (FieldConditions(unit=("shop@*.service",)), SHOP, Severity.INFO, True),
        (FieldConditions(unit=("shop@*.service",)), KERNEL, Severity.INFO, False),
        (FieldConditions(severities=frozenset({Severity.ERROR})), SHOP, Severity.ERROR, True),
        (FieldConditions(severities=frozenset({Severity.ERROR})), SHOP, Severity.CRITICAL, False),
        (FieldConditions(identifier=("shop",), transport=("kernel",)), SHOP, Severity.INFO, False),
    ],
)
def test_conditions_on_the_writer_decide(fields, writer, severity, expected):
    """All of them must be met, but by a writer of whom nothing is known."""
    subject = Matcher([pattern("text", fields=fields), pattern("text")])
    assert subject.first([0, 1], writer, severity) == (0 if expected else 1)


def test_triggers_are_never_first():
    """Only patterns decide; triggers are for whoever gave them."""
    subject = Matcher([pattern("alpha")], ["beta"])
    assert subject.first(subject.hits("beta"), Writer(), Severity.INFO) is None


@given(st.text(max_size=300))
def test_no_text_makes_matching_fail(text):
    """Every code point may come, in any order."""
    subject = matcher(r"(?P<a>\w+)@(?P<b>\S*)", r"(?i)k+", r"x.*y")
    for index in subject.hits(text):
        assert subject.extract(index, text) is not None


BEGINNINGS = [
    r"^\s*[a-z]{0,3}=[^=]",
    r"^(?:[^\s{\"]{1,4} )?\{\s*\"",
    r"^<[0-9]{1,3}>",
    r"^a\{1,3}",
    r"^[{1,2}]{2,30}=",
    r"^\Q{1,3}\E=",
    r"^x{3}=?y?",
]


@given(text=st.text('ax{}13,=<>" \n\\', max_size=12))
def test_expressions_with_little_behind_their_beginning_are_found_exactly(text):
    """Their limits count, though what looks for all patterns at once does not count."""
    expected = [index for index, one in enumerate(BEGINNINGS) if re2.search(one, text)]
    assert Matcher([], BEGINNINGS).hits(text) == expected
