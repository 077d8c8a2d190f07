"""Span contexts as text: the cases of the W3C and Jaeger specifications, and whatever else a field may hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.trace_context import (
    NAMES,
    InvalidSpanContext,
    SpanContext,
    find,
    mentioned,
    parse_b3,
    parse_cloud_trace_context,
    parse_datadog_span_id,
    parse_datadog_trace_id,
    parse_google_trace,
    parse_sampled,
    parse_span_id,
    parse_trace_flags,
    parse_trace_id,
    parse_traceparent,
    parse_uber_trace_id,
    parse_xray,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OTHER = "0af7651916cd43dd8448eb211c80319c"
SPAN = "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"

hexadecimal = st.text("0123456789abcdef", min_size=1)
trace_ids = st.integers(1, 2**128 - 1).map(lambda number: f"{number:032x}")
span_ids = st.integers(1, 2**64 - 1).map(lambda number: f"{number:016x}")
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner),
)


class Refusals(list[tuple[str, str]]):
    """Collect what is left out, as (form, reason)."""

    def __call__(self, form: str, reason: str) -> None:
        self.append((form, reason))


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        (PARENT, 1),
        (f"00-{TRACE}-{SPAN}-00", 0),
        (f"00-{TRACE}-{SPAN}-03", 3),
        (f"00-{TRACE}-{SPAN}-ff", 255),
        (f"  {PARENT}\t", 1),
        (f"cc-{TRACE}-{SPAN}-01", 1),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", 1),
        (f"01-{TRACE}-{SPAN}-ff", 1),
        (f"01-{TRACE}-{SPAN}-02-", 0),
    ],
)
def test_valid_traceparents_are_read(text, flags):
    """Version 00 is read whole; of a later version only what version 00 defines."""
    assert parse_traceparent(text) == SpanContext(TRACE, SPAN, flags)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "format"),
        (f"00-{TRACE}-{SPAN}", "format"),
        (f"00-{TRACE}-{SPAN}-1", "format"),
        (f"00-{TRACE}-{SPAN}-01.", "length"),
        (f"00-{TRACE}-{SPAN}-01-", "length"),
        (f"00-{TRACE}-{SPAN}-01-what-the-future-will-be-like", "length"),
        (f"cc-{TRACE}-{SPAN}-01.what-the-future-will-be-like", "length"),
        (f"cc-{TRACE}-{SPAN}-1", "format"),
        (f"ff-{TRACE}-{SPAN}-01", "version"),
        (f"FF-{TRACE}-{SPAN}-01", "characters"),
        (f".0-{TRACE}-{SPAN}-01", "characters"),
        (f"0.-{TRACE}-{SPAN}-01", "characters"),
        (f"000-{TRACE}-{SPAN}-01", "format"),
        (f"0000-{TRACE}-{SPAN}-01", "format"),
        (f"0-{TRACE}-{SPAN}-01", "format"),
        (f"00-{'0' * 32}-{SPAN}-01", "zero"),
        (f"00-.{TRACE[1:]}-{SPAN}-01", "characters"),
        (f"00-{TRACE[1:]}.-{SPAN}-01", "characters"),
        (f"00-{TRACE}3-{SPAN}-01", "format"),
        (f"00-{TRACE[1:]}-{SPAN}-01", "format"),
        (f"00-{TRACE.upper()}-{SPAN}-01", "characters"),
        (f"00-{TRACE}-{'0' * 16}-01", "zero"),
        (f"00-{TRACE}-.{SPAN[1:]}-01", "characters"),
        (f"00-{TRACE}-{SPAN[1:]}.-01", "characters"),
        (f"00-{TRACE}-{SPAN}7-01", "format"),
        (f"00-{TRACE}-{SPAN[1:]}-01", "format"),
        (f"00-{TRACE}-{SPAN.upper()}-01", "characters"),
        (f"00-{TRACE}-{SPAN}-.0", "characters"),
        (f"00-{TRACE}-{SPAN}-0.", "characters"),
        (f"00-{TRACE}-{SPAN}-001", "length"),
        (f"00-{TRACE}-{SPAN}-0A", "characters"),
        (f"00_{TRACE}_{SPAN}_01", "format"),
        (f"00-{TRACE[:31]}٣-{SPAN}-01", "characters"),
        (f"00-0x{TRACE[2:]}-{SPAN}-01", "characters"),
        (f"00-{TRACE[:15]}_{TRACE[16:]}-{SPAN}-01", "characters"),
    ],
)
def test_wrong_traceparents_are_refused_with_the_reason(text, reason):
    """Every invalid case of the W3C's own test suite, and what a lenient integer parser would let through."""
    with pytest.raises(InvalidSpanContext) as caught:
        parse_traceparent(text)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{TRACE}:{SPAN}:0:1", (TRACE, SPAN, 1)),
        (f"{TRACE}:{SPAN}:0:01", (TRACE, SPAN, 1)),
        (f"{TRACE}:{SPAN}:{SPAN}:0", (TRACE, SPAN, 0)),
        (f"{TRACE.upper()}:{SPAN.upper()}:0:1", (TRACE, SPAN, 1)),
        ("a3ce929d0e0e4736:f067aa0ba902b7:0:1", ("0000000000000000a3ce929d0e0e4736", SPAN, 1)),
        ("1:2:0:1", ("0" * 31 + "1", "0" * 15 + "2", 1)),
        ("deadbeef:deadbef0:0:3", ("0" * 24 + "deadbeef", "0" * 8 + "deadbef0", 1)),
        (f"{TRACE}:{SPAN}:0:2", (TRACE, SPAN, 1)),
        (f"{TRACE}:{SPAN}:0:8", (TRACE, SPAN, 0)),
        (f"{TRACE}:{SPAN}:0:f", (TRACE, SPAN, 1)),
        (f"{TRACE}%3A{SPAN}%3a0%3A1", (TRACE, SPAN, 1)),
        (f" {TRACE}:{SPAN}:0:1 ", (TRACE, SPAN, 1)),
    ],
)
def test_valid_jaeger_contexts_are_read(text, expected):
    """Ids of any length up to the full one are padded, in either case; debug counts as sampled, firehose does not."""
    assert parse_uber_trace_id(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "format"),
        (TRACE, "format"),
        (f"{TRACE}:{SPAN}", "format"),
        (f"{TRACE}:{SPAN}:0", "format"),
        (f"{TRACE}:{SPAN}:0:1:1", "format"),
        (f":{SPAN}:0:1", "format"),
        (f"{TRACE}::0:1", "format"),
        (f"{TRACE}:{SPAN}::1", "format"),
        (f"{TRACE}:{SPAN}:0:", "format"),
        (f"0:{SPAN}:0:1", "zero"),
        (f"{TRACE}:0:0:1", "zero"),
        (f"{TRACE}0:{SPAN}:0:1", "length"),
        (f"{TRACE}:{SPAN}0:0:1", "length"),
        (f"{TRACE}:{SPAN}:{SPAN}0:1", "length"),
        (f"{TRACE}:{SPAN}:0:001", "length"),
        (f"{TRACE[1:]}g:{SPAN}:0:1", "characters"),
        (f"{TRACE}:-1:0:1", "characters"),
        (f"{TRACE}:{SPAN}:x:1", "characters"),
        (f"{TRACE}:{SPAN}:0:0x", "characters"),
        ("1" * 1_000_000, "format"),
        (":" * 1_000_000, "format"),
    ],
)
def test_wrong_jaeger_contexts_are_refused_with_the_reason(text, reason):
    """Four parts, no empty one, no zero id, nothing longer than the format allows."""
    with pytest.raises(InvalidSpanContext) as caught:
        parse_uber_trace_id(text)
    assert caught.value.reason == reason


