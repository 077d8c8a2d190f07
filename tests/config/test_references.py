"""Pipelines and the components they name."""

from __future__ import annotations

import pytest

from tests.config.sample import BASE, loaded, problems

TOP = "receivers:\n  journald:\n  journald/boot:\nprocessors:\n  dedup:\nexporters:\n  debug:\nextensions:\n  health_check:\n"
USES = "receivers: [journald, journald/boot], processors: [dedup], exporters: [debug]"


def _service_problems(service: str) -> list[str]:
    return problems(f"{TOP}service: {{{service}}}\n")


def test_a_complete_configuration_has_neither_problem_nor_warning() -> None:
    """Everything defined is used and everything used is defined."""
    assert loaded(f"{TOP}service: {{extensions: [health_check], pipelines: {{logs: {{{USES}}}}}}}").warnings == ()


@pytest.mark.parametrize("service", ["", "pipelines: ", "pipelines: {}", "extensions: []"])
def test_a_service_without_a_pipeline_is_an_error(service: str) -> None:
    """An agent without a pipeline would do nothing."""
    expected = "service.pipelines: there is no pipeline; define one, such as logs, with receivers and exporters"
    assert [one.partition(": ")[2] for one in _service_problems(service)] == [expected]


def test_a_configuration_without_a_service_is_an_error() -> None:
    """The section may be missing altogether."""
    assert problems("receivers: {journald: }") == [
        "a.yaml:1: service.pipelines: there is no pipeline; define one, such as logs, with receivers and exporters"
    ]


@pytest.mark.parametrize(("missing", "rest"), [("receivers", "exporters: [debug]"), ("exporters", "receivers: [journald]")])
@pytest.mark.parametrize("form", ["", "{}: []", "{}: "])
def test_a_pipeline_needs_receivers_and_exporters(missing: str, rest: str, form: str) -> None:
    """However the list is left empty."""
    written = ", ".join(part for part in (rest, form.format(missing)) if part)
    singular = missing[:-1]
    expected = f"service.pipelines.logs: the pipeline has no {missing}; list at least one {singular} id under {missing}"
    assert _service_problems(f"pipelines: {{logs: {{{written}}}}}") == [f"a.yaml:10: {expected}"]


@pytest.mark.parametrize("signal", ["traces", "metrics/x", "profiles"])
def test_pipelines_of_other_signals_have_an_explanation(signal: str) -> None:
    """What the collector can do and this agent cannot is said clearly."""
    kind = signal.partition("/")[0]
    assert _service_problems(f"pipelines: {{{signal}: {{{USES}}}}}") == [
        f"a.yaml:10: service.pipelines.{signal}: {kind} pipelines are not supported, every event here is a log record; "
        f"name it logs or logs/name, and leave {kind} to an otel-collector"
    ]


def test_a_pipeline_of_an_unknown_name_says_how_to_name_it() -> None:
    """`log` is close, and wrong."""
    assert _service_problems(f"pipelines: {{log: {{{USES}}}}}") == [
        "a.yaml:10: service.pipelines.log: 'log' is no pipeline id; name it logs or logs/name"
    ]


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        (
            "receivers: [jurnald], exporters: [debug]",
            "receivers[0]: receiver 'jurnald' is not defined; did you mean 'journald'?",
        ),
        (
            "receivers: [dedup], exporters: [debug]",
            "receivers[0]: receiver 'dedup' is not defined, but there is a processor of that id; "
            "move it, or define 'dedup' under receivers",
        ),
        (
            "receivers: [journald], exporters: [kafka]",
            "exporters[0]: exporter 'kafka' is not defined; define it under exporters (defined are debug)",
        ),
        ("receivers: [journald], exporters: [debug, debug]", "exporters[1]: 'debug' is listed twice; remove one"),
        (
            "receivers: [journald], exporters: [5]",
            "exporters[0]: expected a component id, written as type or type/name, found 5",
        ),
        (
            "receivers: [journald], exporters: [A B]",
            "exporters[0]: 'A B' is no component id: write type or type/name, the type in lower_snake_case",
        ),
        ("receivers: journald, exporters: [debug]", "receivers: expected a list, such as [one, two], found 'journald'"),
        (
            "receivers: [journald], exporters: [debug], reciever: []",
            "reciever: unknown option 'reciever'; did you mean 'receivers'?",
        ),
    ],
)
def test_a_wrong_reference_says_what_was_meant(lists: str, message: str) -> None:
    """Each is told at its own place in the list."""
    assert f"a.yaml:10: service.pipelines.logs.{message}" in _service_problems(f"pipelines: {{logs: {{{lists}}}}}")


def test_an_undefined_extension_is_an_error() -> None:
    """Extensions are references too."""
    found = _service_problems(f"extensions: [health_chek], pipelines: {{logs: {{{USES}}}}}")
    assert found == ["a.yaml:10: service.extensions[0]: extension 'health_chek' is not defined; did you mean 'health_check'?"]


def test_the_same_component_may_stand_in_several_pipelines() -> None:
    """Only a repeat in one list is a mistake."""
    text = f"{TOP}service: {{extensions: [health_check], pipelines: {{logs: {{{USES}}}, logs/two: {{{USES}}}}}}}"
    assert len(loaded(text).service.pipelines) == 2


def test_what_is_defined_and_never_used_is_a_warning() -> None:
    """With its place, and what to do."""
    configuration = loaded(f"extensions:\n  health_check:\nprocessors:\n  dedup:\n{BASE}")
    assert [str(one) for one in configuration.warnings] == [
        "a.yaml:2: extensions.health_check: this extension is defined and never used; "
        "add it to service.extensions, or remove it",
        "a.yaml:4: processors.dedup: this processor is defined and never used; add it to a pipeline, or remove it",
    ]
