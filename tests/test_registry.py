"""The registry names the distribution behind everything that is wrong, and one bad plugin spoils nothing else."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from click.testing import CliRunner

from tapio_otel import hookimpl
from tapio_otel.classifiers import CLASSIFIERS as BUILTIN_CLASSIFIERS
from tapio_otel.cli.validate import command as validate
from tapio_otel.component import Kind
from tapio_otel.config import UnknownComponent
from tapio_otel.event import Severity, UnifiedEvent
from tapio_otel.processors.normalize import NormalizeConfig, NormalizeProcessor
from tapio_otel.registry import Registry
from tests.components import CollectingExporter, ListReceiver, UpperProcessor, context


def plugin(**hooks: object) -> types.SimpleNamespace:
    """Return a plugin object with the given hooks, each returning the given value."""

    def hook(value: object) -> object:
        return hookimpl(lambda: value() if callable(value) and not isinstance(value, type) else value)

    return types.SimpleNamespace(**{name: hook(value) for name, value in hooks.items()})


def registry(*plugins: tuple[object, str]) -> Registry:
    """Return a registry of these plugins, each with its distribution."""
    made = Registry()
    for number, (one, distribution) in enumerate(plugins):
        made.add(one, f"plugin{number}", distribution)
    made.collect()
    return made


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a directory on the import path where a test can install distributions."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("acme_")]:
        del sys.modules[name]


def install(where: Path, distribution: str, module: str, source: str) -> None:
    """Install a distribution with one module and one entry point, as pip would leave it."""
    (where / f"{module}.py").write_text(source)
    info = where / f"{distribution.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    importlib.invalidate_caches()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[tapio_otel]\n{module} = {module}\n")


RECEIVER = """
from tapio_otel import ComponentConfig, Receiver, hookimpl
class Acme(Receiver):
    type = "acme"
    Config = ComponentConfig
    async def run(self, output): ...
@hookimpl
def tapio_receivers():
    return [Acme]
