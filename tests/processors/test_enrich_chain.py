"""The chain of enrichers: plugins take part in it, in the order that is written, and spoil nothing when they fail."""

from __future__ import annotations

import asyncio
import re
import types
from pathlib import Path
from typing import Any

import pytest

from tapio_otel import Enricher, hookimpl
from tapio_otel.component import ComponentError
from tapio_otel.config.problem import ConfigError
from tapio_otel.entity import EntityReference
from tapio_otel.event import Origin, Severity, UnifiedEvent
from tapio_otel.registry import Registry
from tests.processors.enrich_samples import CONTAINER_PATH, MACHINE, NODE, event, learn, machine, pod, processor

HERE = EntityReference("node", NODE, uid=MACHINE)


class Team(Enricher):
    """Say who owns a machine; count how often it is asked."""

    reads = frozenset(("shift",))

    def __init__(self, context, options):
        self.context, self.options, self.asked = context, options, 0

    def enrich(self, subject):
        self.asked += 1
        subject.add("team", self.options.get("name", "nobody"))
        subject.add("empty", "")
        subject.add_label("owner", "team")
        subject.add_annotation("note", subject.entity.name)

    def enrich_event(self, event):
        event.set("on_duty", event.get("shift") == "night")


class Broken(Enricher):
    """Fail at whatever is asked."""

    reads = frozenset(("shift",))

    def __init__(self, _context, _options):
        """Be made without a failure."""

    def enrich(self, subject):
        subject.add("begun", True)
        raise KeyError("lost")

    def enrich_event(self, event):
        raise ValueError("not this one")


@pytest.fixture
def root(tmp_path):
    """Return the root of a machine called node-17."""
    return machine(tmp_path)


def of_origin(origin, own=None):
    """Return an event that shares an origin."""
    return UnifiedEvent.of_origin(origin, "id", 1, 1, "journald", "log", Severity.INFO, "title", "text", own or {})


def test_a_plugins_enricher_takes_part_with_its_options(root):
    """It is asked once for an origin, and shown single events that have what it reads."""
    made = processor(root, {"team": Team}, options={"team": {"name": "shop"}})
    origin = Origin(HERE)
    first, second = made.process([of_origin(origin), of_origin(origin, {"shift": "night"})])
    assert (first.get("team"), second.get("team")) == ("shop", "shop")
    assert (first.get("on_duty"), second.get("on_duty")) == (None, True)
    assert first.get("empty") is None
    assert (first.labels, first.annotations) == ({"owner": "team"}, {"note": NODE})
    [team] = [link.enricher for link in made._chain.links if link.name == "team"]
    assert team.asked == 1
    assert team.context.name == "team"


def test_an_enricher_that_says_something_new_is_asked_again(root):
    """Its version tells."""
    made = processor(root, {"team": Team})
    origin = Origin(HERE)
    [team] = [link.enricher for link in made._chain.links if link.name == "team"]
    made.process([of_origin(origin)])
    team.options = {"name": "new"}
    assert made.process([of_origin(origin)])[0].get("team") == "nobody"
    team.version += 1
    assert made.process([of_origin(origin)])[0].get("team") == "new"


def test_of_two_that_say_the_same_thing_the_first_is_heard(root):
    """The order is the one that is written; what is not named and no plugin's does not take part."""

    class Other(Team):
        def enrich(self, subject):
            subject.add("team", "other")

    provided = {"team": Team, "other": Other}
    assert processor(root, provided, enrichers=["other", "plugins"]).process([event(HERE)])[0].get("team") == "other"
    assert processor(root, provided, enrichers=["team", "other"]).process([event(HERE)])[0].get("team") == "nobody"
    assert processor(root, provided, enrichers=["host"]).process([event(HERE)])[0].get("team") is None