def test_an_id_of_its_own_field_may_be_upper_case_or_64_bits_wide():
    """Loggers write ids as they like; a trace id is the same in either case and padded on the left."""
    assert parse_trace_id(TRACE.upper()) == TRACE
    assert parse_trace_id("A3CE929D0E0E4736") == "0000000000000000a3ce929d0e0e4736"
    assert parse_span_id(SPAN.upper()) == SPAN


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0", "length"),
        ("0" * 32, "zero"),
        ("0" * 16, "zero"),
        (TRACE[1:], "length"),
        ("4bf92f35-77b3-4da6-a3ce-929d0e0e4736", "length"),
        (f"0x{TRACE[2:]}", "characters"),
        (f" {TRACE[1:]}", "characters"),
        ("İ" * 16, "characters"),
    ],
)
def test_other_texts_are_no_trace_ids(text, reason):
    """A UUID with dashes is a request id, and nothing is cut, stripped or guessed."""
    with pytest.raises(InvalidSpanContext) as caught:
        parse_trace_id(text)
    assert caught.value.reason == reason


@pytest.mark.parametrize(("value", "flags"), [("01", 1), ("1", 1), ("ff", 255), ("FF", 255), (0, 0), (255, 255)])
def test_trace_flags_are_a_number_or_hex_digits(value, flags):
    """OpenTelemetry's loggers write two hex digits, others a number."""
    assert parse_trace_flags(value) == flags


