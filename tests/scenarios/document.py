"""Write the figures of the corpus into docs/correlation-quality.md: `python -m tests.scenarios.document`."""

from __future__ import annotations

from pathlib import Path

from tapio_otel.cli.rule_evaluation import RuleEvaluation, evaluate_files
from tapio_otel.correlation.library import load_rules

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "correlation-quality.md"
BEGIN, END = "<!-- figures: begin -->\n", "\n<!-- figures: end -->"


def with_figures(text: str, evaluation: RuleEvaluation) -> str:
    """Return the document with what `tapio rules evaluate --format markdown` prints between its marks."""
    head, _, rest = text.partition(BEGIN)
    return head + BEGIN + evaluation.markdown() + END + rest.partition(END)[2]


if __name__ == "__main__":
    shipped = evaluate_files([str(HERE)], load_rules(("builtin",)))
    DOCUMENT.write_text(with_figures(DOCUMENT.read_text(), shipped))
