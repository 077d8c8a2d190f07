"""The service starts downstream first, stops upstream first, drains, resumes, and survives its components."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from tapio_otel.component import ComponentConfig, ComponentError, Exporter, Output, PermanentError, Receiver, Scope
from tapio_otel.config.loader import load
from tapio_otel.event import UnifiedEvent
from tapio_otel.registry import Registry
from tapio_otel.service import logs, running
from tapio_otel.service.graph import StartError
from tapio_otel.service.runner import Service
from tests.components import CollectingExporter, ListReceiver, UpperProcessor
from tests.test_registry import plugin, registry

ORDER: list[str] = []


class Noting(CollectingExporter):
    """Note its start and end in the common order."""

    type = "noting"

    async def start(self) -> None:
        ORDER.append("exporter starts")

    async def shutdown(self) -> None:
        ORDER.append("exporter ends")


class NotingReceiver(ListReceiver):
    """Note when it runs."""

    type = "noting"

    async def run(self, output: Output) -> None:
        ORDER.append("receiver runs")
        await super().run(output)


class NotingProcessor(UpperProcessor):
    """Note its start and its last flush."""

    type = "noting"

    async def start(self) -> None:
        ORDER.append("processor starts")

    def flush(self, final: bool) -> list[UnifiedEvent]:
        ORDER.append("processor flushes")
        return super().flush(final)


class NoStart(Exporter[ComponentConfig]):
    """Refuse to start."""

    type = "nostart"

    async def start(self) -> None:
        raise ComponentError("the port 1 is taken: choose another")


class Stuck(Exporter[ComponentConfig]):
    """Never deliver."""

    type = "stuck"

    async def export(self, events: Any, scope: Scope) -> None:
        await asyncio.Event().wait()


class Raising(CollectingExporter):
    """Raise what no component should, wherever its configuration says."""

    type = "raising"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        if self.context.id.name == "init":
            raise ValueError("in init")

    async def start(self) -> None:
        if self.context.id.name == "start":
            raise RuntimeError("in start")
        if self.context.id.name == "hang":
            await asyncio.Event().wait()

    async def shutdown(self) -> None:
        if self.context.id.name == "shutdown":
            raise RuntimeError("in shutdown")


class Holding(CollectingExporter):
    """Take everything and never tell that it is delivered."""

    type = "holding"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.hold = True


class Refusing(Exporter[ComponentConfig]):
    """Refuse everything for good."""

    type = "refusing"

    async def export(self, events: Any, scope: Scope) -> None:
        raise PermanentError("400 Bad Request")


class Crashing(Receiver[ComponentConfig]):
    """Always fail."""

    type = "crashing"

    async def run(self, output: Output) -> None:
        raise RuntimeError("boom")


def components() -> Registry:
    """Return a registry of the small components only."""
    return registry(
        (
            plugin(
                tapio_receivers=[ListReceiver, NotingReceiver, Crashing],
                tapio_processors=[UpperProcessor, NotingProcessor],
                tapio_exporters=[CollectingExporter, Noting, NoStart, Stuck, Raising],
            ),
            "test 0",
        )
    )


def service(yaml: str, state: Path) -> Service:
    """Return a service of this configuration with its state in a directory of the test."""
    return Service(load([("test.yaml", yaml)], [f"service.state_dir={state}"], components()), components())


async def test_a_finite_run_goes_from_start_to_drain_in_the_documented_order(tmp_path: Path) -> None:
    """Exporters start before processors before receivers; receivers end, processors flush, exporters end last."""
    ORDER.clear()
    one = service(
        """
receivers: {noting: {batches: [[a, b], [c]]}}
processors: {noting: }
exporters: {noting: }
service: {pipelines: {logs: {receivers: [noting], processors: [noting], exporters: [noting]}}}
""",
        tmp_path,
    )
    assert await one.run() == 0
    (exporter,) = one.graph.exporters
    assert exporter.titles == ["A", "B", "C", "summary"]  # type: ignore[attr-defined]
    first = list(dict.fromkeys(ORDER))
    assert first == ["exporter starts", "processor starts", "receiver runs", "processor flushes", "exporter ends"]


async def test_a_receiver_and_an_exporter_shared_by_pipelines_exist_once(tmp_path: Path) -> None:
    """Two pipelines with the same receiver and exporter: each event arrives by both ways, from one instance."""
    one = service(
        """
