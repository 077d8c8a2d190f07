"""One conformance test over every registered component: learn one, know all.

A component whose options have no complete defaults gets its smallest configuration in `SMALLEST`; a receiver gets something
to read in `SOURCES`, an exporter somewhere to send to in `tests.exporting.sinks`. Nothing else is to be added for a new
component.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Final, get_args

import jsonschema
import pytest
from pydantic import BaseModel, ValidationError

from tapio_otel.component import Batch, Component, ComponentError, Kind, Stability
from tapio_otel.entities import EntityMapper
from tapio_otel.event import UnifiedEvent
from tapio_otel.registry import Registration, Registry
from tests.collect import CollectingOutput
from tests.components import SCOPE, context
from tests.exporting.samples import CountedDelivery, content, samples
from tests.exporting.sinks import SINKS
from tests.journal import entries, write_journal
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.fixtures import BUILD
from tests.lab import BootedSystemd, require_lab
from tests.requirements import require

# What the smallest configuration of a component must say; DIRECTORY stands for a directory of the test's own.
SMALLEST: Final[dict[tuple[Kind, str], dict[str, Any]]] = {
    (Kind.EXPORTER, "file"): {"path": "DIRECTORY/out.jsonl"},
    (Kind.PROCESSOR, "attributes"): {"actions": [{"key": "none", "action": "delete"}]},
    (Kind.PROCESSOR, "filter"): {"drop": ["type == 'none'"]},
}


@contextlib.contextmanager
def journal(directory: Path) -> Iterator[dict[str, Any]]:
    """Write a journal of 20 entries; what is given makes `journald` read it and wait for more."""
    yield {"directory": str(write_journal(directory / "journal", entries(20))), "start_at": "beginning", "follow": True}


@contextlib.contextmanager
def network_counters(directory: Path) -> Iterator[dict[str, Any]]:
    """Let the network's counters rise, as the kernel's would; what is given makes `ebpf` look at nothing else."""
    counters = directory / "proc/1/net/snmp"
    counters.parent.mkdir(parents=True)
    over = threading.Event()

    def rise(ports: int = 0) -> None:
        while not over.wait(0.05):
            ports += 1
            (directory / "new").write_text(f"Udp: InDatagrams NoPorts\nUdp: 0 {ports}\n")
            (directory / "new").replace(counters)

    counters.write_text("Udp: InDatagrams NoPorts\nUdp: 0 0\n")
    writer = threading.Thread(target=rise)
    writer.start()
    others = ("oom", "cpu_throttle", "tcp_retransmit", "tcp_reset")
    try:
        yield {"loader": "none", "probes": {name: {"enabled": False} for name in others}}
    finally:
        over.set()
        writer.join()


@contextlib.contextmanager
def booted(_directory: Path) -> Iterator[dict[str, Any]]:
    """Boot a systemd; what is given makes `systemd` tell of every unit there is."""
    require_lab()
    with BootedSystemd() as lab:
        yield {"bus": f"unix:path={lab.bus}", "initial_state": "all"}


@contextlib.contextmanager
def api_server(directory: Path) -> Iterator[dict[str, Any]]:
    """Run a Kubernetes API server; what is given makes `kubernetes` tell its events."""
    built = subprocess.run([BUILD, "--cached"], capture_output=True, text=True, check=False)
    require("kubernetes", built.returncode == 0, built.stderr.strip())
    event = {
        "metadata": {"name": "one"},
        "eventTime": "2026-11-23T12:00:00.000000Z",
        "type": "Normal",
        "reason": "Tested",
        "action": "Test",
        "reportingController": "tests.example/one",
        "reportingInstance": "one",
        "regarding": {"kind": "Pod", "namespace": "default", "name": "web-0"},
    }
    with Cluster(Path(built.stdout.strip()), directory / "cluster") as cluster:
        cluster.request("POST", "/apis/events.k8s.io/v1/namespaces/default/events", event)
        yield {"auth_type": "kubeConfig", "kubeconfig": str(cluster.kubeconfig), "node_name": "", "start_at": "beginning"}


# What a receiver reads: makes a source of at least one event meanwhile, and gives the options to read it.
SOURCES: Final[dict[str, Callable[[Path], contextlib.AbstractContextManager[dict[str, Any]]]]] = {
    "journald": journal,
    "ebpf": network_counters,
    "systemd": booted,
    "kubernetes": api_server,
}
HEAVY: Final = (
    "aiohttp",
    "bcc",
    "ctypes.util",
    "dbus_fast",
    "dbus_next",
    "grpc",
    "isal",
    "opentelemetry.sdk",
    "rich",
    "systemd",
    "zstandard",
)

REGISTRY: Final = Registry.load()
COMPONENTS: Final = REGISTRY.registrations()
EVERY: Final = pytest.mark.parametrize("registered", COMPONENTS, ids=lambda one: f"{one.kind}/{one.component.type}")


def every(kind: Kind) -> pytest.MarkDecorator:
    """Run a test for every component of a kind."""
    chosen = [one for one in COMPONENTS if one.kind is kind]
    return pytest.mark.parametrize("registered", chosen, ids=lambda one: one.component.type)


def smallest(registered: Registration, directory: Path) -> dict[str, Any]:
    """Return the smallest configuration of a component."""
    given = json.dumps(SMALLEST.get((registered.kind, registered.component.type), {}))
    return json.loads(given.replace("DIRECTORY", str(directory)))


def create(registered: Registration, room: Path, /, **options: Any) -> Any:
    """Create a component from its smallest configuration and `options`, with every extension point that plugins fill."""
    component = registered.component
    points = {point: REGISTRY.provided(point) for point in ("normalizers", "hash_functions")}
    surroundings = context(registered.kind, component.type, points, room / "state")
    surroundings.entities = EntityMapper(room)
    return component(surroundings, component.Config.model_validate({**smallest(registered, room), **options}))


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield every model in an annotation, and the models within those."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from models(field.annotation)
    for part in get_args(annotation):
        yield from models(part)


def descriptors() -> dict[str, str]:
    """Return what this process has open: descriptor to target."""
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found[entry.name] = str(entry.readlink())
        except FileNotFoundError:  # the one that listed the directory
            continue
    return found


def threads() -> set[str]:
    """Return the threads that run, but for those of the event loop's own pool."""
    return {f"{one.name} {one.ident}" for one in threading.enumerate() if not one.name.startswith("asyncio_")}


