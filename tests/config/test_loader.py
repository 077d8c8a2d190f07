"""What loading a configuration gives, and what it says when it cannot."""

from __future__ import annotations

import os
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from tapio_otel.component import ComponentId, Kind
from tapio_otel.config import ConfigError
from tapio_otel.config.loader import load, state_directory
from tests.config.sample import (
    BASE,
    SERVICE,
    DebugConfig,
    JournalConfig,
    OtlpConfig,
    Registry,
    exporter_problems,
    loaded,
    problems,
    receiver_problems,
)

COLLECTOR_BLOCK = """
receivers:
  journald:
    directory: /run/log/journal
    units: [ssh, kubelet]
    priority: 6
exporters:
  otlp:
    endpoint: otelcol2:4317
    tls:
      insecure: true
    compression: gzip
    timeout: 10s
    headers:
      x-tenant: "42"
    retry_on_failure:
      enabled: true
      initial_interval: 5s
      max_interval: 30s
      max_elapsed_time: 300s
    sending_queue:
      enabled: true
      num_consumers: 2
      queue_size: 5000
  otlphttp/two:
    endpoint: https://example.org:4318
extensions:
  health_check:
processors:
service:
  extensions: [health_check]
  telemetry:
    logs:
      level: INFO
  pipelines:
    logs:
      receivers: [journald]
      processors:
      exporters: [otlp, otlphttp/two]
"""


def test_a_block_pasted_from_a_collector_is_loaded() -> None:
    """Every option keeps the collector's name and form."""
    configuration = loaded(COLLECTOR_BLOCK)
    otlp = configuration.exporters[ComponentId("otlp")]
    assert isinstance(otlp, OtlpConfig)
    assert (otlp.endpoint, otlp.timeout, otlp.tls.insecure, otlp.sending_queue.queue_size) == (
        "otelcol2:4317",
        10.0,
        True,
        5000,
    )
    assert otlp.headers["x-tenant"].get_secret_value() == "42"
    assert otlp.retry_on_failure.max_elapsed_time == 300.0
    pipeline = configuration.service.pipelines[ComponentId("logs")]
    assert pipeline.exporters == (ComponentId("otlp"), ComponentId("otlphttp", "two"))
    assert pipeline.processors == ()
    assert configuration.service.telemetry.logs.level == "info"
    assert configuration.warnings == ()


def test_a_component_without_options_has_the_defaults() -> None:
    """`journald:` alone is enough."""
    configuration = loaded(BASE)
    assert configuration.receivers == {ComponentId("journald"): JournalConfig()}
    assert configuration.exporters == {ComponentId("debug"): DebugConfig()}
    assert configuration.section(Kind.RECEIVER) is configuration.receivers
    assert configuration.service.shutdown_timeout == 30.0


def test_a_configuration_cannot_be_changed() -> None:
    """What was validated stays as it was validated."""
    with pytest.raises(FrozenInstanceError):
        loaded(BASE).warnings = ()  # type: ignore[misc]


def test_an_empty_group_or_list_has_the_defaults() -> None:
    """`tls:` and `units:` with nothing after them are as good as left out."""
    text = BASE.replace("  journald:\n", "  journald:\n    units:\n", 1).replace(
        "  debug:\n", "  debug:\n  otlp:\n    tls:\n", 1
    )
    configuration = loaded(text)
    otlp = configuration.exporters[ComponentId("otlp")]
    assert isinstance(otlp, OtlpConfig)
    assert not otlp.tls.insecure