receivers: {list: {batches: [[a]]}}
processors: {upper: }
exporters: {collecting: }
service:
  pipelines:
    logs/plain: {receivers: [list], exporters: [collecting]}
    logs/upper: {receivers: [list], processors: [upper], exporters: [collecting]}
""",
        tmp_path,
    )
    assert await one.run() == 0
    (exporter,) = one.graph.exporters
    assert sorted(exporter.titles) == ["A", "a", "summary"]  # type: ignore[attr-defined]
    assert len(one.graph.receivers) == 1


async def test_the_next_run_resumes_after_what_was_delivered(tmp_path: Path) -> None:
    """A second service on the same state directory gets only what the first had not."""
    yaml = """
receivers: {list: {batches: %s}}
exporters: {collecting: }
service: {pipelines: {logs: {receivers: [list], exporters: [collecting]}}}
"""
    for batches, expected in (("[[a], [b]]", ["a", "b"]), ("[[a], [b], [c]]", ["c"])):
        one = service(yaml % batches, tmp_path)
        assert await one.run() == 0
        assert one.graph.exporters[0].titles == expected  # type: ignore[attr-defined]


async def test_what_was_not_delivered_within_the_timeout_is_read_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A stuck exporter does not keep the process; the checkpoint stays, so the next run delivers the event."""
    yaml = """
receivers: {list: {batches: [[a]], follow: true}}
exporters: {%s: }
service: {shutdown_timeout: 50ms, pipelines: {logs: {receivers: [list], exporters: [%s]}}}
"""
    stuck = service(yaml % ("stuck", "stuck"), tmp_path)
    running = asyncio.create_task(stuck.run())
    await asyncio.sleep(0.05)
    stuck.stop()
    assert await running == 0
    well = service(yaml % ("collecting", "collecting"), tmp_path)
    running = asyncio.create_task(well.run())
    exporter: Any = well.graph.exporters[0]
    while not exporter.events:
        await asyncio.sleep(0.01)
    well.stop()
    assert await running == 0
    assert exporter.titles == ["a"]


async def test_an_exporter_that_cannot_start_is_an_error_before_anything_runs(tmp_path: Path) -> None:
    """The error carries the configuration's path; what had started is shut down and the state directory released."""
    ORDER.clear()
    one = service(
        """
receivers: {noting: }
exporters: {noting: , nostart/x: }
service: {pipelines: {logs: {receivers: [noting], exporters: [noting, nostart/x]}}}
""",
        tmp_path,
    )
    with pytest.raises(StartError, match=r"^exporters\.nostart/x: the port 1 is taken: choose another$"):
        await one.run()
    assert ORDER == ["exporter starts", "exporter ends"]


RAISING = """
receivers: {list: {batches: [[a]]}}
exporters: {raising/%s: , collecting: }
service: {shutdown_timeout: 1s, pipelines: {logs: {receivers: [list], exporters: [raising/%s, collecting]}}}
"""


async def test_whatever_a_component_raises_at_its_start_is_an_error_that_names_it(tmp_path: Path) -> None:
    """No traceback reaches the user: the error has the component's path, the kind of error and its words."""
    with pytest.raises(StartError, match=r"^exporters\.raising/init: ValueError: in init$"):
        service(RAISING % ("init", "init"), tmp_path)
    with pytest.raises(StartError, match=r"^exporters\.raising/start: RuntimeError: in start$"):
        await service(RAISING % ("start", "start"), tmp_path).run()