@pytest.mark.parametrize(
    ("value", "reason"), [("", "length"), ("001", "length"), ("0x", "characters"), (256, "range"), (-1, "range")]
)
def test_other_trace_flags_are_refused(value, reason):
    """Flags are one byte."""
    with pytest.raises(InvalidSpanContext) as caught:
        parse_trace_flags(value)
    assert caught.value.reason == reason


def test_the_error_shows_what_was_found_but_not_a_megabyte_of_it():
    """The message quotes the beginning of the text."""
    with pytest.raises(InvalidSpanContext, match=r"^'xxxxx") as caught:
        parse_traceparent("x" * 1_000_000)
    assert len(str(caught.value)) < 200


@given(trace_ids, span_ids, st.integers(0, 255))
def test_a_written_context_is_read_back(trace_id, span_id, flags):
    """Writing and reading gives the same context in both forms."""
    assert parse_traceparent(f"00-{trace_id}-{span_id}-{flags:02x}") == (trace_id, span_id, flags)
    jaeger = f"{int(trace_id, 16):x}:{int(span_id, 16):x}:0:{flags & 1:x}"
    assert parse_uber_trace_id(jaeger) == (trace_id, span_id, flags & 1)


@given(st.text(st.sampled_from("0123456789abcdefABCDEF-:%x _gİ٣"), max_size=90) | st.text())
def test_no_text_breaks_a_parser_and_what_is_accepted_is_valid(text):
    """A parser returns full lower-case ids that are not zero, or refuses."""
    for parse in (parse_traceparent, parse_uber_trace_id, lambda value: SpanContext(parse_trace_id(value), SPAN, 0)):
        try:
            trace_id, span_id, flags = parse(text)
        except InvalidSpanContext:
            continue
        assert f"{int(trace_id, 16):032x}" == trace_id != "0" * 32
        assert f"{int(span_id, 16):016x}" == span_id != "0" * 16
        assert 0 <= flags <= 255


@given(st.dictionaries(st.sampled_from(sorted(NAMES)), anything))
def test_no_attribute_value_breaks_the_search(attributes):
    """Whatever the attributes hold, the search ends with a valid context or none."""
    found = find(mentioned(attributes), Refusals())
    assert found is None or len(found.context.trace_id) == 32


def test_the_order_is_trace_id_then_jaeger_then_traceparent():
    """Where they name different traces the first one wins and the others are refused."""
    attributes = {"traceparent": PARENT, "uber-trace-id": f"{OTHER}:{SPAN}:0:1", "trace_id": "1" * 32}
    refused = Refusals()
    assert find(attributes, refused).context.trace_id == "1" * 32
    assert refused == [("uber-trace-id", "conflict"), ("traceparent", "conflict")]
    del attributes["trace_id"]
    assert find(attributes, refused)[:2] == ((OTHER, SPAN, 1), "uber-trace-id")