def test_all_problems_are_told_at_once_and_in_order() -> None:
    """One run tells everything, file by file and line by line."""
    text = """\
receivers:
  journald:
    start_at: begining
    folow: false
    folow: true
  jurnald:
exporters:
  debug: {verbosity: ${env:UNSET}}
conectors: {}
service:
  pipelines:
    logs:
      receivers: [journald, other]
      exporters: []
"""
    text = text.replace("${env:UNSET}", '"${env:UNSET}"')
    assert problems(text, overrides=["service.shutdown_timeout=5"]) == [
        "a.yaml:3: receivers.journald.start_at: expected 'beginning' or 'end', found 'begining'; did you mean 'beginning'?",
        "a.yaml:4: receivers.journald.folow: unknown option 'folow'; did you mean 'follow'?",
        "a.yaml:5: receivers.journald.folow: this key is already there (line 4); remove one of the two",
        "a.yaml:6: receivers.jurnald: unknown receiver type 'jurnald'; did you mean 'journald'?",
        "a.yaml:8: exporters.debug.verbosity: the environment variable UNSET is not set; "
        "set it, or write ${env:UNSET:-default}",
        "a.yaml:9: conectors: unknown section 'conectors'; known are exporters, extensions, processors, receivers, service",
        "a.yaml:13: service.pipelines.logs.receivers[1]: receiver 'other' is not defined; "
        "define it under receivers (defined are journald, jurnald)",
        "a.yaml:14: service.pipelines.logs: the pipeline has no exporters; list at least one exporter id under exporters",
        "--set: service.shutdown_timeout: expected a duration with its unit, such as 200ms, 5s, 1m30s or 1h, found 5",
    ]


def test_what_cannot_be_read_makes_no_follow_up_errors() -> None:
    """A component that is defined in the unreadable part is not reported as undefined."""
    assert problems("receivers: [", SERVICE) == [
        "a.yaml:1: not valid YAML: while parsing a flow node did not find expected node content; "
        "check indentation, colons and quotes here and on the line before"
    ]


def test_options_are_checked_although_another_file_cannot_be_read() -> None:
    """Everything that can be known is told in the first run."""
    found = problems("a: 'x", "receivers:\n  journald:\n    folow: 1\n" + SERVICE)
    assert len(found) == 2
    assert found[1] == "b.yaml:3: receivers.journald.folow: unknown option 'folow'; did you mean 'follow'?"


def test_no_source_at_all_is_an_error() -> None:
    """The message says how to give one."""
    with pytest.raises(ConfigError, match="no configuration is given; name a file with --config"):
        load([], [], Registry(), {})


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("connectors:", "connectors are not supported; a receiver or an exporter may be named in several pipelines instead"),
        ("recievers:", "unknown section 'recievers'; did you mean 'receivers'?"),
        ("pipelines:", "unknown section 'pipelines' here; it belongs under service"),
        ("telemetry:", "unknown section 'telemetry' here; it belongs under service"),
        ("zzz: 1", "unknown section 'zzz'; known are exporters, extensions, processors, receivers, service"),
    ],
)
def test_an_unknown_section_says_what_to_do(section: str, message: str) -> None:
    """Sections of the collector that do not exist here have an explanation of their own."""
    name = section.partition(":")[0]
    assert problems(f"{section}\n{BASE}") == [f"a.yaml:1: {name}: {message}"]


@pytest.mark.parametrize(("value", "kind"), [("[a]", "a list"), ("5", "a single value"), ("text", "a single value")])
def test_a_section_must_be_a_mapping(value: str, kind: str) -> None:
    """Lists are a frequent mistake."""
    expected = f"a.yaml:1: processors: expected a mapping, found {kind}; write one name: line for each entry"
    assert problems(f"processors: {value}\n{BASE}") == [expected]


def test_a_bad_id_says_how_ids_are_written() -> None:
    """The id is shown as it was found."""
    expected = "a.yaml:1: extensions.Bad Id: 'Bad Id' is no component id: write type or type/name, the type in lower_snake_case"
    assert problems(f"extensions: {{Bad Id: }}\n{BASE}") == [expected]


def test_an_id_with_a_line_break_is_no_id() -> None:
    """It would be equal to the id without one."""
    assert problems(f'extensions: {{"health_check\\n": }}\n{BASE}') == [
        "a.yaml:1: extensions.health_check\n: 'health_check\\n' is no component id: "
        "write type or type/name, the type in lower_snake_case"
    ]