"""


def test_an_installed_distribution_brings_its_components(installed: Path) -> None:
    """An entry point of a really installed distribution is found beside the built-ins, under its own name."""
    install(installed, "acme-tapio", "acme_good", RECEIVER)
    found = Registry.load()
    origin = {one.component.type: one.distribution for one in found.registrations() if one.kind is Kind.RECEIVER}
    assert origin["acme"] == "acme-tapio 1.2"
    assert origin["journald"].startswith("tapio-otel ")


def test_a_plugin_that_cannot_be_imported_is_named_and_leaves_the_rest_usable(installed: Path) -> None:
    """The problem tells distribution, plugin and error; what another distribution brings still works."""
    install(installed, "acme-tapio", "acme_good", RECEIVER)
    install(installed, "acme-broken", "acme_broken", "import nothing_of_that_name\n")
    found = Registry.load()
    assert found.find(Kind.RECEIVER, "acme").type == "acme"
    assert [str(problem) for problem in found.problems] == [
        "plugin 'acme_broken' of distribution acme-broken 1.2: cannot be loaded from 'acme_broken': "
        "ModuleNotFoundError: No module named 'nothing_of_that_name'"
    ]
    with pytest.raises(UnknownComponent, match=r"unknown receiver type 'broken'.*distribution acme-broken 1\.2") as caught:
        found.find(Kind.RECEIVER, "broken")
    assert caught.value.broken


def test_a_plugin_that_exits_while_imported_is_contained(installed: Path) -> None:
    """Even sys.exit in a plugin's module is only that plugin's problem."""
    install(installed, "acme-exits", "acme_exits", "import sys\nsys.exit(3)\n")
    assert ["SystemExit: 3" in str(problem) for problem in Registry.load().problems] == [True]


def test_a_type_brought_twice_names_both_distributions() -> None:
    """Neither wins silently: using the type is an error, other types go on."""
    twice = registry(
        (plugin(tapio_receivers=[ListReceiver]), "first 1.0"),
        (plugin(tapio_receivers=[ListReceiver], tapio_exporters=[CollectingExporter]), "second 2.0"),
    )
    with pytest.raises(UnknownComponent, match=r"receiver type 'list' is brought more than once, by first 1.0 and second 2.0"):
        twice.find(Kind.RECEIVER, "list")
    assert twice.find(Kind.EXPORTER, "collecting") is CollectingExporter


def test_an_unknown_type_suggests_the_nearest() -> None:
    """A typing error is met with the name that was meant."""
    with pytest.raises(UnknownComponent, match=r"unknown processor type 'uper': did you mean 'upper'\?") as caught:
        registry((plugin(tapio_processors=[UpperProcessor]), "p 1")).find(Kind.PROCESSOR, "uper")
    assert not caught.value.broken


class BadType(ListReceiver):
    """Have a type that no configuration could name."""

    type = "Not A Name"


class BadConfig(ListReceiver):
    """Have a Config that is no model."""

    type = "badconfig"
    Config = dict  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("hooks", "message"),
    [
        ({"tapio_receivers": [CollectingExporter]}, "expected a subclass of tapio_otel.Receiver"),
        ({"tapio_receivers": ["journald"]}, "expected a subclass of tapio_otel.Receiver"),
        ({"tapio_receivers": [BadType]}, "its type is 'Not A Name', expected a lower_snake_case name"),
        ({"tapio_receivers": [BadConfig]}, "expected a subclass of tapio_otel.ComponentConfig"),
        ({"tapio_receivers": 7}, "its hook tapio_receivers failed: TypeError: 'int' object is not iterable"),
        ({"tapio_receivers": lambda: 1 / 0}, "its hook tapio_receivers failed: ZeroDivisionError: division by zero"),
        (
            {"tapio_classifiers": lambda: importlib.import_module("nothing_of_that_name")},
            "its hook tapio_classifiers failed: ModuleNotFoundError: No module named 'nothing_of_that_name'; "
            "what it brings by this hook is missing, all else is there; update or uninstall acme 1.0",
        ),
        ({"tapio_classifiers": lambda: sys.exit(3)}, "its hook tapio_classifiers failed: SystemExit: 3; what it brings"),
        (
            {"tapio_classifiers": [len]},
            "its hook tapio_classifiers returned [<built-in function len>], expected a mapping of names, each with a "
            "tapio_otel.Classifier; what it brings by this hook is missing, all else is there; update or uninstall acme 1.0",
        ),
        ({"tapio_classifiers": None}, "its hook tapio_classifiers returned None, expected a mapping of names"),
        ({"tapio_normalizers": {3: len}}, "its hook tapio_normalizers names <built-in function len> 3, expected a text"),
        ({"tapio_reciever": []}, "implements the hook 'tapio_reciever', which does not exist; did you mean tapio_receivers?"),
        ({"tapio_normalizers": {"x": 3}}, "normalizers 'x' is 3, expected a function"),
        ({"tapio_patterns": {"x": "/etc/x.yaml"}}, "patterns 'x' is '/etc/x.yaml', expected a pathlib.Path"),
        ({"tapio_classifiers": {"x": len}}, "classifiers 'x' is <built-in function len>, expected a tapio_otel.Classifier"),
    ],
)
def test_every_fault_of_a_plugin_is_told_with_its_distribution(hooks: dict[str, object], message: str) -> None:
    """The problem starts with plugin and distribution and says what was found."""
    (problem,) = registry((plugin(**hooks), "acme 1.0")).problems
    assert str(problem).startswith("plugin 'plugin0' of distribution acme 1.0: ")
    assert message in str(problem)


CLASSIFIERS = """
from tapio_otel import Classifier, hookimpl
@hookimpl
def tapio_classifiers():
    return {"acme": Classifier(lambda text, event: None, trigger="^acme ")}
