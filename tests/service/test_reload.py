"""The plan of a reload keeps what is equal, exchanges what is not, and starts and stops in the right order."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from tapio_otel.component import ComponentConfig, ComponentId, Extension, Kind
from tapio_otel.config.loader import Configuration, load
from tapio_otel.config.service import ServiceConfig
from tapio_otel.registry import Registry
from tapio_otel.service.reload import START_ORDER, Part, Slot, fixed_settings, parts, plan
from tests.components import CollectingExporter, ListReceiver, UpperProcessor
from tests.test_registry import plugin, registry


class NumberConfig(ComponentConfig):
    """Be told apart by a number, and name an extension."""

    number: int = 0
    storage: str | None = None


class StorageExtension(Extension[NumberConfig]):
    """Be named by others."""

    type = "storage"
    Config = NumberConfig


class KeepingConfig(NumberConfig):
    """Name an extension and a file."""

    file: Path | None = Field(None)


class KeepingExporter(CollectingExporter):
    """Name an extension in its options, and a file that it reads."""

    type = "keeping"
    Config = KeepingConfig

    @classmethod
    def files_read(cls, config: ComponentConfig) -> Sequence[Path]:
        assert isinstance(config, KeepingConfig)
        return [config.file] if config.file else []


def components() -> Registry:
    """Return a registry of the small components."""
    brought = plugin(
        tapio_receivers=[ListReceiver],
        tapio_processors=[UpperProcessor],
        tapio_exporters=[CollectingExporter, KeepingExporter],
        tapio_extensions=[StorageExtension],
    )
    return registry((brought, "test 0"))


def configuration(yaml: str) -> Configuration:
    """Return a validated configuration."""
    return load([("test.yaml", yaml)], [], components())


TEMPLATE = """
extensions: {{storage: {{number: {storage}}}}}
receivers: {{list: {{batches: [[a]]}}}}
processors: {{upper: {{poison: {poison}}}}}
exporters: {{keeping: {{storage: storage}}, collecting: }}
service:
  extensions: [storage]
  pipelines:
    logs: {{receivers: [list], processors: [upper], exporters: [keeping]}}
    logs/b: {{receivers: [list], processors: [upper], exporters: [collecting]}}
"""


def template(storage: int = 1, poison: str = "x") -> Configuration:
    """Return the configuration of two pipelines."""
    return configuration(TEMPLATE.format(storage=storage, poison=poison))


def test_every_place_of_a_processor_is_a_slot_of_its_own() -> None:
    """Two pipelines name a processor: two slots, and the others by kind and id, in the order of their start."""
    found = parts(template(), components())
    named = [str(slot) for slot in found]
    assert named == [
        *("extensions/storage", "exporters/keeping", "exporters/collecting"),
        *("processors/upper of logs", "processors/upper of logs/b", "receivers/list"),
    ]


def test_an_equal_configuration_keeps_everything() -> None:
    """Written again, nothing stops or starts."""
    found = plan(parts(template(), components()), parts(template(), components()))
    assert (found.stop, found.start) == ((), ())
    assert len(found.keep) == 6


def test_a_changed_option_exchanges_that_component_alone() -> None:
    """Both places of the processor, and nothing else."""
    found = plan(parts(template(), components()), parts(template(poison="y"), components()))
    assert {str(slot) for slot in found.start} == {"processors/upper of logs", "processors/upper of logs/b"}
    assert sorted(map(str, found.start)) == sorted(map(str, found.stop))


def test_who_names_a_changed_extension_goes_with_it() -> None:
    """The exporter whose storage changes is exchanged, the other one stays."""
    found = plan(parts(template(), components()), parts(template(storage=2), components()))
    assert [str(slot) for slot in found.start] == ["extensions/storage", "exporters/keeping"]
    assert [str(slot) for slot in found.stop] == ["exporters/keeping", "extensions/storage"]


def test_a_changed_file_makes_another_component(tmp_path: Path) -> None:
    """The options are equal, but what is read beside them is not."""
    file = tmp_path / "patterns"
    yaml = f"""
receivers: {{list: }}
exporters: {{keeping: {{file: {file}}}}}
service: {{pipelines: {{logs: {{receivers: [list], exporters: [keeping]}}}}}}
"""
    file.write_text("a")
    before = parts(configuration(yaml), components())
    os.utime(file, ns=(1, 1))
    after = parts(configuration(yaml), components())
    assert [str(slot) for slot in plan(before, after).start] == ["exporters/keeping"]
    file.unlink()
    assert [str(slot) for slot in plan(before, parts(configuration(yaml), components())).start] == ["exporters/keeping"]


ids = st.builds(ComponentId, st.sampled_from(["a", "b", "c"]))
slots = st.one_of(
    st.builds(Slot, st.sampled_from([Kind.RECEIVER, Kind.EXPORTER, Kind.EXTENSION]), ids),
    st.builds(Slot, st.just(Kind.PROCESSOR), ids, ids),
)
configs = st.builds(NumberConfig, number=st.integers(0, 1), storage=st.sampled_from([None, "a", "b"]))
states = st.dictionaries(slots, st.builds(Part, configs), max_size=8)


@given(states, states)
def test_a_plan_leads_from_any_state_to_any_other(running: dict[Slot, Part], wanted: dict[Slot, Part]) -> None:
    """What is kept is equal and wanted; stopping and starting the rest gives exactly what is wanted, in order."""
    found = plan(running, wanted)
    after = {slot for slot in running if slot not in found.stop} | set(found.start)
    assert after == set(wanted)
    assert all(running[slot] == wanted[slot] for slot in found.keep)
    assert found.keep == set(wanted) - set(found.start) == set(running) - set(found.stop)
    started, stopped = ([START_ORDER.index(slot.kind) for slot in some] for some in (found.start, found.stop))
    assert started == sorted(started)
    assert stopped == sorted(stopped, reverse=True)


@given(states, states)
def test_a_kept_component_never_names_an_extension_that_is_not_kept(
    running: dict[Slot, Part], wanted: dict[Slot, Part]
) -> None:
    """Whoever has an extension in hand is started after it, anew."""
    keep = plan(running, wanted).keep
    for slot in keep:
        named = Slot(Kind.EXTENSION, ComponentId(str(getattr(wanted[slot].config, "storage", None))))
        assert named in keep or (named not in running and named not in wanted)


@given(states)
def test_a_plan_to_the_same_state_does_nothing(state: dict[Slot, Part]) -> None:
    """Nothing is exchanged without a reason."""
    found = plan(state, state)
    assert (found.stop, found.start) == ((), ())


@pytest.mark.parametrize(
    ("new", "named"),
    [
        (ServiceConfig(), []),
        (ServiceConfig(state_dir=Path("/x")), ["service.state_dir"]),
        (ServiceConfig(root_path=Path("/host")), ["service.root_path"]),
        (ServiceConfig(shutdown_timeout=5.0), []),
    ],
)
def test_settings_that_only_a_restart_changes_are_named(new: ServiceConfig, named: list[str]) -> None:
    """The directory of the state and the host's root, but not the timeout."""
    assert fixed_settings(ServiceConfig(), new) == named
