"""What several parts of a component report does not hide one another."""

from __future__ import annotations

from tapio_otel.notices import Problems


def test_the_end_of_one_problem_leaves_the_other() -> None:
    """A backend that is back says nothing about the disk, and the other way round."""
    reports: list[str | None] = []
    problems = Problems(reports.append)
    disk, server = problems.of("disk"), problems.of("server")
    disk("the disk is full")
    server("refused")
    server(None)
    server("refused again")
    disk(None)
    server(None)
    assert reports == [
        "the disk is full",
        "the disk is full; refused",
        "the disk is full",
        "the disk is full; refused again",
        "refused again",
        None,
    ]
