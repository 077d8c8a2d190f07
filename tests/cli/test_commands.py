"""The commands print what they promise and exit with the status they promise."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from click.testing import CliRunner, Result

from tapio_otel.cli import COMMANDS, main
from tapio_otel.version import VERSION


def tapio(*arguments: str) -> Result:
    """Run a command within this process."""
    return CliRunner().invoke(main, list(arguments))


def started(*arguments: str, **options: object) -> subprocess.Popen[str]:
    """Start the real command as its own process."""
    command = [sys.executable, "-c", "from tapio_otel.cli import entry; entry()", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload, no-any-return]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a configuration that reads an empty directory of journals into a file."""
    (tmp_path / "journal").mkdir()
    path = tmp_path / "tapio.yaml"
    path.write_text(
        f"""
receivers:
  journald:
    directory: {tmp_path}/journal
exporters:
  file:
    path: {tmp_path}/out.json
  otlphttp/unused:
    endpoint: http://user:hunter2@localhost:4318
    headers: {{authorization: Bearer hunter2}}
service:
  state_dir: {tmp_path}/state
  pipelines:
    logs: {{receivers: [journald], exporters: [file]}}
"""
    )
    return path


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_every_command_has_help(command: list[str]) -> None:
    """The first line of help is there for the whole and for each command."""
    result = tapio(*command, "--help")
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")


def test_the_list_of_commands_is_what_the_modules_say() -> None:
    """The short descriptions kept for quick help equal the first line of each command's own."""
    for name, text in COMMANDS.items():
        assert text.rstrip(".") in " ".join(tapio(name, "--help").output.split())


def test_help_imports_nothing_heavy() -> None:
    """The list of commands costs no import of pydantic, grpc, the SDK or YAML."""
    code = (
        "import sys\nfrom tapio_otel.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'pydantic', 'grpc', 'opentelemetry', 'yaml', 'aiohttp', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_unknown_command_suggests_the_nearest() -> None:
    """A typing error is met with what was meant."""
    result = tapio("validat")
    assert result.exit_code == 2
    assert "No such command 'validat'. Did you mean 'validate'?" in result.output


def test_version_is_the_packages() -> None:
    """The version printed is the one the package states."""
    assert tapio("version").output.startswith(f"tapio {VERSION} ")


def test_validate_accepts_the_embedded_pipeline_and_a_file(config: Path) -> None:
    """Valid configurations exit with 0, unused components are a warning."""
    assert tapio("validate").exit_code == 0
    result = tapio("validate", "--config", str(config))
    assert result.exit_code == 0
    assert "otlphttp/unused" in result.output
    assert "warning" in result.output


def test_validate_prints_every_error_with_its_place_and_exits_with_1(config: Path) -> None:
    """All errors of a file come at once, each with file, line and path."""
    config.write_text(config.read_text().replace("directory:", "diretory:").replace("exporters: [file]", "exporters: [fil]"))
    result = tapio("validate", "--config", str(config))
    assert result.exit_code == 1
    lines = [line for line in result.output.splitlines() if line.startswith(f"{config}:")]
    assert any(line.startswith(f"{config}:4: receivers.journald.diretory: ") and "directory" in line for line in lines)
    assert any("service.pipelines.logs.exporters" in line and "'fil'" in line for line in lines)


def test_components_lists_options_stability_and_origin() -> None:
    """Text and JSON name every built-in with the distribution it came from."""
    text = tapio("components").output
    listed = json.loads(tapio("components", "--json").output)
    for kind, component in (("receivers", "journald"), ("processors", "dedup"), ("exporters", "otlp_http")):
        (entry,) = (one for one in listed[kind] if one["type"] == component)
        assert entry["distribution"] == f"tapio-otel {VERSION}"
        assert entry["stability"] in {"alpha", "beta", "stable"}
        assert f"  {component}  [{entry['stability']}]  tapio-otel {VERSION}" in text
    assert "start_at:" in text


def test_schemas_are_valid_and_accept_a_valid_configuration(config: Path) -> None:
    """Both schemas are JSON Schema; the configuration's accepts a valid file and refuses a misspelt one."""
    schema = json.loads(tapio("schema").output)
    jsonschema.Draft202012Validator.check_schema(schema)
    document = yaml.safe_load(config.read_text())
    jsonschema.validate(document, schema)
    document["receivers"]["journald"]["diretory"] = "x"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)
    jsonschema.Draft202012Validator.check_schema(json.loads(tapio("schema", "--events").output))


def test_print_config_shows_the_merged_configuration_without_secrets(config: Path) -> None:
    """What --set changed is there; header values and passwords in URLs are not."""
    result = tapio("print-config", "--config", str(config), "--set", "receivers.journald.start_at=beginning")
    assert result.exit_code == 0
    assert "hunter2" not in result.output
    shown = yaml.safe_load(result.stdout)
    assert shown["receivers"]["journald"]["start_at"] == "beginning"
    assert shown["exporters"]["otlphttp/unused"]["headers"]["authorization"] == "[REDACTED]"


def test_run_refuses_a_wrong_configuration_with_the_same_errors(config: Path) -> None:
    """Nothing starts, the status is 1."""
    result = tapio("run", "--config", str(config), "--set", "receivers.journald.start_at=middle")
    assert result.exit_code == 1
    assert "receivers.journald.start_at" in result.output


