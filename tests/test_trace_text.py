"""Span contexts in texts: each form in JSON, logfmt and sentences, what only looks like one, and what it costs."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.trace_context.mentions import NAMED
from tapio_otel.trace_text import find_in_text
from tests import trace_text_reference

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OTHER = "0af7651916cd43dd8448eb211c80319c"
SPAN = "00f067aa0ba902b7"
LOW = TRACE[16:]
SHORT = "0" * 16 + LOW
PARENT = f"00-{TRACE}-{SPAN}-01"
DECIMAL, DECIMAL_SPAN = str(int(LOW, 16)), str(int(SPAN, 16))
ROOT = "1-5759e988-bd862e3fe1be46a994272793"
XRAY = ("5759e988bd862e3fe1be46a994272793", "53995c3f42cd8ad8", 1)


class Refusals(list[tuple[str, str]]):
    """Collect what is left out, as (form, reason)."""

    def __call__(self, form: str, reason: str) -> None:
        self.append((form, reason))


def read(text):
    """Return context and form that a text gives, and what was refused."""
    refused = Refusals()
    found = find_in_text(text, refused)
    return (found and (*found.context, found.form)), refused


# name, values of its fields, what they say
FORMS = [
    ({"trace_id": TRACE, "span_id": SPAN, "trace_flags": "01"}, (TRACE, SPAN, 1, "text.trace_id")),
    ({"traceId": TRACE.upper(), "spanId": SPAN}, (TRACE, SPAN, None, "text.trace_id")),
    ({"traceID": LOW, "spanID": SPAN}, (SHORT, SPAN, None, "text.trace_id")),
    ({"trace.id": TRACE, "span.id": SPAN}, (TRACE, SPAN, None, "text.trace_id")),
    ({"trace-id": TRACE, "traceFlags": "00"}, (TRACE, "", 0, "text.trace_id")),
    ({"otelTraceID": TRACE, "otelSpanID": SPAN}, (TRACE, SPAN, None, "text.trace_id")),
    ({"@tr": TRACE, "@sp": SPAN}, (TRACE, SPAN, None, "text.trace_id")),
    ({"uber-trace-id": f"{TRACE}:{SPAN}:0:1"}, (TRACE, SPAN, 1, "text.uber-trace-id")),
    ({"uber-trace-id": f"{LOW}%3A{SPAN}%3A0%3A0"}, (SHORT, SPAN, 0, "text.uber-trace-id")),
    ({"traceparent": PARENT}, (TRACE, SPAN, 1, "text.traceparent")),
    ({"Traceparent": f"cc-{TRACE}-{SPAN}-01-later"}, (TRACE, SPAN, 1, "text.traceparent")),
    ({"b3": f"{TRACE}-{SPAN}-1"}, (TRACE, SPAN, 1, "text.b3")),
    ({"b3": f"{TRACE}-{SPAN}-d-{SPAN}"}, (TRACE, SPAN, 1, "text.b3")),
    ({"B3": f"{LOW}-{SPAN}-0"}, (SHORT, SPAN, 0, "text.b3")),
    ({"b3": f"{TRACE}-{SPAN}"}, (TRACE, SPAN, None, "text.b3")),
    ({"X-B3-TraceId": TRACE, "X-B3-SpanId": SPAN, "X-B3-Sampled": "0"}, (TRACE, SPAN, 0, "text.b3")),
    ({"x-b3-traceid": LOW, "x-b3-spanid": SPAN, "x-b3-flags": "1"}, (SHORT, SPAN, 1, "text.b3")),
    ({"dd.trace_id": DECIMAL, "dd.span_id": DECIMAL_SPAN}, (SHORT, SPAN, None, "text.datadog")),
    ({"dd.trace_id": TRACE, "dd.span_id": DECIMAL_SPAN}, (TRACE, SPAN, None, "text.datadog")),
    ({"dd.trace_id": "18446744073709551615"}, ("0" * 16 + "f" * 16, "", None, "text.datadog")),
    ({"X-Amzn-Trace-Id": f"Root={ROOT};Parent={XRAY[1]};Sampled=1"}, (*XRAY, "text.xray")),
    ({"x-amzn-trace-id": f"Self=1-67891234-12456789abcdef0123456789;Root={ROOT}"}, (XRAY[0], "", None, "text.xray")),
    ({"X-Amzn-Trace-Id": f"Root={ROOT};Sampled=?"}, (XRAY[0], "", None, "text.xray")),
    ({"xray_trace_id": ROOT}, (XRAY[0], "", None, "text.xray")),
    ({"X-Cloud-Trace-Context": f"{TRACE}/{DECIMAL_SPAN};o=1"}, (TRACE, SPAN, 1, "text.google")),
    ({"X-Cloud-Trace-Context": f"{TRACE}/0;o=0"}, (TRACE, "", 0, "text.google")),
    ({"X-Cloud-Trace-Context": TRACE}, (TRACE, "", None, "text.google")),
    ({"trace": f"projects/shop-1/traces/{TRACE}"}, (TRACE, "", None, "text.google")),
    (
        {
            "logging.googleapis.com/trace": f"projects/shop-1/traces/{TRACE}",
            "logging.googleapis.com/spanId": SPAN,
            "logging.googleapis.com/trace_sampled": "true",
        },
        (TRACE, SPAN, 1, "text.google"),
    ),
]
WRITTEN = {
    "JSON": lambda fields: json.dumps({"level": "error", "msg": "it broke", **fields}),
    "JSON one level down": lambda fields: json.dumps({"level": "error", "mdc": fields}),
    "JSON two levels down": lambda fields: json.dumps({"log": {"context": fields}}),
    "JSON within JSON": lambda fields: json.dumps({"log": json.dumps(fields) + "\n", "stream": "stdout"}),
    "JSON cut short": lambda fields: json.dumps({**fields, "rest": "x"})[:-3],
    "logfmt": lambda fields: "level=error " + " ".join(f"{key}={value}" for key, value in fields.items()) + " msg=x",
    "logfmt in quotes": lambda fields: " ".join(f'{key}="{value}"' for key, value in fields.items()),
    "headers": lambda fields: "\n".join(f"{key}: {value}" for key, value in fields.items()),
    "brackets": lambda fields: "INFO [" + ", ".join(f"{key}={value}" for key, value in fields.items()) + "] it broke",
    "map": lambda fields: "{" + ", ".join(f"{key}={value}" for key, value in fields.items()) + "}",
    "sentence": lambda fields: "It broke, " + " and ".join(f"{key}: {value}" for key, value in fields.items()) + ".",
}


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize(("fields", "expected"), FORMS)
def test_every_form_is_found_however_it_is_written(written, fields, expected):
    """The same context comes from JSON, logfmt and plain text, with the form in its provenance."""
    assert read(WRITTEN[written](fields)) == (expected, [])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"trace": {"id": TRACE}, "span": {"id": SPAN}}, (TRACE, SPAN, None, "text.trace_id")),
        ({"dd": {"trace_id": DECIMAL, "span_id": DECIMAL_SPAN}}, (SHORT, SPAN, None, "text.datadog")),
        ({"dd.trace_id": int(DECIMAL), "dd.span_id": int(DECIMAL_SPAN)}, (SHORT, SPAN, None, "text.datadog")),
        ({"request": {"headers": {"Traceparent": [PARENT]}}}, (TRACE, SPAN, 1, "text.traceparent")),
        ({"parent": {"span_id": "1" * 16}, "trace_id": TRACE, "span_id": SPAN}, (TRACE, SPAN, None, "text.trace_id")),
        ({"a": {"span_id": "1" * 16}, "trace_id": TRACE, "span_id": SPAN}, (TRACE, SPAN, None, "text.trace_id")),
        ({"msg": f"it broke, trace_id={TRACE}"}, (TRACE, "", None, "text.trace_id")),
        ({"trace_id": "", "msg": f"traceparent: {PARENT}"}, (TRACE, SPAN, 1, "text.traceparent")),
        ({"logging.googleapis.com/trace": TRACE, "logging.googleapis.com/trace_sampled": False}, (TRACE, "", 0, "text.google")),
    ],
)
def test_json_is_read_by_its_structure(body, expected):
    """Nested objects, numbers and lists count; outer values come before inner ones, a parent's span is not this one's."""
    assert read(json.dumps(body)) == (expected, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"INFO [orders,{LOW},{SPAN},true] 1 --- [main] x", (SHORT, SPAN, 1, "text.spring")),
        (f"INFO [orders,{TRACE},{SPAN},false] x", (TRACE, SPAN, 0, "text.spring")),
        (f"INFO [orders,{TRACE},{SPAN},] x", (TRACE, SPAN, None, "text.spring")),
        (f"INFO [orders, {TRACE}, {SPAN}] x", (TRACE, SPAN, None, "text.spring")),
        (f"INFO 1 --- [orders] [main] [{TRACE}-{SPAN}] x", (TRACE, SPAN, None, "text.spring")),
        (f"[{TRACE},{SPAN}] x", (TRACE, SPAN, None, "text.spring")),
        (f"x Root={ROOT};Parent={XRAY[1]};Sampled=1 x", (*XRAY, "text.xray")),
        (f"AWS-XRAY-TRACE-ID: {ROOT}@{XRAY[1]} x", (*XRAY[:2], None, "text.xray")),
        (
            f"REPORT RequestId: 8f5-1 Duration: 9.1 ms\nXRAY TraceId: {ROOT}\tSegmentId: {XRAY[1]}\tSampled: true",
            (XRAY[0], "", None, "text.xray"),
        ),
        (f"see projects/shop-1/traces/{TRACE}.", (TRACE, "", None, "text.google")),
        (f"Trace ID: {TRACE}", (TRACE, "", None, "text.trace_id")),
        (f"GET /a?traceId={TRACE}&b=c", (TRACE, "", None, "text.trace_id")),
        (f"trace_id={TRACE};span_id={SPAN}", (TRACE, SPAN, None, "text.trace_id")),
        (f"İİİ trace_id={TRACE}", (TRACE, "", None, "text.trace_id")),
        (f"\ud800 trace_id={TRACE}", (TRACE, "", None, "text.trace_id")),
        (f"trace_id={TRACE} dd.trace_id={DECIMAL} dd.span_id={DECIMAL_SPAN}", (TRACE, SPAN, None, "text.trace_id")),
    ],
)
def test_forms_of_plain_text_are_found(text, expected):
    """What stands without a name, or with one that only sentences have."""
    assert read(text) == (expected, [])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Started Session 42 of user root.",
        f"commit {OTHER}",
        f"md5 {TRACE}  /srv/a.bin",
        "request_id=4bf92f35-77b3-4da6-a3ce-929d0e0e4736",
        f"Traceback (most recent call last): {TRACE}",
        f"backtrace_id={TRACE}",
        f"parent_trace_id={TRACE}",
        f"parent-trace-id={TRACE}",
        f"traceroute to {TRACE}",
        f"trace route {TRACE}",
        f"trace_id {TRACE}",
        f"stack_trace={TRACE}",
        f"xb3={TRACE}-{SPAN}",
        "b3: 0",
        "b3=1",
        "b3=d",
        "b3=blue",
        "b3: 12",
        '{"b3": "0"}',
        "trace_id=",
        "trace_id=null trace_id=- trace_id=None",
        "trace id: missing",
        '{"trace_id": null, "span_id": ""}',
        '{"trace_id": "null"}',
        f'{{"links": [{{"trace_id": "{TRACE}"}}], "parent": {{"trace_id": "{OTHER}"}}}}',
        f"span_id={SPAN}",
        f"[{LOW},{SPAN}]",
        "[ffffffff81000000-ffffffff82000000]",
        "[mem 0x0000000000000000-0x000000000009fbff] usable",
        f"[orders,{TRACE},{SPAN},maybe]",
        f"[orders,{'0' * 32},{SPAN}]",
        "[orders,,]",
        "[" * 1000 + "]" * 1000,
        "root=1-2 items",
        "Projects/shop/traces/1",
        "backtrace of /home/bob/projects/shop/traces/1.txt root=1-2",
    ],
)
def test_what_only_looks_like_one_is_neither_found_nor_counted(text):
    """Hashes, UUIDs, words with `trace` in them, addresses, and ids that are not there."""
    assert read(text) == (None, [])


@pytest.mark.parametrize(
    ("text", "form", "reason"),
    [
        ("trace_id=4bf92f35-77b3-4da6-a3ce-929d0e0e4736", "text.trace_id", "length"),
        (f"trace_id={'0' * 32}", "text.trace_id", "zero"),
        (f"trace_id={TRACE[:31]}g", "text.trace_id", "characters"),
        (f"trace_id={TRACE}0", "text.trace_id", "length"),
        (f'{{"trace_id":"{TRACE[1:]}"}}', "text.trace_id", "length"),
        ('{"trace_id":123456}', "text.trace_id", "type"),
        (f"traceparent: ff-{TRACE}-{SPAN}-01", "text.traceparent", "version"),
        (f"traceparent: 00-{TRACE.upper()}-{SPAN}-01", "text.traceparent", "characters"),
        (f"traceparent: 00-{TRACE}-{'0' * 16}-01", "text.traceparent", "zero"),
        (f"traceparent: 00-{TRACE}-{SPAN}-01-x", "text.traceparent", "length"),
        (f"uber-trace-id: {TRACE}:{SPAN}:0", "text.uber-trace-id", "format"),
        (f"uber-trace-id: {TRACE}%3A0%3A0%3A1", "text.uber-trace-id", "zero"),
        (f"b3: {TRACE.upper()}-{SPAN}-1", "text.b3", "characters"),
        (f"b3: {TRACE}-{SPAN}-2", "text.b3", "sampling"),
        (f"b3: {TRACE[1:]}-{SPAN}-1", "text.b3", "length"),
        (f"b3: {'0' * 32}-{SPAN}-1", "text.b3", "zero"),
        (f"b3: {TRACE}-{SPAN}-1-12", "text.b3", "length"),
        (f"X-B3-TraceId: {TRACE[1:]}", "text.b3", "length"),
        ("dd.trace_id=0", "text.datadog", "zero"),
        ("dd.trace_id=18446744073709551616", "text.datadog", "range"),
        ("dd.trace_id=123456789012345678901", "text.datadog", "length"),
        ("dd.trace_id=12ab", "text.datadog", "characters"),
        ("dd.trace_id=-1", "text.datadog", "characters"),
        ("X-Amzn-Trace-Id: Root=2-5759e988-bd862e3fe1be46a994272793", "text.xray", "version"),
        ("Root=1-5759e988-bd862e3fe1be46a99427279", "text.xray", "format"),
        ("Root=1-00000000-000000000000000000000000", "text.xray", "zero"),
        (f"Root={ROOT};Parent=53995c3f42cd8ad", "text.xray", "length"),
        (f"Root={ROOT};Sampled=2", "text.xray", "sampling"),
        ("X-Amzn-Trace-Id: Parent=53995c3f42cd8ad8", "text.xray", "format"),
        (f"X-Cloud-Trace-Context: {TRACE[1:]}/1;o=1", "text.google", "length"),
        (f"X-Cloud-Trace-Context: {TRACE}/x;o=1", "text.google", "characters"),
        (f"X-Cloud-Trace-Context: {TRACE}/1;p=1", "text.google", "format"),
        (f"projects/shop/traces/{TRACE[1:]}", "text.google", "length"),
        (f"projects/shop/traces/{'0' * 32}", "text.google", "zero"),
        (f'{{"logging.googleapis.com/trace":"projects/{TRACE}"}}', "text.google", "format"),
    ],
)
def test_what_breaks_its_form_is_refused_with_form_and_reason(text, form, reason):
    """Each form is as strict in text as in a field of its own."""
    assert read(text) == (None, [(form, reason)])


def test_of_two_traces_the_earlier_form_stays_and_the_other_is_a_conflict():
    """The order of forms decides, not the place in the text; of one form, the place does."""
    assert read(f"traceparent: 00-{OTHER}-{SPAN}-01 trace_id={TRACE}") == (
        (TRACE, "", None, "text.trace_id"),
        [("text.traceparent", "conflict")],
    )
    found, refused = read(f"trace_id={TRACE} span_id={SPAN}, earlier trace_id={OTHER} span_id={'1' * 16}")
    assert (found, refused) == ((TRACE, SPAN, None, "text.trace_id"), [("text.trace_id", "conflict")])
    assert read(f"[orders,{OTHER},{SPAN}] trace_id={TRACE}")[0][0] == TRACE


def test_an_invalid_one_gives_way_to_a_later_one_of_the_same_form():
    """The first valid one counts."""
    assert read(f"trace_id={'0' * 32} then trace_id={TRACE}") == (
        (TRACE, "", None, "text.trace_id"),
        [("text.trace_id", "zero")],
    )


def test_the_same_trace_named_twice_is_no_conflict():
    """Two forms of one trace complete each other."""
    assert read(f"trace_id={TRACE} traceparent={PARENT} trace_id={TRACE}") == ((TRACE, SPAN, 1, "text.trace_id"), [])


def test_the_first_16_kib_are_looked_at():
    """What a text says beyond is not."""
    assert read("x" * 16_000 + f" trace_id={TRACE}")[0] is not None
    assert read("x" * 17_000 + f" trace_id={TRACE}")[0] is None


NAMES = st.sampled_from(
    ["trace_id=", "traceId: ", '"trace_id":"', "span_id=", "traceparent=", "b3: ", "uber-trace-id=", "dd.trace_id=", "Root=1-"]
) | st.sampled_from(
    ["projects/p/traces/", "X-B3-TraceId: ", "x-cloud-trace-context: ", "[a,", '{"', '"}', "Self=1;", "@tr", "\ud800", "İ"]
)
VALUES = st.sampled_from(
    [TRACE, SPAN, LOW, PARENT, DECIMAL, ROOT, "0" * 32, ";", ",", "-", "/", "%3A", ":", "]", "\\", "'", '"', " "]
)


@given(st.lists(NAMES | VALUES | st.text(max_size=4), max_size=40).map("".join) | st.text())
def test_no_text_breaks_the_search_and_every_result_is_valid(text):
    """Whatever a text holds, the ids found are full, lower-case and not zero."""
    found, refused = read(text)
    assert all(form.startswith("text.") and reason for form, reason in refused)
    if found is not None:
        trace_id, span_id, flags, form = found
        assert f"{int(trace_id, 16):032x}" == trace_id != "0" * 32
        assert span_id == "" or f"{int(span_id, 16):016x}" == span_id != "0" * 16
        assert flags is None or 0 <= flags <= 255
        assert form.startswith("text.")


SPELLED = st.sampled_from(sorted(NAMED)).flatmap(
    lambda name: st.sampled_from(
        [name, name.upper(), name.title().replace("@T", "@t"), name.replace("_", " "), name.replace("-", "_")]
    )
)
GLUE = st.sampled_from(
    [
        "=",
        ": ",
        '":"',
        "=>",
        " = ",
        ' : "',
        "']['",
        "\n",
        ";",
        "{",
        "}",
        "[",
        "],",
        ",",
        "@",
        "_",
        ".",
        "x",
        "x ",
        "dd ",
        "otel ",
    ]
) | st.sampled_from(
    ["Self=", "self=1;", "xRoot=1-", "projects/", "/traces/", "xray ", "uber ", "%3A", "\u2003", "\x85", "\x1c", "Ǆ"]
)
IDS = VALUES | st.sampled_from([TRACE.upper(), SPAN.upper(), f"{ROOT}@{SPAN}", "true", "null", "1", "d", "01", ".", ":;."])


@given(st.lists(SPELLED | GLUE | IDS | NAMES, max_size=24).map("".join))
def test_the_quick_search_gives_what_the_plain_one_does(text):
    """Context, form and refusals are those of one expression of all names, whatever stands side by side."""
    refused = Refusals()
    assert (find_in_text(text, refused), refused) == (trace_text_reference.find_in_text(text, expected := Refusals()), expected)


@given(
    st.lists(
        st.tuples(SPELLED, st.sampled_from(["=", ": ", '="', "=>"]), IDS, st.sampled_from([" ", '" ', ", ", "; ", "] ["])).map(
            "".join
        ),
        min_size=1,
        max_size=6,
    ).map("".join)
)
def test_the_quick_search_gives_what_the_plain_one_does_for_names_with_values(text):
    """The same for texts that nearly all say something."""
    refused = Refusals()
    assert (find_in_text(text, refused), refused) == (trace_text_reference.find_in_text(text, expected := Refusals()), expected)


@given(
    st.lists(
        st.sampled_from(
            ["[", "]", "]", ",", ", ", "-", "app", "true", "false", ",true]", ",]", LOW, TRACE, SPAN, SPAN.upper(), "x" * 70]
        )
        | st.sampled_from(
            [f"[app,{TRACE},{SPAN},true]", f"[{TRACE}-{SPAN}]", f"[app, {LOW}, {SPAN}\u2003, ]", "trace_id=" + OTHER]
        ),
        max_size=24,
    ).map("".join)
)
def test_brackets_are_read_as_the_plain_search_reads_them(text):
    """What says no at a glance hides none."""
    refused = Refusals()
    assert (find_in_text(text, refused), refused) == (trace_text_reference.find_in_text(text, expected := Refusals()), expected)


@given(
    st.dictionaries(
        SPELLED | st.sampled_from(["trace", "span", "dd", "parent", "links"]),
        IDS
        | st.none()
        | st.integers(-1, 1 << 65)
        | st.lists(IDS, max_size=2)
        | st.dictionaries(
            SPELLED | st.sampled_from(["id", "trace_id"]), IDS | st.just(f"projects/p/traces/{TRACE}"), max_size=3
        ),
        max_size=6,
    )
)
def test_json_is_read_as_the_plain_search_reads_it(body):
    """Fields, numbers and objects give the same."""
    text, refused = json.dumps({**body, "trace.": 1}), Refusals()
    assert (find_in_text(text, refused), refused) == (trace_text_reference.find_in_text(text, expected := Refusals()), expected)


@given(
    st.dictionaries(
        st.text(max_size=3) | st.sampled_from(["trace_id", "dd", "trace", "id", "b3"]),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text()
            | st.just(TRACE),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "trace_id", "x"]), inner, max_size=3)
            ),
        ),
    )
)
def test_no_json_breaks_the_search(body):
    """Values of any type and depth are passed over or refused."""
    read(json.dumps({"trace": 1, **body}))


def calls_made(text):
    """Count the function calls, of Python and of C, that a search makes."""
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event in {"call", "c_call"}

    find_in_text("trace_id=x", Refusals())  # compiles
    sys.setprofile(count)
    try:
        find_in_text(text, Refusals())
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize(
    "piece",
    [
        "trace_id=x ",
        f"trace_id={TRACE} ",
        f"traceparent={PARENT},",
        "[",
        "[a,b]",
        "Self=1;",
        "Self=1",
        "projects/",
        '"trace_id":"',
        "b3:",
        'trace_id""""',
        "trace ",
        '{"trace_id":',
        f'{{"trace_id":"{TRACE}"}}',
        "Root=1-",
    ],
)
def test_work_grows_no_faster_than_the_text_and_ends_with_the_bound(piece):
    """Twice the text is at most twice the calls, and a megabyte makes no more of them than 16 KiB."""
    small, large, huge = (calls_made(piece * (size // len(piece))) for size in (4_000, 8_000, 1_000_000))
    assert large <= 2 * small + 20
    assert huge <= 5 * small + 200


def test_a_text_without_a_hint_costs_a_few_searches():
    """An ordinary line is looked at by its letters alone: nothing is called but the search itself and its length."""
    assert calls_made("Started Session 42 of user root, on seat0: everything is as it should be") <= 4
