"""Labelled scenarios: what happened on a few machines in the sources' own words, and what must be concluded from it.

A scenario is one YAML file (`form`). Its steps are journal entries, observations of the kernel, changes of systemd's units and
objects of Kubernetes; the receivers' own code makes events of them (`machine`, `cluster`), and the processors that stand before
`correlate` complete these (`events`), so that rules meet what they will meet in the field.
"""

from tapio_otel.cli.scenarios.events import ScenarioEvents, events_of
from tapio_otel.cli.scenarios.form import LabelledFinding, Scenario, read_scenarios

__all__ = ["LabelledFinding", "Scenario", "ScenarioEvents", "events_of", "read_scenarios"]