def test_a_wrong_one_gives_way_to_the_next():
    """An invalid trace_id does not hide a valid traceparent, and its span_id is not used."""
    refused = Refusals()
    found = find({"trace_id": "0" * 32, "span_id": "1" * 16, "traceparent": PARENT}, refused)
    assert found.context == (TRACE, SPAN, 1)
    assert refused == [("trace_id", "zero")]


def test_what_is_missing_is_completed_from_the_same_trace():
    """A bare trace id takes span and flags from the traceparent of the same trace, and names all it has read."""
    found = find({"trace_id": TRACE, "traceparent": PARENT}, Refusals())
    assert found == ((TRACE, SPAN, 1), "attribute", ("trace_id", "traceparent"))


def test_flags_of_another_span_are_not_taken():
    """The same trace with another span says nothing about this span's flags."""
    found = find({"trace_id": TRACE, "span_id": "1" * 16, "traceparent": PARENT}, Refusals())
    assert found.context == (TRACE, "1" * 16, None)


@pytest.mark.parametrize("value", [PARENT, PARENT.encode(), [PARENT], [PARENT, PARENT], [PARENT.encode()]])
def test_values_may_be_text_bytes_or_equal_repeats(value):
    """Journal fields arrive as bytes and may be repeated."""
    assert find({"TRACEPARENT": value}, Refusals()).context.trace_id == TRACE


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([PARENT, f"00-{OTHER}-{SPAN}-01"], "ambiguous"),
        (1, "type"),
        ({"a": "b"}, "type"),
        (b"\xff" * 55, "format"),
        (True, "type"),
    ],
)
def test_other_values_are_refused(value, reason):
    """Two different headers are none, as the W3C has it; other types are no text."""
    refused = Refusals()
    assert find({"traceparent": value}, refused) is None
    assert refused == [("traceparent", reason)]


@pytest.mark.parametrize("value", ["", b"", [], None])
def test_an_empty_value_is_an_absent_one(value):
    """Loggers write empty ids outside of a trace; that is not worth a count."""
    refused = Refusals()
    assert find({"trace_id": value}, refused) is None
    assert refused == []


def test_both_spellings_of_a_name_are_tried():
    """A wrong lower-case attribute gives way to the journal field of the same name."""
    refused = Refusals()
    assert find({"trace_id": "x", "TRACE_ID": TRACE}, refused).context.trace_id == TRACE
    assert refused == [("trace_id", "length")]