"""


@pytest.mark.parametrize(
    "source",
    [
        "from tapio_otel import hookimpl\n@hookimpl\ndef tapio_classifiers():\n    import nothing_of_that_name\n",
        "from tapio_otel import hookimpl\n@hookimpl\ndef tapio_classifiers():\n    return [1]\n",
        "from tapio_otel import hookimpl\n@hookimpl\ndef tapio_classifiers():\n    raise SystemExit\n",
        "import nothing_of_that_name\n",
    ],
)
def test_a_plugin_whose_classifiers_are_unusable_takes_away_nobody_elses(installed: Path, source: str) -> None:
    """The built-in ones and those of the next plugin are there, and `tapio validate` tells of the bad one."""
    install(installed, "acme-broken", "acme_broken", source)
    install(installed, "acme-classifier", "acme_classifier", CLASSIFIERS)
    found = Registry.load()
    assert list(found.provided("classifiers")) == [*BUILTIN_CLASSIFIERS, "acme"]
    assert [problem.distribution for problem in found.problems] == ["acme-broken 1.2"]
    said = CliRunner().invoke(validate, [])
    assert said.exit_code == 0, said.output
    assert "warning: plugin 'acme_broken' of distribution acme-broken 1.2: " in said.output


def test_the_first_function_provided_under_a_name_is_kept() -> None:
    """A second normalizer for the same source is a problem that names the first one's distribution."""
    found = registry((plugin(tapio_normalizers={"x": len}), "a 1"), (plugin(tapio_normalizers={"x": str}), "b 1"))
    assert found.provided("normalizers") == {"x": len}
    assert [str(problem) for problem in found.problems] == [
        "plugin 'plugin1' of distribution b 1: normalizers 'x' is already provided by distribution a 1, which is used"
    ]


PATTERNS = """
from pathlib import Path
from tapio_otel import Classification, Classifier, Severity, hookimpl
@hookimpl
def tapio_patterns():
    return {"acme": Path(__file__).with_suffix(".yaml")}
@hookimpl
def tapio_classifiers():
    return {"acme": Classifier(lambda text, event: Classification(severity=Severity.ERROR), trigger="^acme ")}
"""
PATTERN_FILE = """
patterns:
  - name: acme_melted
    pattern: 'acme (?P<part>core) melted'
    event_type: acme_melted
    severity: critical
    category: hardware
    examples: ['acme core melted', 'the acme core melted again']
    counter_examples: ['acme core is well']
"""


async def test_a_plugins_patterns_and_classifiers_take_part_in_normalizing(installed: Path) -> None:
    """A text is asked about by the plugin's patterns first, then by its classifier; others are left to the built-in ones."""
    install(installed, "acme-texts", "acme_texts", PATTERNS)
    (installed / "acme_texts.yaml").write_text(PATTERN_FILE)
    found = Registry.load([EntryPoint("acme_texts", "acme_texts", "tapio_otel")])
    points = {point: found.provided(point) for point in ("normalizers", "patterns", "classifiers")}
    assert (found.problems, list(points["patterns"])) == ([], ["acme"])
    normalize = NormalizeProcessor(context(Kind.PROCESSOR, "normalize", points), NormalizeConfig())
    texts = ("acme core melted", "acme is unwell", "all is well")
    batch = normalize.process([UnifiedEvent(id=text, timestamp=1, source="acme", description=text) for text in texts])
    assert normalize.check() == []
    assert [(one.type, one.severity, one.get("pattern"), one.get("classifier")) for one in batch] == [
        ("acme_melted", Severity.CRITICAL, "acme_melted", None),
        ("log", Severity.ERROR, None, "acme"),
        ("log", Severity.INFO, None, None),
    ]


def test_an_entry_point_without_distribution_is_called_unknown() -> None:
    """A hand-made entry point has nobody to name."""
    found = Registry.load([EntryPoint("x", "no_such_module_at_all", "tapio_otel")])
    assert str(found.problems[0]).startswith("plugin 'x' of distribution unknown: cannot be loaded")