def test_validate_tells_what_only_a_component_can_know(config: Path) -> None:
    """A name that plugins provide is checked too, with the component's path."""
    result = tapio(
        "validate",
        "--config",
        str(config),
        "--set",
        "processors.dedup.hash_function=nosuch",
        "--set",
        "service.pipelines.logs.processors=[dedup]",
    )
    assert result.exit_code == 1
    assert "\n--set: processors.dedup: " in result.output
    assert "nosuch" in result.output


@pytest.mark.parametrize("command", ["validate", "run"])
def test_what_only_a_component_can_know_is_told_where_it_is_written(command: str, config: Path, tmp_path: Path) -> None:
    """By file and line of the very option, of several files too; where it is a default, by those of what it is in."""
    second = tmp_path / "second.yaml"
    second.write_text(
        "processors:\n"
        "  normalize:\n"
        "    patterns:\n"
        "      - builtin\n"
        "      - /nonexistent/a.yaml\n"
        "    classifiers: [jsn]\n"
        "service: {pipelines: {logs: {processors: [normalize]}}}\n"
    )
    result = tapio(command, "--config", str(config), "--config", str(second))
    assert result.exit_code == 1
    assert f"{second}:5: processors.normalize.patterns[1]: '/nonexistent/a.yaml' is none of" in result.output
    assert f"{second}:6: processors.normalize.classifiers[0]: there is no classifier 'jsn'" in result.output
    assert "2 errors in the configuration" in result.output


@pytest.mark.parametrize("command", ["validate", "run"])
def test_a_component_that_refuses_its_options_as_a_whole_is_told_where_it_is_written(
    command: str, config: Path, tmp_path: Path
) -> None:
    """The file is the one that has the component, not all that were read."""
    second = tmp_path / "second.yaml"
    second.write_text("processors:\n  dedup: {hash_function: nosuch}\nservice: {pipelines: {logs: {processors: [dedup]}}}\n")
    result = tapio(command, "--config", str(config), "--config", str(second))
    assert result.exit_code == 1
    assert result.output.splitlines()[-1].startswith(f"{second}:2: processors.dedup: ")


@pytest.fixture
def patterns(tmp_path: Path, config: Path) -> Path:
    """Return the pattern file that the configuration's `normalize` reads; its one example does not match."""
    path = tmp_path / "patterns.yaml"
    path.write_text("patterns:\n  - {name: one, pattern: abc, event_type: one, severity: info, examples: [xyz]}\n")
    config.write_text(
        config.read_text().replace("{receivers: [journald],", "{receivers: [journald], processors: [normalize],")
        + f"processors:\n  normalize: {{patterns: [{path}]}}\n"
    )
    return path


@pytest.mark.parametrize("command", ["validate", "run"])
def test_what_is_wrong_with_a_pattern_file_is_told_with_its_place(command: str, config: Path, patterns: Path) -> None:
    """File, line and path, each on a line; an option of the processor is told with the configuration's name."""
    patterns.write_text(patterns.read_text().replace("abc", "'a(?=b)'").replace("info", "inform"))
    result = tapio(command, "--config", str(config), "--set", "processors.normalize.disabled_patterns=[tow]")
    assert result.exit_code == 1
    assert f"{patterns}:2: patterns[0].severity: expected 'debug'" in result.output
    assert f"{patterns}:2: patterns[0].pattern: the expression of 'one' is refused by RE2 at column 2" in result.output
    assert "--set: processors.normalize.disabled_patterns[0]: there is no pattern 'tow' to leave out" in result.output
    assert "3 errors in the configuration" in result.output


def test_validate_runs_the_examples_of_patterns(config: Path, patterns: Path) -> None:
    """Each that fails is told once, however many pipelines use the library."""
    second = "logs/two: {receivers: [journald], processors: [normalize], exporters: [file]}"
    config.write_text(config.read_text().replace("  pipelines:\n", f"  pipelines:\n    {second}\n"))
    result = tapio("validate", "--config", str(config))
    assert result.exit_code == 1
    assert result.output.count(f"{patterns}:2: one.examples[0]: 'xyz' does not match") == 1
    patterns.write_text(patterns.read_text().replace("xyz", "abc"))
    assert tapio("validate", "--config", str(config)).exit_code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_exits_with_0(config: Path, number: signal.Signals) -> None:
    """A run without any journal says what is missing, keeps going, and ends cleanly when told to."""
    with started("run", "--config", str(config)) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "receivers/journald" in line)
        assert str(config.parent / "journal") in line
        assert process.poll() is None
        process.send_signal(number)
        _, rest = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "received 0" in rest


def test_a_second_agent_on_the_same_state_directory_is_refused(config: Path) -> None:
    """The message names directory and pid; the first agent goes on."""
    with started("run", "--config", str(config)) as first:
        assert first.stderr is not None
        next(line for line in first.stderr if "receivers/journald" in line)
        second = tapio("run", "--config", str(config))
        assert second.exit_code == 1
        assert f"another agent (pid {first.pid}) uses" in second.output
        first.terminate()
        first.communicate(timeout=60)
    assert first.returncode == 0


def test_the_environment_is_read_from_the_process(config: Path) -> None:
    """${env:VAR} in a file is what the process was given."""
    config.write_text(config.read_text().replace("out.json", "${env:TAPIO_TEST_OUT}"))
    with started("print-config", "--config", str(config), env={**os.environ, "TAPIO_TEST_OUT": "elsewhere.json"}) as process:
        out, _ = process.communicate(timeout=60)
    assert yaml.safe_load(out)["exporters"]["file"]["path"].endswith("/elsewhere.json")