def test_a_component_under_the_wrong_section_is_told_its_section() -> None:
    """An exporter's type under receivers is no spelling mistake."""
    expected = "a.yaml:1: processors.debug: 'debug' belongs under exporters, not processors; move it there"
    assert problems(f"processors: {{debug: }}\n{BASE}") == [expected]


def test_a_broken_plugin_is_an_error_where_a_pipeline_uses_it() -> None:
    """The registry's message names the distribution."""
    text = BASE.replace("exporters:\n  debug:", "exporters:\n  broken:\n  debug:").replace("[debug]", "[debug, broken]")
    assert problems(text) == [
        "a.yaml:5: exporters.broken: plugin 'broken' of acme-plugin 1.0 cannot be loaded: ImportError: no acme"
    ]


def test_a_broken_plugin_that_no_pipeline_uses_is_a_warning() -> None:
    """It stops nobody else."""
    configuration = loaded(BASE.replace("exporters:\n  debug:", "exporters:\n  broken:\n  debug:"))
    assert [str(one) for one in configuration.warnings] == [
        "a.yaml:5: exporters.broken: plugin 'broken' of acme-plugin 1.0 cannot be loaded: ImportError: no acme",
        "a.yaml:5: exporters.broken: this exporter is defined and never used; add it to a pipeline, or remove it",
    ]
    assert {one.severity for one in configuration.warnings} == {"warning"}


def test_a_substituted_number_is_text_where_text_is_wanted() -> None:
    """`0017` keeps its zeros, and `4317` is a number for the option that wants one."""
    text = BASE.replace("  journald:\n", "  journald: {directory: '${env:D}', priority: '${env:P}', units: ['${env:B}']}\n", 1)
    configuration = loaded(text, env={"D": "4317", "P": "3", "B": "true"})
    journal = configuration.receivers[ComponentId("journald")]
    assert isinstance(journal, JournalConfig)
    assert (journal.directory, journal.priority, journal.units) == ("4317", 3, ["true"])
    assert configuration.merged["receivers"]["journald"] == {"directory": "4317", "priority": 3, "units": ["true"]}


def test_a_substituted_password_that_looks_like_yaml_stays_what_it_is() -> None:
    """A mapping or a list in a variable is text for an option that wants text."""
    for value in ("a: b", "[x, y]", "", "null", "1e3", "- x", "{", "'quoted'", "0x10", "line\nbreak"):
        text = BASE.replace("  journald:\n", "  journald: {units: ['${env:V}']}\n", 1)
        journal = loaded(text, env={"V": value}).receivers[ComponentId("journald")]
        assert isinstance(journal, JournalConfig)
        assert journal.units == [value]


def test_a_substituted_list_is_a_list_where_one_is_wanted() -> None:
    """So a variable may hold several units."""
    text = BASE.replace("  journald:\n", "  journald: {units: '${env:UNITS}'}\n", 1)
    journal = loaded(text, env={"UNITS": "[a.service, b.service]"}).receivers[ComponentId("journald")]
    assert isinstance(journal, JournalConfig)
    assert journal.units == ["a.service", "b.service"]


def test_an_override_may_leave_out_the_quotes() -> None:
    """On a command line `--set x=42` means the text 42 for an option that wants text."""
    journal = loaded(BASE, overrides=["receivers.journald.directory=42"]).receivers[ComponentId("journald")]
    assert isinstance(journal, JournalConfig)
    assert journal.directory == "42"


def test_a_validator_that_fails_itself_is_reported_and_not_raised() -> None:
    """A plugin's own validator may raise anything."""
    found = exporter_problems("code: boom")
    module = DebugConfig.__module__
    assert found == [
        f"a.yaml:4: exporters.debug: these options cannot be checked: KeyError in {module}; report it to its author"
    ]