LOW = TRACE[16:]
ROOT = "1-5759e988-bd862e3fe1be46a994272793"
ROOT_ID, ROOT_PARENT = "5759e988bd862e3fe1be46a994272793", "53995c3f42cd8ad8"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{TRACE}-{SPAN}-1-{SPAN}", (TRACE, SPAN, 1)),
        (f"{TRACE}-{SPAN}-0", (TRACE, SPAN, 0)),
        (f"{TRACE}-{SPAN}-d", (TRACE, SPAN, 1)),
        (f"{TRACE}-{SPAN}", (TRACE, SPAN, None)),
        (f"{LOW}-{SPAN}-1", ("0" * 16 + LOW, SPAN, 1)),
        (f" {TRACE}-{SPAN}\t", (TRACE, SPAN, None)),
        ("0", None),
        ("1", None),
        ("d", None),
    ],
)
def test_b3s_single_header_is_read(text, expected):
    """All its forms, of which a sampling decision alone names no trace; debug counts as sampled, and no decision as none."""
    assert parse_b3(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "format"),
        ("2", "format"),
        (TRACE, "format"),
        (f"{TRACE}-{SPAN}-1-{SPAN}-1", "format"),
        (f"{TRACE}-{SPAN}-2", "sampling"),
        (f"{TRACE}-{SPAN}-", "sampling"),
        (f"{TRACE}-{SPAN}-true", "sampling"),
        (f"{TRACE}-{SPAN}-1-", "length"),
        (f"{TRACE[1:]}-{SPAN}-1", "length"),
        (f"{TRACE}-{SPAN[1:]}-1", "length"),
        (f"{TRACE.upper()}-{SPAN}-1", "characters"),
        (f"{'0' * 32}-{SPAN}-1", "zero"),
        (f"{TRACE}-{'0' * 16}-1", "zero"),
        ("-" * 1_000_000, "format"),
    ],
)
def test_wrong_b3_headers_are_refused_with_the_reason(text, reason):
    """Ids are lower-case hex of their full width."""
    with pytest.raises(InvalidSpanContext) as caught:
        parse_b3(text)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"Root={ROOT};Parent={ROOT_PARENT};Sampled=1", (ROOT_ID, ROOT_PARENT, 1)),
        (f"Root={ROOT};Sampled=0", (ROOT_ID, "", 0)),
        (f"Root={ROOT}", (ROOT_ID, "", None)),
        (f"Root={ROOT};Sampled=?", (ROOT_ID, "", None)),
        (f"Sampled=1; Parent={ROOT_PARENT}; Root={ROOT}", (ROOT_ID, ROOT_PARENT, 1)),
        (f"Self=1-67891234-12456789abcdef0123456789;Root={ROOT};Lineage=a87bd80c:1", (ROOT_ID, "", None)),
        (ROOT, (ROOT_ID, "", None)),
    ],
)
def test_x_rays_header_is_read(text, expected):
    """The root's two numbers are the trace id; keys come in any order, and some are the load balancer's own."""
    assert parse_xray(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{TRACE}/{int(SPAN, 16)};o=1", (TRACE, SPAN, 1)),
        (f"{TRACE}/1;o=0", (TRACE, "0" * 15 + "1", 0)),
        (f"{TRACE}/0;o=3", (TRACE, "", 1)),
        (f"{TRACE}/1", (TRACE, "0" * 15 + "1", None)),
        (TRACE.upper(), (TRACE, "", None)),
    ],
)
def test_googles_header_is_read(text, expected):
    """The span is decimal; the lowest bit of the options is the decision."""
    assert parse_cloud_trace_context(text) == expected


def test_a_google_log_entrys_trace_is_a_path_or_an_id():
    """Structured logging writes either."""
    assert parse_google_trace(f"projects/shop-1/traces/{TRACE}") == parse_google_trace(TRACE) == TRACE
    for text in (
        f"projects//traces/{TRACE}",
        f"projects/a/b/{TRACE}",
        f"organizations/a/traces/{TRACE}",
        "projects/a/traces/1",
    ):
        with pytest.raises(InvalidSpanContext):
            parse_google_trace(text)


def test_datadogs_ids_are_decimal_or_128_bits_in_hex():
    """64 bits are written in decimal, 128 in hex; both become hex digits."""
    assert parse_datadog_trace_id(str(int(LOW, 16))) == parse_datadog_trace_id(int(LOW, 16)) == "0" * 16 + LOW
    assert parse_datadog_trace_id(TRACE) == TRACE
    assert parse_datadog_span_id(str(int(SPAN, 16))) == SPAN
    for value, reason in ((0, "zero"), ("0", "zero"), (2**64, "range"), (-1, "range"), ("", "length"), ("1a", "characters")):
        with pytest.raises(InvalidSpanContext) as caught:
            parse_datadog_trace_id(value)
        assert caught.value.reason == reason


