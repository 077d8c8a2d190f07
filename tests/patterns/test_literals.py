"""Required literals: the search that skips by them finds exactly what each expression finds by itself."""

from __future__ import annotations

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from tapio_otel.patterns.expressions import quiet_options
from tapio_otel.patterns.literals import required_literals
from tapio_otel.patterns.search import Search


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("Killed process", ({"Killed process"}, False)),
        ("^Killed (?P<pid>\\d+) of group", ({" of group"}, False)),
        ("(?i)Connection REFUSED", ({"connection refused"}, True)),
        ("foo(?:bar|bazaar)+qux", ({"foo"}, False)),
        ("(?:error|warning): x", ({"error: x", "warning: x"}, False)),
        ("Kill(?:ed)? process", ({"Killed process", "Kill process"}, False)),
        ("failed with [0-9]+", ({"failed with "}, False)),
        ("colou?rs", ({"colors", "colours"}, False)),
        ("abc*def", ({"def"}, False)),
        ("x{3}abcd", ({"abcd"}, False)),
        (r"a\.b\[1\]", ({"a.b[1]"}, False)),
        (r"\Qa.b\E.*", ({"a.b"}, False)),
        ("[ab]cde", ({"acde", "bcde"}, False)),
        ("größe fehlt", ({"e fehlt"}, False)),
        ("status|a status", ({"status"}, False)),
    ],
)
def test_what_has_to_be_there_is_found(expression, expected):
    """The longest literal, or one for each branch; without regard to case as soon as any of it has none."""
    literals, folds = required_literals(expression)
    assert (set(literals), folds) == expected


@pytest.mark.parametrize(
    "expression", [r"\d+:\d+", ".*", "(?:long literal)?", "a|long literal", "[^a]+", "ab", r"^[IWEF]\d{4} ", "(?P<x>.)", ""]
)
def test_where_nothing_has_to_be_there_nothing_is_required(expression):
    """Such an expression takes part in the pass itself."""
    assert required_literals(expression) is None


_LETTERS = st.sampled_from(
    ["a", "b", "k", "K", "S", "s", " ", "3", "é", "x1", r"\.", r"\d", r"\w", ".", r"\b", "[ab]", "[^a]", "^", "$"]
)


def _wrapped(inner):
    return st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: "(?:" + "|".join(parts) + ")"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "{1,}", "+?"])).map(
            lambda two: f"(?:{two[0]}){two[1]}"
        ),
        inner.map(lambda one: f"(?i:{one})"),
        inner.map(lambda one: f"({one})"),
        st.text("abkKs ", min_size=1, max_size=6),
    )


_EXPRESSIONS = st.recursive(_LETTERS, _wrapped, max_leaves=10)
_TEXTS = st.text(st.sampled_from("abkKsS 3x1.é\n\u212a\u017f\0"), max_size=40)


def _found_alone(expression, content):
    return re2.compile(expression, quiet_options()).search(content) is not None


@settings(max_examples=400, deadline=None)
@given(st.lists(_EXPRESSIONS, min_size=1, max_size=6), st.lists(_TEXTS, min_size=1, max_size=8))
def test_the_search_finds_what_each_expression_finds_alone(expressions, texts):
    """Nothing is missed by looking for literals first, and nothing is found that is not there."""
    search = Search(expressions)
    for text in texts:
        content = text.encode()
        expected = {index for index, one in enumerate(expressions) if _found_alone(one, content)}
        assert set(search.find(content)) == expected


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("ab(|)[]^$*+?{}\\QE,1:<>P-i."), max_size=30))
def test_no_expression_makes_the_analysis_fail(text):
    """It is read as far as it is understood."""
    assert required_literals(text) is None or required_literals(text)[0]


def test_expressions_that_need_too_much_memory_together_are_split():
    """Thousands of long expressions without a literal are still all found."""
    expressions = [f"[{chr(97 + number % 26)}0][0-9]{{{100 + number}}}\\d[x]" for number in range(400)]
    search = Search(expressions)
    text = "a" + "1" * (101 + 26) + "x"
    assert set(search.find(text.encode())) == {26}
