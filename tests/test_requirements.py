"""The rule that decides between a skip and a failure."""

from __future__ import annotations

import pytest

from tests.requirements import PARTS, require, required


def test_a_missing_part_skips_when_nothing_is_required(monkeypatch):
    """Without TAPIO_REQUIRE an absent part is a skip that gives its reason."""
    monkeypatch.delenv("TAPIO_REQUIRE", raising=False)
    with pytest.raises(pytest.skip.Exception, match="needs root: not uid 0"):
        require("root", False, "not uid 0")


@pytest.mark.parametrize("demanded", ["root", "journald, root", "all"])
def test_a_missing_part_fails_when_it_is_required(monkeypatch, demanded):
    """A part named by TAPIO_REQUIRE, or `all`, turns the skip into a failure."""
    monkeypatch.setenv("TAPIO_REQUIRE", demanded)
    with pytest.raises(pytest.fail.Exception, match="root is required by TAPIO_REQUIRE but missing: not uid 0"):
        require("root", False, "not uid 0")


def test_other_parts_may_still_be_missing(monkeypatch):
    """Requiring one part says nothing about another."""
    monkeypatch.setenv("TAPIO_REQUIRE", "journald")
    assert not required("root")


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_there_neither_skips_nor_fails(monkeypatch, part):
    """An available part lets the test go on, required or not."""
    monkeypatch.setenv("TAPIO_REQUIRE", "all")
    require(part, True, "unused")


def test_an_unknown_part_is_refused():
    """A misspelt part is an error, not a test that never runs."""
    with pytest.raises(ValueError, match="unknown part 'jounald'"):
        require("jounald", True, "unused")
