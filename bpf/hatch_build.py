"""The package's build hook: builds the BPF objects and ships them in the wheel.

Without clang the package is built all the same, and the agent uses its fallbacks; the build says so. Whoever names a compiler
by CLANG wants the objects: then it is an error.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OBJECTS = "tapio_otel/receivers/ebpf/objects"


def _builder(root: Path) -> ModuleType:
    """Return bpf/build.py, which is no installed module."""
    spec = importlib.util.spec_from_file_location("tapio_bpf_build", root / "bpf/build.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"{root / 'bpf/build.py'} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class BpfBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Build the objects into the package, for wheels and editable installs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Build what is not current, and have it shipped though git ignores it; a source distribution has the sources."""
        if self.target_name != "wheel":
            return
        root = Path(self.root)
        build_data["artifacts"].append(f"/{OBJECTS}/*.o")
        builder = _builder(root)
        try:
            builder.build(root / OBJECTS)
        except (builder.BuildError, OSError) as error:
            if os.environ.get("CLANG"):
                raise
            found = ", ".join(sorted(path.name for path in (root / OBJECTS).glob("*.o"))) or "none"
            self.app.display_warning(
                f"the BPF objects were not built ({error}); shipped are: {found}. "
                "Without them the ebpf receiver looks through /proc and cgroup files instead"
            )
