"""What an agent's configuration says to commands that read what it kept: where its store is, and where traces are looked at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapio_otel.cli.options import load_or_exit
from tapio_otel.cli.terminal import fail
from tapio_otel.component import ComponentId

if TYPE_CHECKING:
    from tapio_otel.config.loader import Configuration


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Hold the path of the store, and the address of a trace with `{trace_id}` in it, empty where there is none."""

    store: Path
    trace_url: str


def settings_of(files: tuple[str, ...], *, wants_store: bool) -> AgentSettings:
    """Return what files configure; exits with 1 where they are wrong, or a store is wanted and which one is not clear."""
    from tapio_otel.registry import Registry

    configuration = load_or_exit(files, (), Registry.load())
    pages = [one for id, one in configuration.extensions.items() if id.type == "ui" and id in configuration.service.extensions]
    page: Any = pages[0] if pages else None
    store = _store(configuration, page.store if page else "") if wants_store else Path()
    return AgentSettings(store, page.trace_url if page else "")


def _store(configuration: Configuration, name: str) -> Path:
    """Return the directory of the sqlite exporter that a pipeline has: the named one, or the only one."""
    used = {id for pipeline in configuration.service.pipelines.values() for id in pipeline.exporters}
    found: dict[ComponentId, Any] = {
        id: one for id, one in configuration.exporters.items() if id.type == "sqlite" and id in used
    }
    chosen = {id: one for id, one in found.items() if not name or str(id) == name}
    if len(chosen) == 1:
        [config] = chosen.values()
        state = configuration.service.state_dir
        return Path(config.directory or (state or Path()) / "events")
    if chosen:
        fail(f"the configuration has several sqlite exporters, {', '.join(map(str, found))}: choose a store by --store PATH")
    fail("no pipeline of the configuration has the sqlite exporter that is shown: name a store by --store PATH")
