"""The grammar of conditions: what they mean, and what is said of those that mean nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.correlation.grammar import ConditionError, Distinct, parse_condition

ALIASES = ("a", "b", "c")


class Facts:
    """Hold how many facts there are of each alias."""

    def __init__(self, ended: bool = False, **counts: int) -> None:
        self.counts, self.ended = counts, ended
        self.asked: list[object] = []

    def count(self, alias: str) -> int:
        return self.counts.get(alias, 0)

    def distinct(self, values: Distinct) -> int:
        self.asked.append(values)
        return self.counts.get(values.alias, 0)

    def in_order(self, aliases: tuple[str, ...]) -> bool:
        self.asked.append(aliases)
        return all(map(self.count, aliases))


@pytest.mark.parametrize(
    ("text", "facts", "holds"),
    [
        ("a", Facts(a=1), True),
        ("a", Facts(), False),
        ("a and b", Facts(a=1), False),
        ("a or b", Facts(b=1), True),
        ("not a", Facts(), True),
        ("not a and b", Facts(b=1), True),
        ("a or b and c", Facts(a=1), True),
        ("(a or b) and c", Facts(a=1), False),
        ("not (a and b)", Facts(a=1), True),
        ("count(a) >= 3", Facts(a=3), True),
        ("count(a) > 3", Facts(a=3), False),
        ("count(a, b) == 3", Facts(a=1, b=2), True),
        ("count(a) != 1", Facts(a=1), False),
        ("count(a)<=0", Facts(), True),
        ("count(a) < 1", Facts(a=1), False),
        ("distinct(a, src_ip) >= 2", Facts(a=2), True),
        ("sequence(a, b)", Facts(a=1, b=1), True),
        ("absent(a)", Facts(), False),
        ("absent(a)", Facts(ended=True), True),
        ("absent(a)", Facts(ended=True, a=1), False),
    ],
)
def test_conditions_hold_of_facts(text, facts, holds):
    """Each form, with the usual precedence."""
    assert parse_condition(text, ALIASES).holds(facts) is holds


def test_a_condition_says_what_it_refers_to():
    """The engine counts different values only where they are asked for; entities are the default."""
    condition = parse_condition("distinct(a) >= 1 and distinct(b, src_ip, dst_ip) >= 2 and c", ALIASES)
    assert condition.aliases == ALIASES
    assert condition.distinct == (Distinct("a", ("entity",)), Distinct("b", ("src_ip", "dst_ip")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the condition is empty: write one such as a and b"),
        ("a & b", "at column 3: expected and, or, or the end, found '&' (write and)"),
        ("a and", "at column 6: expected an alias, a function, not or (, found the end"),
        ("coun(a) > 1", "at column 1: there is no function 'coun'; did you mean 'count'?"),
        ("a and d", "at column 7: there is no alias 'd'; there are a, b, c"),
        ("count(a) >", "at column 11: expected a whole number, found the end"),
        ("count(a) = 2", "at column 10: expected one of >= > == != <= < and a number, found '=' (write ==)"),
        ("(a and b", "at column 9: expected ), found the end"),
        ("distinct(a, 3) > 1", "at column 13: expected an attribute, found '3'"),
        ("(" * 40 + "a" + ")" * 40, "at column 33: more than 32 levels of parentheses and not, found '('"),
    ],
)
def test_errors_say_where_and_what_to_write(text, message):
    """One message each, with the column."""
    with pytest.raises(ConditionError) as raised:
        parse_condition(text, ALIASES)
    assert str(raised.value) == message


@given(st.text(alphabet="abc ()<>=!,0123andornotcountdistinctsequenceabsent_.&", max_size=60))
def test_any_text_is_read_or_refused(text):
    """Nothing else than a condition error is raised, and what is read can be asked."""
    try:
        condition = parse_condition(text, ALIASES)
    except ConditionError as error:
        assert str(error).startswith(("at column", "the condition is empty"))
    else:
        assert condition.holds(Facts(a=1, b=2)) in {True, False}
