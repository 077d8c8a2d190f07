"""The CEL engine: its compiled part alone, loaded when the first condition is compiled.

The package `cel` imports a command line with a terminal toolkit (0.15 s and 12 MiB); its extension module needs neither.
"""

from __future__ import annotations

import logging
import re
import sys
from functools import cache
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import Any, Final, Protocol

LONGEST: Final = 4096
"""Characters of a condition. The engine recurses by the length of a chain of operators and has no limit of its own."""
LONGEST_WORDS: Final = 200
_CALLED: Final = re.compile(r"\AFunction '(?:re2_)?(\w+)' error: (?:Python function call failed: (?:ValueError: )?)?")
_UNDEFINED: Final = re.compile(
    r"Undefined variable or function: '(?P<name>\w+)'|function '(?P<called>\w+)': (?:TypeError|AttributeError): "
)


class Program(Protocol):
    """Be a compiled expression."""

    def execute(self, context: Any = None) -> Any:
        """Return the expression's value; raises whatever the engine meets."""

    def variables(self) -> list[str]:
        """Return the names that the expression refers to, those bound by macros among them."""

    def functions(self) -> list[str]:
        """Return the functions and operators that the expression calls."""


@cache
def engine() -> Any:
    """Return the engine's module, with `compile` and `Context`."""
    name = "cel.cel"
    if name in sys.modules:
        return sys.modules[name]
    # It logs every failure of a function it calls, for every event; who asks it is told by the error.
    logging.getLogger("cel").setLevel(logging.CRITICAL + 1)
    package = find_spec("cel")
    found = PathFinder.find_spec(name, package.submodule_search_locations) if package is not None else None
    if found is None or found.loader is None:
        return import_module("cel")
    module = module_from_spec(found)
    sys.modules[name] = module  # it cannot be loaded twice: who imports `cel` from now on gets this one
    found.loader.exec_module(module)
    return module


def is_failure(error: BaseException) -> bool:
    """Tell whether an error is the engine's own: its panics are no `Exception`."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def in_words(error: BaseException) -> str:
    """Return what the engine says on one line, without its general advice."""
    if isinstance(error, KeyError):
        return f"there is no {error.args[0]!r}"
    said = _CALLED.sub("function '\\1': ", " ".join(str(error).split()))
    match = _UNDEFINED.match(said)
    if match is not None:
        return f"function '{match['name'] or match['called']}' is not defined for such values"
    if said.startswith("No such overload"):
        return "the operation is not defined for values of these types"
    return said.partition(". Check function arguments")[0].removesuffix(".")[:LONGEST_WORDS] or type(error).__name__
