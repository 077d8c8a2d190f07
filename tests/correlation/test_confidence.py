"""The formula of confidence."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.correlation.confidence import HIGHEST, confidence


def test_the_plain_case_has_the_rules_own_figure():
    """The seed's figures."""
    assert confidence(0.9) == 0.9
    assert confidence(0.85) == 0.85


def test_agreement_adds_and_what_is_missing_takes_away():
    """As documented."""
    assert confidence(0.9, 1) == 0.93
    assert confidence(0.9, 2) == 0.951
    assert confidence(0.9, 0, 1) == 0.765
    assert confidence(0.9, 0, 0, True) == 0.855
    assert confidence(0.98, 9) == HIGHEST


@given(st.floats(0.01, 0.99), st.integers(0, 20), st.integers(0, 5), st.booleans())
def test_it_stays_within_its_bounds_and_grows_with_witnesses(base, further, missing, contradicted):
    """More witnesses never make it less sure, more absences never more."""
    found = confidence(base, further, missing, contradicted)
    assert 0 <= found <= HIGHEST
    assert confidence(base, further + 1, missing, contradicted) >= found
    assert confidence(base, further, missing + 1, contradicted) <= found
