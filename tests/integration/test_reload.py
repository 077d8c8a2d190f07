"""SIGHUP on a running agent: nothing is lost or repeated, what stays goes on, and a bad configuration changes nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.agent import TAPIO
from tests.journal import entries, require_journal_remote, write_journal


class Reloadable:
    """Run `tapio run` with a configuration that can be changed while it runs."""

    def __init__(self, room: Path, **sections: Any) -> None:
        self.room = room
        self.journal = room / "journal"
        self.errors = room / "errors.txt"
        self.path = room / "tapio.yaml"
        self.written = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.configure(**sections)

    def configure(self, **sections: Any) -> None:
        """Write the configuration: one pipeline from the journal to a file, but for what is given."""
        receiver = {"directory": str(self.journal), "start_at": "beginning", "batch_size": 50, "read_interval": "10ms"}
        document: dict[str, Any] = {
            "receivers": {"journald": receiver},
            "processors": {"normalize": {}},
            "exporters": {"file": {"path": str(self.room / "out.json")}},
            **sections,
        }
        service = document.setdefault("service", {})
        everything = {kind: list(document[kind]) for kind in ("receivers", "processors", "exporters")}
        service.setdefault("pipelines", {"logs": everything})
        service.setdefault("state_dir", str(self.room / "state"))
        self.path.write_text(json.dumps(document, indent=1))

    def is_up(self) -> bool:
        """Tell whether the agent has begun to start its components: from before that on it takes signals."""
        lock = self.room / "state" / "lock"
        return lock.exists() and lock.read_text() == f"{self.process.pid}\n" if self.process else False

    def write(self, count: int) -> None:
        """Append entries to the journal."""
        write_journal(self.journal, entries(count, self.written))
        self.written += count

    def hang_up(self) -> None:
        """Ask for a reload."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def log(self) -> str:
        """Return what the agent has logged."""
        return self.errors.read_text()

    def reload(self) -> None:
        """Ask for a reload and wait until it is done."""
        done = self.log().count("configuration reloaded")
        self.hang_up()
        self.wait(lambda: self.log().count("configuration reloaded") > done)

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition; fails when the agent ends, and the test's own timeout ends a wait in vain."""
        assert self.process is not None
        while not condition():
            assert self.process.poll() is None, self.log()
            time.sleep(0.02)

    def stop(self) -> int:
        """End the agent; returns its status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(40)

    def bodies(self, *files: str) -> Counter[str]:
        """Return how often each message is in the files, those of lines still being written left out."""
        found: Counter[str] = Counter()
        for file in files:
            path = self.room / file
            if path.exists():
                whole = path.read_text().rpartition("\n")[0]
                for line in whole.splitlines():
                    for resource in json.loads(line)["resourceLogs"]:
                        for scope in resource["scopeLogs"]:
                            found.update(record["body"]["stringValue"] for record in scope["logRecords"])
        return found

    def wait_for_all(self, *files: str) -> None:
        """Wait until every entry written is in one of the files."""
        self.wait(lambda: len(self.bodies(*files)) >= self.written)

    def expect_each_once(self, *files: str) -> None:
        """Fail unless every entry written is in the files exactly once."""
        assert self.bodies(*files) == Counter(f"message {number}" for number in range(self.written)), self.log()


@contextmanager
def running(agent: Reloadable) -> Iterator[Reloadable]:
    """Run the agent; it is ended in any case."""
    with agent.errors.open("wb") as errors:
        agent.process = subprocess.Popen([*TAPIO, "run", "--config", str(agent.path)], stdout=errors, stderr=errors)
    try:
        agent.wait(agent.is_up)
        yield agent
    finally:
        agent.process.kill()
        agent.process.wait()


@contextmanager
def load(agent: Reloadable) -> Iterator[None]:
    """Append entries all the time."""
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            agent.write(100)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        yield
    finally:
        ended.set()
        writing.join()


@pytest.fixture
def agent(tmp_path: Path) -> Reloadable:
    """Return an agent with a journal of a hundred entries, not yet started."""
    require_journal_remote()
    one = Reloadable(tmp_path)
    one.write(100)
    return one


def balanced(log: str) -> bool:
    """Tell whether the agent could account for every event."""
    return "NOT ACCOUNTED FOR" not in log and "pipeline logs: received" in log


def test_every_entry_arrives_once_while_the_exporter_is_exchanged_under_load(agent: Reloadable) -> None:
    """Entries are appended all the time while the file is changed again and again: each is in one file, once."""
    with running(agent):
        files = ["out.json"]
        with load(agent):
            for number in range(6):
                agent.wait(lambda: sum(agent.bodies(files[-1]).values()) > 100)
                files.append(f"out{number}.json")
                agent.configure(exporters={"file": {"path": str(agent.room / files[-1])}})
                agent.reload()
        agent.wait_for_all(*files)
        assert agent.stop() == 0
    agent.expect_each_once(*files)
    assert "in flight" not in agent.log()
    assert balanced(agent.log())


def test_every_kind_of_component_can_be_changed_added_and_removed_under_load(agent: Reloadable) -> None:
    """Receivers, processors, exporters and pipelines come, change and go; each entry still arrives, and once by each way."""
    journal = {"directory": str(agent.journal), "start_at": "beginning", "read_interval": "10ms"}
    file = {"path": str(agent.room / "out.json")}
    steps: list[dict[str, Any]] = [
        {"receivers": {"journald": {**journal, "batch_size": 7}}},
        {"receivers": {"journald": {**journal, "batch_size": 7}}, "processors": {"normalize": {}, "dedup": {}}},
        {"processors": {"dedup": {"window": "2s"}}},
        {"processors": {"dedup": {"window": "2s"}}, "exporters": {"file": file, "debug": {"verbosity": "basic"}}},
        {"exporters": {"file/renamed": file}},
        {"exporters": {"file/renamed": file}, "processors": {"recombine": {}, "normalize": {}}},
        {"exporters": {"file/renamed": {**file, "rotation": {"max_megabytes": 900}}}},
    ]
    with running(agent):
        with load(agent):
            for step in steps:
                agent.wait(lambda before=agent.written: agent.written > before)  # type: ignore[misc]
                agent.configure(**step)
                agent.reload()
        agent.wait_for_all("out.json")
        assert agent.stop() == 0
    agent.expect_each_once("out.json")
    assert balanced(agent.log())


def test_a_second_pipeline_comes_and_goes_while_the_first_goes_on(agent: Reloadable) -> None:
    """The receiver that both share goes on where it is; the pipeline that is gone has what came while it was there."""
    two = {"file": {"path": str(agent.room / "out.json")}, "file/second": {"path": str(agent.room / "second.json")}}

    def pipelines(*named: str) -> dict[str, Any]:
        parts = {"receivers": ["journald"], "processors": ["normalize"]}
        return {"pipelines": {name: {**parts, "exporters": [exporter]} for name, exporter in zip(named, two, strict=False)}}

    agent.configure(exporters={"file": two["file"]}, service=pipelines("logs"))
    with running(agent):
        agent.wait_for_all("out.json")
        agent.configure(exporters=two, service=pipelines("logs", "logs/second"))
        agent.reload()
        agent.write(100)
        agent.wait(lambda: sum(agent.bodies("second.json").values()) == 100)
        agent.configure(exporters={"file": two["file"]}, service=pipelines("logs"))
        agent.reload()
        agent.write(100)
        agent.wait_for_all("out.json")
        assert agent.stop() == 0
    agent.expect_each_once("out.json")
    assert agent.bodies("second.json") == Counter(f"message {number}" for number in range(100, 200))
    assert "pipeline logs: received 300 = passed on 300; file settled 300" in agent.log()
    assert "pipeline logs/second: received 100 = passed on 100; file/second settled 100" in agent.log()


def test_a_receiver_that_returns_goes_on_where_it_was(agent: Reloadable) -> None:
    """Its checkpoint stays while no pipeline names it: what came meanwhile is read then, and nothing twice."""
    source, other = agent.room / "other", {"directory": str(agent.room / "empty"), "start_at": "beginning"}
    (agent.room / "empty").mkdir()
    write_journal(source, [])
    with running(agent):
        agent.wait_for_all("out.json")
        agent.configure(receivers={"journald/other": other})
        agent.reload()
        agent.write(100)
        agent.configure()
        agent.reload()
        agent.wait_for_all("out.json")
        assert agent.stop() == 0
    agent.expect_each_once("out.json")


def test_a_bad_configuration_changes_nothing_and_says_why_with_its_line(agent: Reloadable) -> None:
    """Every error is in the log with file and line; the agent goes on, and a corrected file is taken."""
    with running(agent):
        agent.wait_for_all("out.json")
        good = agent.path.read_text()
        line = next(number for number, text in enumerate(good.splitlines(), 1) if "start_at" in text)
        agent.path.write_text(
            good.replace('"start_at": "beginning"', '"start_at": "somewhere"').replace('"normalize"', '"normalise"')
        )
        agent.hang_up()
        agent.wait(lambda: "the configuration was not reloaded" in agent.log())
        assert f" error   service: {agent.path}:{line}: receivers.journald.start_at: " in agent.log()
        assert "did you mean 'normalize'?" in agent.log()
        agent.write(50)
        agent.wait_for_all("out.json")
        agent.path.write_text(good)
        agent.reload()
        agent.write(50)
        agent.wait_for_all("out.json")
        assert agent.stop() == 0
    agent.expect_each_once("out.json")
    assert "configuration reloaded: 3 components kept, 0 stopped, 0 started" in agent.log()


def test_what_does_not_start_is_undone(agent: Reloadable) -> None:
    """The exporter that was there comes back, with its file and without a gap, and the log names the one that failed."""
    with running(agent):
        agent.wait_for_all("out.json")
        agent.configure(exporters={"file": {"path": str(agent.room / "nowhere" / "out.json")}})
        agent.hang_up()
        agent.wait(lambda: "what ran before the reload runs again" in agent.log())
        agent.write(100)
        agent.wait_for_all("out.json")
        assert agent.stop() == 0
    agent.expect_each_once("out.json")
    assert "exporters.file: " in agent.log()
    assert "nowhere" in agent.log()
    assert balanced(agent.log())


def test_what_cannot_change_at_a_reload_is_named_and_the_rest_is_applied(agent: Reloadable) -> None:
    """The state directory stays, the new file is written."""
    with running(agent):
        agent.wait_for_all("out.json")
        agent.configure(
            exporters={"file": {"path": str(agent.room / "out2.json")}}, service={"state_dir": str(agent.room / "elsewhere")}
        )
        agent.reload()
        agent.write(10)
        agent.wait_for_all("out.json", "out2.json")
        assert agent.stop() == 0
    assert "service.state_dir cannot change at a reload: restart the agent for it; the rest is applied" in agent.log()
    assert not (agent.room / "elsewhere").exists()
    agent.expect_each_once("out.json", "out2.json")


def test_a_shower_of_signals_is_few_reloads_and_does_no_harm(agent: Reloadable) -> None:
    """A hundred in a row, from the very start: the agent lives, and reads on without a gap or a repeat."""
    with running(agent):
        for number in range(100):
            agent.hang_up()
            if number % 10 == 0:
                agent.write(10)
        agent.wait_for_all("out.json")
        agent.reload()
        assert agent.stop() == 0
    agent.expect_each_once("out.json")
    assert agent.log().count("configuration reloaded") < 100


def test_the_log_level_changes_at_a_reload(agent: Reloadable) -> None:
    """An agent that was quiet tells more from the next reload on."""
    quiet = {"telemetry": {"logs": {"level": "error"}}}
    agent.configure(service=dict(quiet))
    with running(agent):
        agent.wait_for_all("out.json")
        agent.configure()
        agent.hang_up()
        agent.wait(lambda: "configuration reloaded: 3 components kept" in agent.log())
        assert agent.stop() == 0


def test_stopping_in_the_middle_of_a_reload_drains(agent: Reloadable) -> None:
    """SIGTERM right after SIGHUP, whatever that was about: status 0, and the next run completes the file."""
    agent.write(5000)
    for path in ("out.json", "out2.json") * 3:
        with running(agent):
            agent.configure(exporters={"file": {"path": str(agent.room / path)}})
            agent.hang_up()
            assert agent.stop() == 0
    with running(agent):
        agent.wait_for_all("out.json", "out2.json")
        assert agent.stop() == 0
    agent.expect_each_once("out.json", "out2.json")


def test_the_embedded_configuration_has_nothing_to_reload(tmp_path: Path) -> None:
    """SIGHUP is answered by a warning; the agent goes on until it is told to stop."""
    errors = tmp_path / "errors.txt"
    free = "extensions.ui.endpoint=127.0.0.1:0"
    command = [*TAPIO, "run", "--set", f"service.state_dir={tmp_path / 'state'}", "--set", free]
    with errors.open("wb") as stream, subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stream) as process:
        while "there is nothing to reload" not in errors.read_text():
            assert process.poll() is None, errors.read_text()
            if (tmp_path / "state" / "checkpoints.db").exists():
                process.send_signal(signal.SIGHUP)
            time.sleep(0.1)
        process.terminate()
        assert process.wait(60) == 0