def test_an_enricher_that_fails_is_counted_and_named_and_the_others_are_heard(root, caplog):
    """What it added before stays; health and log name it once."""
    reports = []
    made = processor(root, {"broken": Broken, "team": Team})
    made.context.report = reports.append
    shown = [of_origin(Origin(HERE), {"shift": "day"}) for _ in range(3)]
    for given in shown:
        assert made.process([given])[0].get("team") == "nobody"
    counts = made.context.counters.counts
    assert counts["failed"] == 6
    assert counts["failed:broken"] == 6
    assert (counts["failed:KeyError"], counts["failed:ValueError"]) == (3, 3)
    assert "enricher 'broken' fails" in reports[0]
    assert len(caplog.records) == 1


def test_an_enricher_that_cannot_be_made_is_left_out(root):
    """The agent starts without it, and says so with the first events."""

    def fail(_context, _options):
        raise RuntimeError("no room")

    made = processor(root, {"fail": fail, "nothing": lambda _context, _options: "a text", "team": Team})
    assert made.process([event(HERE)])[0].get("team") == "nobody"
    assert made.context.counters.counts["failed:fail"] == 1
    assert made.context.counters.counts["failed:nothing"] == 1


async def test_an_enricher_that_cannot_start_says_which_it_is(root):
    """The error at the start names it."""

    class Stuck(Team):
        async def start(self):
            raise ComponentError("there is no file")

    made = processor(root, {"stuck": Stuck})
    with pytest.raises(ComponentError, match="enricher 'stuck': ComponentError: there is no file"):
        await made.start()
    await made.shutdown()


def test_unknown_names_are_refused_all_at_once(root):
    """With the place and what was probably meant."""
    with pytest.raises(ConfigError) as refused:
        processor(root, {"team": Team}, enrichers=["pods", "team"], options={"teem": {}})
    told = [str(problem) for problem in refused.value.problems]
    assert told == [
        "enrichers[0]: unknown enricher 'pods': did you mean 'pod'?",
        "options.teem: no enricher is called 'teem': did you mean 'team'?",
    ]


def test_the_hook_brings_enrichers_and_refuses_what_none_can_be(root):
    """A plugin's factory is found by its name; something that is no function is named as a problem."""
    plugin = types.SimpleNamespace(tapio_enrichers=hookimpl(lambda: {"team": Team, "bad": 3, "pod": Team}))
    registry = Registry.load()
    before = len(registry.problems)
    made = Registry()
    made.add(types.SimpleNamespace(tapio_enrichers=hookimpl(lambda: registry.provided("enrichers"))), "builtin", "tapio-otel 1")
    made.add(plugin, "acme", "acme 2")
    made.collect()
    assert made.provided("enrichers")["team"] is Team
    told = sorted(problem.message for problem in made.problems)
    assert any("enrichers 'bad' is 3" in message for message in told), told
    assert any("enrichers 'pod' is already provided" in message for message in told), told
    assert len(registry.problems) == before
    assert processor(root, made.provided("enrichers")).process([event(HERE)])[0].get("team") == "nobody"


def test_the_documented_plugin_works(root):
    """What docs/enrichment.md shows is run as it stands."""
    text = (Path(__file__).parents[2] / "docs/enrichment.md").read_text("utf-8")
    [block] = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    module: dict[str, Any] = {}
    exec(compile(block, "docs/enrichment.md", "exec"), module)
    made = processor(root, module["tapio_enrichers"](), options={"on_call": {"rota": {"shop": "Kim"}}})
    asyncio.run(learn(made._connection.cache, pods=[pod(labels={"team": "shop"})]))
    entity = made.context.entities.of_cgroup_path(CONTAINER_PATH)
    assert made.process([event(entity)])[0].get("on_call") == "Kim"
    assert made.process([event(HERE)])[0].get("on_call") is None


def test_an_enricher_that_has_not_failed_for_a_while_is_well_again(root):
    """One odd event does not leave the agent unwell for ever."""
    reports, now = [], [100.0]
    made = processor(root, {"broken": Broken})
    made.context.report = reports.append
    made._problems._clock = lambda: now[0]
    made.process([event(HERE)])
    assert "enricher 'broken' fails" in reports[-1]
    now[0] += 299
    made._problems.tell()
    assert reports[-1] is not None
    now[0] += 1
    made._problems.tell()
    assert reports[-1] is None