def test_sampling_decisions_are_words_or_digits():
    """B3 once had true and false; Google's field is a boolean."""
    assert [parse_sampled(value) for value in ("1", "true", True, "d", 1)] == [1] * 5
    assert [parse_sampled(value) for value in ("0", "false", False, 0)] == [0] * 4
    with pytest.raises(InvalidSpanContext):
        parse_sampled("2")


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"b3": f"{TRACE}-{SPAN}-1"}, ((TRACE, SPAN, 1), "b3")),
        ({"B3": f"{TRACE}-{SPAN}".encode()}, ((TRACE, SPAN, None), "b3")),
        ({"X_B3_TRACEID": LOW, "X_B3_SPANID": SPAN, "X_B3_SAMPLED": "1"}, (("0" * 16 + LOW, SPAN, 1), "b3")),
        ({"x-b3-traceid": TRACE, "x-b3-flags": "1", "x-b3-sampled": "0"}, ((TRACE, "", 1), "b3")),
        ({"X-B3-TraceId": TRACE, "X-B3-Flags": "0", "X-B3-Sampled": "false"}, ((TRACE, "", 0), "b3")),
        ({"dd.trace_id": int(LOW, 16), "dd.span_id": str(int(SPAN, 16))}, (("0" * 16 + LOW, SPAN, None), "datadog")),
        ({"DD_TRACE_ID": b"1", "DD_SPAN_ID": b"2"}, (("0" * 31 + "1", "0" * 15 + "2", None), "datadog")),
        ({"x-amzn-trace-id": f"Root={ROOT};Sampled=1"}, ((ROOT_ID, "", 1), "xray")),
        ({"_X_AMZN_TRACE_ID": f"Root={ROOT};Parent={ROOT_PARENT}"}, ((ROOT_ID, ROOT_PARENT, None), "xray")),
        ({"x-cloud-trace-context": f"{TRACE}/1;o=1"}, ((TRACE, "0" * 15 + "1", 1), "google")),
        (
            {
                "logging.googleapis.com/trace": f"projects/p/traces/{TRACE}",
                "logging.googleapis.com/spanId": SPAN,
                "logging.googleapis.com/trace_sampled": True,
            },
            ((TRACE, SPAN, 1), "google"),
        ),
        ({"b3": "0"}, None),
    ],
)
def test_other_headers_are_read_by_their_names(attributes, expected):
    """As attributes or journal fields, text, bytes or numbers."""
    refused = Refusals()
    found = find(attributes, refused)
    assert (found and (tuple(found.context), found.form)) == expected
    assert refused == []


def test_the_three_first_forms_go_before_the_others():
    """B3, Datadog, X-Ray and Google come after those that were read before them, in this order."""
    attributes = {
        "x-cloud-trace-context": "6" * 32,
        "x-amzn-trace-id": "Root=1-55555555-" + "5" * 24,
        "dd.trace_id": "4" * 32,
        "b3": "3" * 32 + f"-{SPAN}",
        "traceparent": PARENT,
    }
    forms = []
    while attributes:
        forms.append(find(attributes, Refusals()).form)
        del attributes[next(reversed(attributes))]
    assert forms == ["traceparent", "b3", "datadog", "xray", "google"]


def test_the_lower_half_of_a_trace_id_names_the_same_trace():
    """Datadog tells 64 of 128 bits; that completes the full id and contradicts nothing."""
    refused = Refusals()
    found = find({"trace_id": TRACE, "dd.trace_id": str(int(LOW, 16)), "dd.span_id": str(int(SPAN, 16))}, refused)
    assert (found.context, refused) == ((TRACE, SPAN, None), [])


@given(st.text(st.sampled_from("0123456789abcdefA-;=/:Rotd. "), max_size=120) | st.text())
def test_no_text_breaks_the_other_parsers(text):
    """A header is read into full ids or refused."""
    for parse in (parse_b3, parse_xray, parse_cloud_trace_context):
        try:
            context = parse(text)
        except InvalidSpanContext:
            continue
        if context is not None:
            assert f"{int(context.trace_id, 16):032x}" == context.trace_id
            assert context.span_id == "" or f"{int(context.span_id, 16):016x}" == context.span_id
            assert context.flags in (None, 0, 1)
