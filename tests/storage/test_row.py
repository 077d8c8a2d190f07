"""A request's row tells when it is not what was written."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.storage.row import Damaged, Row, Totals, values, weigh, whole

INTEGERS = st.integers(0, 2**62)
ROWS = st.builds(Row, INTEGERS, INTEGERS, INTEGERS, st.sampled_from(["proto", "json"]), st.binary())
ANYTHING = st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary()


@given(ROWS)
def test_a_row_is_read_as_it_was_written(row):
    """Columns and back."""
    assert whole(values(row)) == row


@given(ROWS.filter(lambda row: row.body != b""), st.data())
def test_a_flipped_bit_of_a_body_is_noticed(row, data):
    """Whichever bit it is."""
    bit = data.draw(st.integers(0, 8 * len(row.body) - 1))
    changed = bytearray(row.body)
    changed[bit // 8] ^= 1 << bit % 8
    assert isinstance(whole((*values(row)[:-1], bytes(changed))), Damaged)


@given(ROWS, st.integers(0, 6), ANYTHING)
def test_any_other_value_in_any_column_is_noticed(row, column, value):
    """No value of any type makes an error, and none but the true one a whole row; the size is not needed for that."""
    columns = list(values(row))
    if column == 0:
        value = abs(hash(str(value))) % 2**62  # SQLite has nothing but integers there
    same = columns[column] == value and type(columns[column]) is type(value)
    columns[column] = value
    found = whole(tuple(columns))
    if isinstance(found, Row):
        assert same or column == 4
        assert found == row
    else:
        assert 0 <= found.items <= 1 << 20
        assert 0 <= found.size <= 1 << 30


@given(st.lists(ROWS))
def test_totals_add_up(rows):
    """What is added and taken away again leaves nothing."""
    total = Totals()
    for row in rows:
        total = total.plus(weigh(row))
    assert (total.requests, total.items) == (len(rows), sum(row.items for row in rows))
    for row in rows:
        total = total.minus(weigh(row))
    assert total == Totals()
