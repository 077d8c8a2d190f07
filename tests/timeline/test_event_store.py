"""A store gives a timeline what the events themselves give it, and so does `tapio timeline`."""

from __future__ import annotations

import json
import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tapio_otel.cli import main
from tapio_otel.event import Severity
from tapio_otel.event_json import to_json
from tapio_otel.event_store import EventStore
from tapio_otel.timeline import EventIndex, TimelineReconstructor
from tests.correlation.incidents import happening, oom, refused, restart
from tests.event_store.support import store_of
from tests.timeline.test_reconstruct import APP, WEB, story

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
FOCUSES = ("pod/prod/web-0", "unit/web.service", "node/n1", "container/c-1", "address/10.0.0.7:80", "unit/n1/web.service")


def more():
    """Return events about a unit of two machines, with a trace, a finding, and a process."""
    units = [
        {
            "type": "systemd_unit",
            "name": "web.service",
            "parent": {"type": "node", "name": name},
            "attributes": {"main_pid": "7"},
        }
        for name in ("n1", "n2")
    ]
    members = ["unit-n1-0", "pod"]
    return [
        *(
            happening(20 + n, "systemd", "service_state", unit, f"unit-n{n + 1}-0", trace_id=TRACE)
            for n, unit in enumerate(units)
        ),
        happening(23, "journald", "log", APP, "traced", trace_id=TRACE, severity=Severity.ERROR),
        happening(24, "correlation", "correlation", WEB, "finding", members=members, revision=1, rule="x"),
        happening(25, "ebpf", "oom_kill", {"type": "process", "name": "java", "parent": units[0]}, "process", pid=7),
        *(happening(30 + n, "journald", "log", APP, f"plain-{n}", severity=Severity.INFO) for n in range(20)),
        refused(60, "systemd_unit/client.service", id="toward-unit", host="web.service"),
    ]


@settings(max_examples=30)
@given(st.randoms(use_true_random=False), st.sampled_from(FOCUSES), st.booleans())
def test_a_store_gives_the_same_as_the_events_themselves(shuffler: random.Random, focus: str, is_part: bool):
    """Whatever is asked for, in whatever order they came."""
    events = story() + more()
    window = {"start": events[3].timestamp, "end": events[-8].timestamp} if is_part else {"start": 0, "end": 1 << 62}
    expected = TimelineReconstructor().reconstruct(events, focus, **window)
    shuffler.shuffle(events)
    with TemporaryDirectory() as directory, store_of(Path(directory), events) as store:
        related = store.related(focus, window["start"], window["end"])
        assert TimelineReconstructor().reconstruct(related, focus, **window) == expected
        assert [one.timestamp for one in related] == sorted(one.timestamp for one in related)


def test_a_store_reads_little_besides_what_it_is_asked_for(tmp_path):
    """Events of others are not looked at."""
    others = [happening(n, "journald", "log", f"systemd_unit/other-{n}.service") for n in range(50)]
    store = store_of(tmp_path, [*others, oom(0, id="oom")])
    assert [one.id for one in store.related("unit/web.service")] == ["oom"]


def test_of_too_many_plain_lines_go_first(tmp_path):
    """Then the oldest."""
    plain = [happening(n, "journald", "log", id=f"plain-{n}", severity=Severity.INFO) for n in range(50)]
    told = [restart(n, id=f"restart-{n}") for n in range(3)]
    store = store_of(tmp_path, [*plain, *told])
    assert {one.id for one in store.related("unit/web.service", limit=5)} == {one.id for one in told} | {"plain-48", "plain-49"}
    assert {one.id for one in store.related("unit/web.service", limit=2)} == {"restart-1", "restart-2"}


def test_an_index_in_memory_and_a_store_agree(tmp_path):
    """About the same events."""
    index = EventIndex()
    index.add(story())
    with store_of(tmp_path, story()) as store:
        found = TimelineReconstructor().reconstruct(store.related("pod/prod/web-0"), "pod/prod/web-0", end=index.latest_ns)
    assert index.timeline("pod/prod/web-0") == found


def run(*arguments: str):
    """Return what the command printed, as JSON."""
    result = CliRunner().invoke(main, ["timeline", "--format", "json", *arguments])
    assert result.exit_code == 0, result.output
    return [one["event"]["id"] for one in json.loads(result.stdout)["entries"] if one["relation"] != "finding"]


def test_the_command_reads_a_store(tmp_path, monkeypatch):
    """Named by its directory or file, or else that of the agent; what the rules conclude is found in it, too."""
    state = tmp_path / "tapio" / "events"
    state.mkdir(parents=True)
    store_of(state, [restart(-7200, id="old"), oom(0, id="oom"), restart(1, id="restart")]).close()
    about = ("--entity", "unit/web.service")
    assert run("--store", str(state), *about) == ["old", "oom", "restart"]
    assert run("--store", str(state / "events.db"), *about, "--since", "1h") == ["oom", "restart"]
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert run(*about, "--until", "1h") == ["old"]
    text = CliRunner().invoke(main, ["timeline", *about])
    assert "correlation/correlation" in text.stdout
    assert "correlation/correlation" not in CliRunner().invoke(main, ["timeline", *about, "--no-correlate"]).stdout


def test_the_command_writes_a_page(tmp_path):
    """With the incident in it."""
    store_of(tmp_path, [oom(0, id="oom"), restart(1, id="restart")]).close()
    result = CliRunner().invoke(
        main, ["timeline", "--store", str(tmp_path), "--entity", "unit/web.service", "--format", "html"]
    )
    if result.exit_code and "make ui" in str(result.exception or result.stderr):
        pytest.skip("the page is not built")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("<!doctype html>")
    assert '"oom"' in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--store", "none"), "there is no event store at 'none'"), (("--store", "x", "--events", "y"), "Name a store or files")],
)
def test_a_store_that_cannot_be_read_is_an_error(arguments, message):
    """Which says what to name."""
    result = CliRunner().invoke(main, ["timeline", "--entity", "unit/web.service", *arguments])
    assert result.exit_code in {1, 2}
    assert message in result.stderr


def test_events_written_as_lines_can_be_stored(tmp_path):
    """And are the same as those read from the file."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(to_json(one) + b"\n" for one in story()))
    store_of(tmp_path, story()).close()
    about = ("--entity", "pod/prod/web-0", "--no-correlate")
    assert run("--store", str(tmp_path), *about) == run("--events", str(path), *about)
    assert EventStore(tmp_path).event("pod") is not None
