"""`file_storage`: its options, its directory, and who gets which file."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tapio_otel.component import ComponentError, ComponentId, Kind
from tapio_otel.extensions import file_storage
from tapio_otel.extensions.file_storage import FileStorageConfig, FileStorageExtension, file_name
from tests.components import context
from tests.storage.files import LOG, fill, make_file, rows, small_disk

COLLECTOR_BLOCK = """
directory: /var/lib/otelcol/mydir
create_directory: true
directory_permissions: "0700"
timeout: 1s
fsync: true
recreate: false
compaction:
  on_start: true
  on_rebound: true
  directory: /tmp/
  rebound_needed_threshold_mib: 100
  rebound_trigger_threshold_mib: 10
  max_transaction_size: 65_536
  check_interval: 5s
  cleanup_on_start: true
"""


def extension(state_dir: Path = Path("/nonexistent"), **options) -> FileStorageExtension:
    """Return an extension, not started."""
    return FileStorageExtension(context(Kind.EXTENSION, "file_storage", state_dir=state_dir), FileStorageConfig(**options))


def store(of: FileStorageExtension, id: str = "otlp"):
    """Return the store of an exporter."""
    return of.request_store(Kind.EXPORTER, ComponentId.parse(id), LOG, lambda _problem: None)


def test_a_block_of_a_collector_configuration_is_valid():
    """Every option is known by its name and form."""
    config = FileStorageConfig(**yaml.safe_load(COLLECTOR_BLOCK))
    assert (config.directory, config.timeout, config.fsync) == (Path("/var/lib/otelcol/mydir"), 1.0, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"directory": ""}, "expected the path of a directory"),
        ({"directory": "a\0b"}, "expected the path of a directory"),
        ({"directory_permissions": "0999"}, "expected an octal mode such as 0750"),
        ({"directory_permissions": "7777"}, "expected an octal mode such as 0750"),
        ({"max_bytes": "1KiB"}, "greater than or equal to 1048576"),
        ({"compaction": {"unknown": 1}}, "unknown"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, words):
    """The message says what is expected."""
    with pytest.raises(ValidationError, match=words):
        FileStorageConfig(**options)


async def test_the_directory_is_made_in_the_state_directory_with_its_mode(tmp_path):
    """Nothing is made before the start."""
    one = extension(tmp_path / "state", directory_permissions="0710")
    assert list(tmp_path.iterdir()) == []
    await one.start()
    assert stat.S_IMODE((tmp_path / "state" / "queues").stat().st_mode) == 0o710 & ~_umask()
    await one.shutdown()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("make", [False, True])
async def test_a_directory_that_cannot_be_used_is_refused(tmp_path, make):
    """The error says which, why, and what to do."""
    (tmp_path / "file").touch()
    one = extension(directory=tmp_path / ("file/below" if make else "missing"), create_directory=make)
    reason = "Not a directory" if make else "No such file or directory"
    with pytest.raises(ComponentError, match=rf"directory: cannot use '{tmp_path}/.*': {reason}\. Set directory to one"):
        await one.start()
    await one.shutdown()


async def test_two_extensions_cannot_share_a_directory(tmp_path):
    """The second is refused, until the first lets go."""
    first, second = extension(directory=tmp_path), extension(directory=tmp_path, timeout=0)
    await first.start()
    with pytest.raises(ComponentError, match="another file_storage extension of this agent uses"):
        await second.start()
    await first.shutdown()
    await second.start()
    await second.shutdown()


async def test_it_starts_on_a_full_disk(tmp_path):
    """The queue waits for room, not the agent."""
    with small_disk(tmp_path / "disk") as disk:
        fill(disk)
        one = extension(directory=disk)
        await one.start()
        await one.shutdown()


async def test_a_store_belongs_to_one_at_a_time(tmp_path):
    """As when an exporter is exchanged while the one before still writes."""
    one = extension(directory=tmp_path)
    with pytest.raises(ComponentError, match="was asked for a queue before it was started"):
        store(one)
    await one.start()
    first = store(one)
    await first.open()
    with pytest.raises(ComponentError, match=r"the queue 'exporters\.otlp\.db' is still in use"):
        store(one)
    await first.close()
    assert store(one).max_bytes == one.config.max_bytes
    await one.shutdown()


async def test_queues_that_belong_to_nobody_are_named(tmp_path, monkeypatch, caplog):
    """An exporter was renamed: its events would wait for ever. Queues without content are passed over."""
    monkeypatch.setattr(file_storage, "UNCLAIMED_SECONDS", 0)
    make_file(tmp_path / "exporters.otlp.old.db", rows(100))
    make_file(tmp_path / "exporters.otlp.empty.db", [])
    make_file(tmp_path / "exporters.otlp.db", rows(100))
    caplog.set_level(logging.WARNING)
    one = extension(directory=tmp_path)
    await one.start()
    claimed = store(one)
    one._name_unclaimed()
    assert "exporters.otlp.old.db belongs to no exporter of this configuration" in caplog.text
    assert "otlp.empty" not in caplog.text
    assert "otlp.db" not in caplog.text
    await claimed.close()
    await one.shutdown()


IDS = st.builds(
    ComponentId,
    st.sampled_from(["otlp", "otlphttp", "otlp_http"]),
    st.text(st.characters(exclude_characters="/", exclude_categories=["Z", "C"])),
)


@given(IDS, IDS)
def test_no_two_components_have_the_same_file(first, second):
    """Names are plain and short, whatever the id, and of their own."""
    names = {file_name(Kind.EXPORTER, one) for one in (first, second)}
    assert len(names) == len({first, second})
    for name in names:
        assert len(name) <= 255
        assert name.isascii()
        assert not set(name) & set("/ \n\0*?[")


def test_the_usual_names_are_readable():
    """A user finds the file of an exporter."""
    assert file_name(Kind.EXPORTER, ComponentId("otlp")) == "exporters.otlp.db"
    assert file_name(Kind.EXPORTER, ComponentId("otlphttp", "blue-1")) == "exporters.otlphttp.blue-1.db"
    assert len(file_name(Kind.EXPORTER, ComponentId("otlp", "x" * 1000))) < 255
