"""The files that normalize reads: a reload creates it anew when one of the user's pattern files has changed."""

from __future__ import annotations

from pathlib import Path

from tapio_otel.config.loader import load
from tapio_otel.processors.normalize import NormalizeConfig, NormalizeProcessor
from tapio_otel.registry import Registry
from tapio_otel.service.reload import parts, plan


def read(*patterns: str) -> list[Path]:
    """Return the files that are read for these entries."""
    return NormalizeProcessor.files_read(NormalizeConfig(patterns=list(patterns)))


def test_the_user_s_files_and_directories_count_and_nothing_else(tmp_path: Path) -> None:
    """Built-in patterns and those of plugins do not change while the agent runs; a path that is none is told elsewhere."""
    (tmp_path / "own").mkdir()
    for name in ("one.yaml", "own/two.yaml", "own/three.yaml"):
        (tmp_path / name).write_text("patterns: []\n")
    assert read("builtin", "plugins") == []
    assert read("builtin", str(tmp_path / "one.yaml")) == [tmp_path / "one.yaml"]
    own = tmp_path / "own"
    assert read(str(own)) == [own, own / "three.yaml", own / "two.yaml"]
    assert read("a\0b", "~nobody-at-all/x") == []


def test_a_changed_pattern_file_makes_normalize_another_one(tmp_path: Path) -> None:
    """So does one that comes into a directory; the other components stay."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "a.yaml").write_text("patterns: []\n")
    text = f"""
receivers: {{journald: }}
processors: {{normalize: {{patterns: [builtin, {own}]}}, dedup: }}
exporters: {{debug: }}
service: {{pipelines: {{logs: {{receivers: [journald], processors: [normalize, dedup], exporters: [debug]}}}}}}
"""
    registry = Registry.load()

    def now():
        return parts(load([("test.yaml", text)], [], registry), registry)

    first = now()
    assert plan(first, now()).start == ()
    (own / "a.yaml").write_text("patterns: []\n# changed\n")
    second = now()
    assert [str(slot.id) for slot in plan(first, second).start] == ["normalize"]
    (own / "b.yaml").write_text("patterns: []\n")
    assert [str(slot.id) for slot in plan(second, now()).start] == ["normalize"]
