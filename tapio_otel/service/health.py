"""Health: what is wrong with which component at this moment."""

from __future__ import annotations


class Health:
    """Keep the latest problem of every component that has one."""

    def __init__(self) -> None:
        self.problems: dict[str, str] = {}

    def report(self, component: str, problem: str | None) -> None:
        """Note a problem, or with None that the component is well again."""
        if problem is None:
            self.problems.pop(component, None)
        else:
            self.problems[component] = problem

    @property
    def well(self) -> bool:
        """Tell whether no component has a problem."""
        return not self.problems