def others() -> set[asyncio.Task[Any]]:
    """Return the tasks of the running loop, but for the current one."""
    return {task for task in asyncio.all_tasks() if not task.done()} - {asyncio.current_task()}


async def eventually(condition: Callable[[], bool]) -> bool:
    """Return whether it comes true within two seconds: closing may take turns of the loop."""
    for _ in range(100):
        if condition():
            return True
        await asyncio.sleep(0.02)
    return condition()


@contextlib.asynccontextmanager
async def nothing_left_behind() -> AsyncIterator[None]:
    """Fail if tasks, threads or descriptors are left that were not there before."""
    gc.collect()
    open_before, running, tasks = descriptors(), threads(), others()
    yield
    assert await eventually(lambda: len(others()) <= len(tasks)), others() - tasks
    assert await eventually(lambda: len(threads()) <= len(running)), threads() - running
    assert await eventually(lambda: len(descriptors()) <= len(open_before)), (open_before, descriptors())


class FullOutput(CollectingOutput):
    """Be a pipeline that never takes a batch."""

    async def emit(self, events: list[UnifiedEvent], checkpoint: Any | None = None) -> None:
        """Wait for ever, once there are events."""
        await super().emit(events, checkpoint)
        if events:
            await asyncio.Event().wait()


async def run_once(component: Component[Any]) -> None:
    """Start and shut down; a component may find that this machine lacks what it needs."""
    try:
        async with asyncio.timeout(20):
            await component.start()
    except ComponentError as error:
        assert str(error).strip(), "the error says nothing"
    finally:
        async with asyncio.timeout(20):
            await component.shutdown()


def test_the_built_in_plugin_has_no_problems():
    """Every built-in component and extension is registered, whatever else is installed."""
    assert [str(problem) for problem in REGISTRY.problems if problem.distribution.startswith("tapio-otel ")] == []
    assert {one.kind for one in COMPONENTS} >= {Kind.RECEIVER, Kind.PROCESSOR, Kind.EXPORTER}


def test_the_table_of_smallest_configurations_names_registered_components_only():
    """An entry that nobody needs is removed."""
    assert set(SMALLEST) <= {(one.kind, one.component.type) for one in COMPONENTS}


