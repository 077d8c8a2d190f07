"""What is measured: each subject reads the whole journal and, but for the bare loop, sends it to the sink."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import yaml

from bench.measure import Cost, run
from tapio_otel import config

DEFAULT = yaml.safe_load((Path(config.__file__).parent / "default.yaml").read_text())
PROCESSORS = DEFAULT["service"]["pipelines"]["logs"]["processors"]
TAPIO = Path(sys.executable).with_name("tapio")


class SinkProcess:
    """Run `bench.sink` on a port of its own."""

    def __init__(self, keep: Path | None = None) -> None:
        command = [sys.executable, "-m", "bench.sink", *(["--keep", str(keep)] if keep else [])]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._output = self._process.stdout
        self.endpoint = f"http://127.0.0.1:{int(self._output.readline())}"
        self.requests = self.bytes = 0

    def stop(self) -> None:
        """End it and take what it counted."""
        self._process.terminate()
        last = self._output.readline().split()
        self._process.wait()
        self._output.close()
        if last:
            self.requests, self.bytes = int(last[0]), int(last[1])

    def __enter__(self) -> SinkProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


@dataclass(frozen=True)
class Outcome:
    """The cost of one run, and how much reached the sink."""

    cost: Cost
    sent_bytes: int = 0
    requests: int = 0


class ReaderLoop:
    """Read every field of every entry, nothing else."""

    name = "reader loop"

    def run(self, journal: Path) -> Outcome:
        """Run it once; nothing is sent."""
        with tempfile.TemporaryDirectory(prefix="tapio-bench-") as scratch:
            return Outcome(run([sys.executable, "-m", "bench.reader_loop", str(journal)], Path(scratch) / "log"))


class Pipeline:
    """Run the whole default pipeline, from the journal to OTLP over HTTP, as a user would: `tapio run`."""

    name = "default pipeline"

    def configuration(self, journal: Path, endpoint: str, state: Path) -> dict[str, object]:
        """Return the agent's configuration; JSON is YAML."""
        return {
            "receivers": {"journald": {"directory": str(journal), "start_at": "beginning", "follow": False}},
            "processors": DEFAULT["processors"],
            "exporters": {"otlphttp": {"endpoint": endpoint}},
            "service": {
                "state_dir": str(state),
                "pipelines": {
                    "logs": {
                        "receivers": ["journald"],
                        "processors": PROCESSORS,
                        "exporters": ["otlphttp"],
                    }
                },
            },
        }

    def run(self, journal: Path, keep: Path | None = None) -> Outcome:
        """Run it once with a state directory and a sink of its own; the sink keeps the bodies in `keep` where given."""
        with tempfile.TemporaryDirectory(prefix="tapio-bench-") as scratch:
            place = Path(scratch)
            config = place / "bench.yaml"
            with SinkProcess(keep) as sink:
                config.write_text(json.dumps(self.configuration(journal, sink.endpoint, place / "state"), indent=2))
                cost = run([str(TAPIO), "run", "--config", str(config)], place / "log")
        return Outcome(cost, sink.bytes, sink.requests)
