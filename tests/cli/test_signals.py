"""Signals end the agent as they should, from its first moment on, also while something blocks."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

ENTRY = "from tapio_otel.cli import entry; entry()"
AGENT = """
import asyncio, sys, time
from tapio_otel.cli.signals import Signals

class Service:
    def __init__(self):
        self.stopped = asyncio.Event()
    def stop(self):
        print("stop", flush=True)
        self.stopped.set()
    def reload(self):
        print("reload", flush=True)
    def tell_balance(self):
        print("told", flush=True)

async def main():
    service = Service()
    Signals(service.stop, service.reload, service.tell_balance).listen()
    print("up", flush=True)
    await service.stopped.wait()
    {then}
    print("drained", flush=True)

asyncio.run(main())
"""


def started(then: str = "pass", **options: object) -> subprocess.Popen[str]:
    """Start a process that waits for signals, and then does what is given."""
    command = [sys.executable, "-c", AGENT.format(then=then)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]
    assert process.stdout.readline() == "up\n"
    return process  # type: ignore[no-any-return]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_drains(number: int) -> None:
    """The process ends by itself, with its own status."""
    with started() as process:
        process.send_signal(number)
        output, errors = process.communicate()
    assert (process.returncode, output, errors) == (0, "stop\ndrained\n", "")


@pytest.mark.parametrize("then", ["await asyncio.sleep(300)", "time.sleep(300)"], ids=["draining", "blocked"])
@pytest.mark.parametrize(
    ("first", "second"), [(signal.SIGTERM, signal.SIGINT), (signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGTERM)]
)
def test_the_second_signal_ends_at_once(first: int, second: int, then: str) -> None:
    """Whichever it is, the status is that of the second one; a component that blocks the event loop does not hinder it."""
    with started(then) as process:
        process.send_signal(first)
        assert process.stdout is not None
        assert process.stdout.readline() == "stop\n"
        process.send_signal(second)
        output, errors = process.communicate()
    assert (process.returncode, output, errors) == (128 + second, "", "")


@pytest.mark.parametrize(
    ("number", "answer"), [(signal.SIGHUP, "reload\n"), (signal.SIGUSR1, "told\n")], ids=["reload", "tell"]
)
def test_what_does_not_end_the_agent_does_not_count_as_the_first_signal(number: int, answer: str) -> None:
    """Any number of them is answered, each; one SIGTERM still drains."""
    with started() as process:
        assert process.stdout is not None
        for _ in range(3):
            process.send_signal(number)
            assert process.stdout.readline() == answer
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate()
    assert (process.returncode, output, errors) == (0, "stop\ndrained\n", "")


@pytest.mark.parametrize("nohup", [False, True])
def test_a_closed_terminal_ends_the_agent_unless_it_was_told_to_survive(nohup: bool) -> None:
    """Who runs it by hand and closes the window does not leave one behind; under nohup it stays."""
    leader, follower = pty.openpty()
    code = AGENT.format(then="pass")
    if nohup:
        code = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n{code}"
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(
        command, stdin=follower, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    with process:
        os.close(follower)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        os.close(leader)
        process.send_signal(signal.SIGHUP)
        assert process.stdout.readline() == ("reload\n" if nohup else "stop\n")
        process.send_signal(signal.SIGTERM) if nohup else None
        process.communicate()
    assert process.returncode == 0


@pytest.mark.parametrize("module", ["click", "pydantic", "tapio_otel.cli.run", "opentelemetry.sdk.metrics"])
def test_an_interrupt_while_modules_are_imported_is_silent(module: str) -> None:
    """Ctrl-C in the middle of any import of the command: no traceback, and the status that shells expect."""
    code = textwrap.dedent(
        f"""
        import os, signal, sys
        class Interrupting:
            def find_spec(self, name, path=None, target=None):
                if name == {module!r}:
                    os.kill(os.getpid(), signal.SIGINT)
        sys.meta_path.insert(0, Interrupting())
        {ENTRY}
        """
    )
    done = subprocess.run([sys.executable, "-c", code, "run"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_hangup_before_the_agent_listens_is_a_reload_later(tmp_path: Path) -> None:
    """While modules are imported it does not end the process; with the embedded configuration the answer is a warning."""
    code = textwrap.dedent(
        f"""
        import os, signal, sys
        class HangingUp:
            def find_spec(self, name, path=None, target=None):
                if name == "pydantic":
                    os.kill(os.getpid(), signal.SIGHUP)
        sys.meta_path.insert(0, HangingUp())
        {ENTRY}
        """
    )
    config = tmp_path / "tapio.yaml"
    config.write_text(
        f"receivers: {{journald: {{directory: {tmp_path}}}}}\nexporters: {{debug: }}\n"
        f"service: {{state_dir: {tmp_path}/state, pipelines: {{logs: {{receivers: [journald], exporters: [debug]}}}}}}\n"
    )
    command = [sys.executable, "-c", code, "run", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        assert any("configuration reloaded: 2 components kept" in line for line in process.stderr)
        process.terminate()
        process.stderr.read()
    assert process.returncode == 0


TOLD_ENTRY = f"""
import os, signal
from signal import signal as real

def told(number, handler):
    before = real(number, handler)
    if number == signal.SIGINT:
        signal.signal = real
        os.write(1, b"x")
    return before

signal.signal = told
{ENTRY}
"""


def test_interrupts_at_any_moment_of_the_start_leave_no_traceback() -> None:
    """Ctrl-C after so many milliseconds, again and again: silence, once the command line has begun."""
    for step in range(12):
        with subprocess.Popen(
            [sys.executable, "-c", TOLD_ENTRY, "version"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.read(1) == b"x"
            time.sleep(step / 200)
            process.send_signal(signal.SIGINT)
            assert process.communicate()[1] == b""
            # The last is the interpreter's own, when it is about to end.
            assert process.returncode in {0, 130, -signal.SIGINT}


DEAF = """
import asyncio, os, sys
from pathlib import Path
from tapio_otel.cli.run import _until_stopped
from tapio_otel.component import ComponentConfig, Receiver
from tapio_otel.config.loader import load
from tapio_otel.service.runner import Service
from tests.components import CollectingExporter
from tests.test_registry import plugin, registry

class Deaf(Receiver[ComponentConfig]):
    type = "deaf"
    async def run(self, output):
        print("up", flush=True)
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass

known = registry((plugin(tapio_receivers=[Deaf], tapio_exporters=[CollectingExporter]), "test 0"))
text = "{receivers: {deaf: }, exporters: {collecting: }, service: {shutdown_timeout: 1s, pipelines: {logs: "
text += "{receivers: [deaf], exporters: [collecting]}}}}"
service = Service(load([("test.yaml", text)], [f"service.state_dir={sys.argv[1]}"], known), known)
sys.exit(asyncio.run(_until_stopped(service)))
"""


def test_a_receiver_that_ignores_its_end_does_not_keep_the_process(tmp_path: Path) -> None:
    """One signal is enough, whatever a plugin does when it is cancelled."""
    command = [sys.executable, "-c", DEAF, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.terminate()
        assert process.wait(20) == 0