@EVERY
def test_every_option_is_described_and_has_a_default(registered):
    """The Config model is the only spec: reference pages and JSON schema are made from it."""
    required = SMALLEST.get((registered.kind, registered.component.type), {})
    for model in models(registered.component.Config):
        assert model.__doc__, f"{model.__name__} has no docstring"
        assert model.model_config.get("extra") == "forbid", f"{model.__name__} accepts unknown keys"
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name} has no description"
            if field.is_required() and model is registered.component.Config:  # a group inside may demand what makes it one
                assert name in required, f"{model.__name__}.{name} has no default and no entry in SMALLEST"


@EVERY
def test_the_json_schema_generates_and_accepts_the_smallest_configuration(registered, tmp_path):
    """A YAML editor can check what it is given."""
    schema = registered.component.Config.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(smallest(registered, tmp_path), schema)


@EVERY
def test_unknown_options_are_refused(registered, tmp_path):
    """A misspelt option is an error."""
    with pytest.raises(ValidationError, match="no_such_option"):
        registered.component.Config.model_validate({**smallest(registered, tmp_path), "no_such_option": 1})


@EVERY
def test_it_says_what_it_is(registered):
    """Class and module have docstrings, the module's goes on to what it guarantees, and the stability is declared."""
    component = registered.component
    assert component.__doc__
    assert isinstance(component.stability, Stability)
    module = sys.modules[component.__module__]
    package = sys.modules[component.__module__.rpartition(".")[0]]
    own_package = package.__doc__ if package.__name__ != f"tapio_otel.{registered.kind}" else None
    what, _, guarantees = f"{module.__doc__ or ''}\n{own_package or ''}".partition("\n")
    assert what.strip(), f"{module.__name__} does not tell what it is"
    assert len(guarantees.split()) >= 10, f"neither {module.__name__} nor its package goes on to what it guarantees"


@EVERY
def test_creating_it_touches_nothing(registered, tmp_path):
    """A component is made without files, sockets, threads or a running loop: `tapio validate` may make all of them."""
    create(registered, tmp_path)
    before = descriptors(), threads(), sorted(tmp_path.rglob("*"))
    component = create(registered, tmp_path)
    assert (descriptors(), threads(), sorted(tmp_path.rglob("*"))) == before
    assert component.kind is registered.kind


@EVERY
async def test_shutdown_is_safe_without_start_and_twice(registered, tmp_path):
    """Whatever went wrong before, shutting down cannot."""
    component = create(registered, tmp_path)
    async with asyncio.timeout(20):
        await component.shutdown()
        await component.shutdown()


@EVERY
async def test_nothing_is_left_after_start_and_shutdown(registered, tmp_path):
    """No task, descriptor or thread survives; a first round brings up what a process has once, such as a library's pool."""
    await run_once(create(registered, tmp_path))
    async with nothing_left_behind():
        component = create(registered, tmp_path)
        await run_once(component)
        await component.shutdown()


def test_every_exporter_has_a_sink_and_every_receiver_a_source():
    """Without one it could not be tested; entries that nobody needs are removed."""
    types = {kind: {one.component.type for one in COMPONENTS if one.kind is kind} for kind in Kind}
    assert types[Kind.EXPORTER] == set(SINKS), "add it to (or remove it from) SINKS in tests/exporting/sinks.py"
    assert types[Kind.RECEIVER] == set(SOURCES), "add it to (or remove it from) SOURCES"


@every(Kind.EXPORTER)
async def test_an_exporter_delivers_each_event_once_and_settles_each_batch_once(registered, tmp_path, capfd):
    """What it is given arrives and is counted, empty batches settle, and events and lists stay as they are for others."""
    written = ""

    def output() -> str:
        nonlocal written
        written += capfd.readouterr().out
        return written

    given = samples()
    batches = [given[:1], [], given[1:40], given[40:]]
    before, lists = [content(one) for one in given], [list(one) for one in batches]
    deliveries = [CountedDelivery() for _ in batches]
    async with SINKS[registered.component.type](tmp_path, output) as sink, nothing_left_behind(), asyncio.timeout(30):
        exporter = create(registered, tmp_path, **sink.options)
        await exporter.start()
        for events, delivery in zip(batches, deliveries, strict=True):
            await exporter.consume(Batch(events, SCOPE, delivery))
        await exporter.shutdown()
        await exporter.shutdown()
        assert sorted(sink.bodies()) == sorted(one.title for one in given)
    assert [(one.is_settled, one.held - one.released) for one in deliveries] == [(True, 0)] * len(batches)
    assert [[id(one) for one in events] for events in batches] == [[id(one) for one in events] for events in lists]
    assert [content(one) for one in given] == before
    assert exporter.context.counters.counts["sent"] == len(given)


