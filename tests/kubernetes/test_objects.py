"""Words kept once, chosen labels, stamps, and claims to one name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.kubernetes import objects
from tapio_otel.kubernetes.objects import LONGEST, NONE, Choice, Claims, Pool, Stamps

WORDS = st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=4)


class Claimant:
    """Claim something with a strength."""

    def __init__(self, claim: int) -> None:
        self.claim = claim


def test_equal_words_are_one_object() -> None:
    """However often they come."""
    pool = Pool()
    assert pool.word("ab" * 20) is pool.word("".join(["ab"] * 20))


def test_siblings_share_equal_labels() -> None:
    """Those of others are their own, but of the same words."""
    pool = Pool()
    first = pool.like("a", {"app": "web" * 9})
    assert pool.like("a", {"app": "web" * 9}) is first
    assert pool.like("b", {"app": "web" * 9}) is not first
    assert next(iter(pool.like("b", {"app": "web" * 9}).values())) is first["app"]
    assert pool.like("a", None) is NONE


def test_a_full_pool_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not grow without end, and loses nothing."""
    monkeypatch.setattr(objects, "_POOL", 3)
    pool = Pool()
    for number in range(100):
        assert pool.word(f"word {number}") == f"word {number}"
        assert pool.like(f"sibling {number}", {"a": f"{number}"}) == {"a": f"{number}"}
    assert max(len(pool._words), len(pool._siblings)) <= 3


@given(st.lists(st.tuples(st.sampled_from("abc"), WORDS)))
def test_what_is_kept_once_is_what_was_given(given: list[tuple[str, dict[str, str]]]) -> None:
    """Whoever had what before."""
    pool = Pool()
    assert [pool.like(sibling, words) for sibling, words in given] == [words for _, words in given]


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        ((), {}),
        (("*",), {"app": "web", "app.io/a": "1", "app.io/b": "2"}),
        (("app",), {"app": "web"}),
        (("app.io/*",), {"app.io/a": "1", "app.io/b": "2"}),
        (("app.io/b", "none", "x*"), {"app.io/b": "2"}),
    ],
)
def test_words_are_chosen_by_name_or_beginning(patterns: tuple[str, ...], chosen: dict[str, str]) -> None:
    """A star stands for anything, at the end only."""
    assert Choice(patterns).pick({"app": "web", "app.io/a": "1", "app.io/b": "2"}) == chosen
    assert Choice(patterns).pick(None) == {}


@pytest.mark.parametrize("patterns", [("*",), ("a",), ("a*",)])
def test_long_annotations_are_shortened(patterns: tuple[str, ...]) -> None:
    """Some are whole manifests."""
    assert Choice(patterns).pick({"a": "x" * (LONGEST + 1)}) == {"a": "x" * LONGEST}
    assert Choice(patterns).pick({"a": "x" * LONGEST}) == {"a": "x" * LONGEST}


def test_the_version_counts_only_what_renames() -> None:
    """The generation counts everything."""
    stamps = Stamps()
    assert (stamps.next(), stamps.version) == (1, 0)
    assert (stamps.next(renamed=True), stamps.version) == (2, 1)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 4), st.booleans()), max_size=30))
def test_the_best_claim_wins_whatever_came_and_went(steps: list[tuple[str, int, bool]]) -> None:
    """As if all claims were looked through each time."""
    claimants = [Claimant(number) for number in range(5)]
    claims: Claims[Claimant] = Claims()
    model: dict[str, set[int]] = {"a": set(), "b": set()}
    for key, number, added in steps:
        (claims.add if added else claims.remove)(key, claimants[number])
        (model[key].add if added else model[key].discard)(number)
        for one, held in model.items():
            assert claims.get(one) is (claimants[max(held)] if held else None)
    assert len(claims) == sum(map(bool, model.values()))