def test_substituted_values_name_the_variable_in_messages() -> None:
    """Where the value comes from is part of where the mistake is."""
    assert receiver_problems("start_at: '${env:WHERE}'", env={"WHERE": "endd"}) == [
        "a.yaml:2: receivers.journald.start_at: expected 'beginning' or 'end', found 'endd' (from ${env:WHERE}); "
        "did you mean 'end'?"
    ]


@pytest.mark.parametrize(
    ("configured", "env", "expected"),
    [
        (None, {"HOME": "/home/u"}, "/home/u/.local/state/tapio"),
        (None, {"HOME": "/home/u", "XDG_STATE_HOME": "/s"}, "/s/tapio"),
        (None, {"HOME": "/home/u", "XDG_STATE_HOME": "relative"}, "/home/u/.local/state/tapio"),
        (None, {}, "/.local/state/tapio"),
        ("~/t", {"HOME": "/home/u"}, "/home/u/t"),
        ("/x/y", {}, "/x/y"),
    ],
)
def test_the_state_directory_follows_the_users_surroundings(
    monkeypatch: pytest.MonkeyPatch, configured: str | None, env: dict[str, str], expected: str
) -> None:
    """An ordinary user keeps state where the XDG specification has it."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert state_directory(Path(configured) if configured else None, env) == Path(expected)


def test_the_state_directory_of_root_is_under_var_lib(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system service keeps state where services do."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert loaded(BASE, env={"XDG_STATE_HOME": "/s"}).service.state_dir == Path("/var/lib/tapio")


def test_the_state_directory_can_be_set() -> None:
    """`service.state_dir` wins over everything."""
    assert loaded(BASE, overrides=["service.state_dir=/x"]).service.state_dir == Path("/x")
    assert problems(BASE, overrides=["service.state_dir=''"])[0].startswith("--set: service.state_dir: expected the path of a")


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("receivers.journald/a.b.matches[0].UNIT", ("a.yaml", 5)),
        ("receivers.journald/a.b.matches[7]", ("a.yaml", 4)),
        ("receivers.journald/a.b.follow", ("a.yaml", 3)),
        ("exporters.debug.verbosity", ("--set", None)),
        ("service.pipelines.logs.processors[0]", ("a.yaml", 7)),
        ("nowhere.at.all", None),
        ("", None),
    ],
)
def test_a_configuration_knows_where_each_path_was_written(path: str, place: tuple[str, int | None] | None) -> None:
    """What is a default is where the nearest is that was written; what is nowhere is nowhere."""
    text = """
receivers:
  journald/a.b:
    matches:
      - {UNIT: x}
exporters: {debug: {}}
service: {pipelines: {logs: {receivers: [journald/a.b], exporters: [debug]}}}
"""
    position = load([("a.yaml", text)], ["exporters.debug.verbosity=detailed"], Registry(), {}).position_of(path)
    assert (position and (position.file, position.line)) == place


def test_files_are_read_and_laid_over_one_another(tmp_path: Path) -> None:
    """The places in messages are the files' own."""
    (tmp_path / "one.yaml").write_text(BASE)
    (tmp_path / "two.yaml").write_text("receivers:\n  journald:\n    follow: maybe\n")
    with pytest.raises(ConfigError) as caught:
        load([tmp_path / "one.yaml", str(tmp_path / "two.yaml")], [], Registry(), {})
    two = tmp_path / "two.yaml"
    assert str(caught.value) == f"{two}:3: receivers.journald.follow: expected true or false, found 'maybe'"


@pytest.mark.parametrize(
    ("processor", "instead"), [("batch", "sending_queue.batch"), ("memory_limiter", "sending_queue.max_bytes")]
)
def test_processors_of_most_collector_configurations_are_told_what_takes_their_place(processor: str, instead: str) -> None:
    """Whoever comes from a collector need not guess."""
    (problem,) = problems(f"processors: {{{processor}: }}\n{BASE}")
    assert problem.startswith(f"a.yaml:1: processors.{processor}: there is no processor '{processor}' here: leave it out; ")
    assert instead in problem