@every(Kind.EXPORTER)
async def test_two_pipelines_may_use_an_exporter_at_once(registered, tmp_path, capfd):
    """Batches consumed at the same time neither mix nor get lost."""
    given, deliveries = samples(), [CountedDelivery() for _ in range(8)]
    async with SINKS[registered.component.type](tmp_path, lambda: capfd.readouterr().out) as sink, asyncio.timeout(30):
        exporter = create(registered, tmp_path, **sink.options)
        await exporter.start()
        parts = [Batch(given[number::8], SCOPE, delivery) for number, delivery in enumerate(deliveries)]
        await asyncio.gather(*map(exporter.consume, parts))
        await exporter.shutdown()
        assert sorted(sink.bodies()) == sorted(one.title for one in given)
    assert [(one.is_settled, one.held - one.released) for one in deliveries] == [(True, 0)] * 8


@pytest.mark.parametrize("full", [False, True], ids=["waiting for events", "waiting for the pipeline"])
@every(Kind.RECEIVER)
async def test_a_receiver_ends_when_it_is_cancelled(registered, full, tmp_path):
    """Whatever it waits for, it ends with CancelledError, soon, and leaves nothing; a second run of it works as the first."""

    async def run(receiver: Any, output: CollectingOutput) -> None:
        task = asyncio.create_task(receiver.run(output))
        await output.until(lambda: bool(output.events) or task.done())
        await asyncio.sleep(0.1)
        assert not task.done(), f"{task} ended by itself"
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=5)
        assert done, "it does not react to its cancellation"
        assert task.cancelled(), task.exception()

    async def twice(options: dict[str, Any]) -> None:
        receiver = create(registered, tmp_path, **options)
        await receiver.start()
        for _ in range(2):
            await run(receiver, FullOutput() if full else CollectingOutput())
        await receiver.shutdown()

    with SOURCES[registered.component.type](tmp_path) as options:
        await twice(options)
        async with nothing_left_behind():
            await twice(options)


@every(Kind.PROCESSOR)
async def test_a_processor_takes_every_type_of_event_and_keeps_none(registered, tmp_path):
    """Lists of events come out, alone or in batches; nothing of it is left once it is let go, without the garbage collector."""

    async def use() -> weakref.ref[Any]:
        processor = create(registered, tmp_path)
        await processor.start()
        for events in (samples(), *([one] for one in samples())):
            passed = processor.process(events)
            assert isinstance(passed, list)
            assert all(isinstance(one, UnifiedEvent) for one in passed)
        for final in (False, True):
            assert all(isinstance(one, UnifiedEvent) for one in processor.flush(final))
        await processor.shutdown()
        return weakref.ref(processor)

    await use()
    gc.collect()
    gc.disable()
    try:
        before = sum(isinstance(one, UnifiedEvent) for one in gc.get_objects())
        async with nothing_left_behind():
            gone = await use()
        left = sum(isinstance(one, UnifiedEvent) for one in gc.get_objects()) - before
    finally:
        gc.enable()
    assert gone() is None, f"still held by {gc.get_referrers(gone())}"
    assert left <= 0, f"{left} events are still held"


@every(Kind.PROCESSOR)
def test_a_processor_takes_nothing_and_anything(registered, tmp_path):
    """Empty batches and the barest events pass, and a final flush gives events."""
    processor: Any = create(registered, tmp_path)
    assert processor.process([]) == []
    bare = UnifiedEvent("00000000-0000-8000-8000-000000000000", 0, "nobody")
    assert isinstance(processor.process([bare]), list)
    assert isinstance(processor.flush(False), list)
    assert isinstance(processor.flush(True), list)
    assert processor.flush(True) == []


def test_importing_every_component_is_cheap():
    """What is heavy is imported when a component starts, so that `tapio --help` and `tapio validate` are quick."""
    modules = sorted({one.component.__module__ for one in COMPONENTS})
    script = (
        "import importlib, json, sys\n"
        "found = {}\n"
        f"for name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
        f"    found[name] = [heavy for heavy in {HEAVY!r} if heavy in sys.modules]\n"
        "print(json.dumps(found))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONWARNINGS": ""},
    )
    assert json.loads(result.stdout) == {name: [] for name in modules}