async def test_a_component_that_hangs_at_its_start_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start gives up after its time."""
    monkeypatch.setattr(running, "START_TIMEOUT", 0.05)
    with pytest.raises(StartError, match=r"^exporters\.raising/hang: its start did not end within 0\.05 s$"):
        await service(RAISING % ("hang", "hang"), tmp_path).run()


async def test_stopping_while_a_component_hangs_at_its_start_ends_the_run(tmp_path: Path) -> None:
    """A signal works from the first moment on."""
    one = service(RAISING % ("hang", "hang"), tmp_path)
    running = asyncio.create_task(one.run())
    await asyncio.sleep(0.05)
    one.stop()
    assert await running == 0


async def test_an_exporter_that_raises_at_shutdown_does_not_spoil_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything was delivered, so the status is 0; the log names the exporter."""
    one = service(RAISING % ("shutdown", "shutdown"), tmp_path)
    assert await one.run() == 0
    assert "exporters/raising/shutdown did not shut down cleanly: RuntimeError: in shutdown" in caplog.text


async def test_a_finite_run_that_was_not_delivered_in_full_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A script that replays a journal can see that its backend never got it."""
    yaml = """
receivers: {list: {batches: [[a, b]]}}
exporters: {holding: }
service: {pipelines: {logs: {receivers: [list], exporters: [holding]}}}
"""
    registered = registry((plugin(tapio_receivers=[ListReceiver], tapio_exporters=[Holding]), "test 0"))
    log = logs.set_up("error", "console")
    one = Service(load([("test.yaml", yaml)], [f"service.state_dir={tmp_path}"], registered), registered)
    assert await one.run() == 1
    assert "received 2 (list 2), undelivered 2, in " in capsys.readouterr().err
    log.handlers.clear()


async def test_a_finite_run_in_which_an_exporter_failed_fails(tmp_path: Path) -> None:
    """What the backend refused for good is counted, and the status tells of it."""
    yaml = """
receivers: {list: {batches: [[a, b]]}}
exporters: {refusing: }
service: {pipelines: {logs: {receivers: [list], exporters: [refusing]}}}
"""
    registered = registry((plugin(tapio_receivers=[ListReceiver], tapio_exporters=[Refusing]), "test 0"))
    one = Service(load([("test.yaml", yaml)], [f"service.state_dir={tmp_path}"], registered), registered)
    assert await one.run() == 1


async def test_a_crashing_receiver_leaves_the_others_running(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The crash is logged once with its component and shown in health; the other receiver's events arrive."""
    caplog.set_level(logging.INFO, "tapio")
    one = service(
        """
receivers: {crashing: , list: {batches: [[a]], follow: true}}
exporters: {collecting: }
service: {pipelines: {logs: {receivers: [crashing, list], exporters: [collecting]}}}
""",
        tmp_path,
    )
    running = asyncio.create_task(one.run())
    exporter: Any = one.graph.exporters[0]
    while not exporter.events or one.health.well:
        await asyncio.sleep(0.01)
    assert one.health.problems == {"receivers/crashing": "RuntimeError: boom"}
    one.stop()
    assert await running == 0
    assert "received 1 (list 1)" in caplog.text


async def test_two_services_on_one_state_directory_are_refused(tmp_path: Path) -> None:
    """The second does not start while the first runs."""
    yaml = """
receivers: {list: {follow: true}}
exporters: {collecting: }
service: {pipelines: {logs: {receivers: [list], exporters: [collecting]}}}
"""
    first = service(yaml, tmp_path)
    running = asyncio.create_task(first.run())
    await asyncio.sleep(0.05)
    with pytest.raises(StartError, match="another agent"):
        await service(yaml, tmp_path).run()
    first.stop()
    assert await running == 0


async def test_a_run_leaves_no_task_behind(tmp_path: Path) -> None:
    """Everything the service began has ended when it returns."""
    one = service(
        """
receivers: {list: {batches: [[a]]}}
exporters: {collecting: }
service: {pipelines: {logs: {receivers: [list], exporters: [collecting]}}}
""",
        tmp_path,
    )
    await one.run()
    assert asyncio.all_tasks() == {asyncio.current_task()}
