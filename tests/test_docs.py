"""The documentation says what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tapio_otel.hookspecs import Hooks
from tapio_otel.registry import Registry

CHECKOUT = Path(__file__).parents[1]
README = (CHECKOUT / "README.md").read_text("utf-8")
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")
DOCUMENTS = sorted([*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md")])
TODO = re.compile(r"\bTODO\b")


def test_the_generated_reference_is_current():
    """docs/reference/ is what scripts/reference.py makes of the code."""
    done = subprocess.run(
        [sys.executable, "scripts/reference.py", "--check"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_reference_does_not_depend_on_the_terminal(monkeypatch):
    """A narrow terminal and another language give the same pages."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LANG", "C")
    test_the_generated_reference_is_current()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_links_lead_somewhere(document):
    """Every relative link names a file of the checkout."""
    wrong = [target for target in LINK.findall(document.read_text("utf-8")) if not (document.parent / target).exists()]
    assert wrong == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_no_document_is_unfinished(document):
    """No note to the authors is left in what users read."""
    assert not TODO.search(document.read_text("utf-8"))


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make ([a-z-]+)", README))))
def test_a_target_named_in_the_readme_exists(target):
    """What the README tells to make can be made."""
    assert re.search(rf"^{target}:", (CHECKOUT / "Makefile").read_text("utf-8"), re.MULTILINE)


def test_every_hook_is_named_in_the_readme():
    """A plugin author finds every hook there is."""
    hooks = [name for name in vars(Hooks) if name.startswith("tapio_")]
    assert [hook for hook in hooks if f"`{hook}`" not in README] == []


def test_the_example_plugin_in_the_readme_works(tmp_path, monkeypatch):
    """The README's plugin registers a receiver whose events are what the text says."""
    (code,) = [block for block in PYTHON_BLOCK.findall(README) if "hookimpl" in block]
    (tmp_path / "readme_example.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    import readme_example

    registry = Registry()
    registry.add(readme_example, "readme_example", "readme 1.0")
    registry.collect()
    assert registry.problems == []
    (registered,) = registry.registrations()
    assert registered.component.type == "load_average"


async def test_the_example_plugin_in_the_readme_emits_events(tmp_path, monkeypatch):
    """Its receiver, run for a moment, hands over an event of its own type."""
    (code,) = [block for block in PYTHON_BLOCK.findall(README) if "hookimpl" in block]
    (tmp_path / "readme_running.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    import readme_running

    class Enough(Exception):
        pass

    class Collecting:
        checkpoint = None

        def __init__(self):
            self.events = []

        async def emit(self, events, checkpoint=None):
            self.events += events
            raise Enough

        def progress(self, done, total):
            raise NotImplementedError

    output = Collecting()
    receiver = readme_running.LoadAverageReceiver(None, readme_running.LoadAverageConfig())
    with pytest.raises(Enough):
        await receiver.run(output)
    assert [(event.source, event.type) for event in output.events] == [("load_average", "load_average")]
