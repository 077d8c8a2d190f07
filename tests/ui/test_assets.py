"""The committed assets are what the committed sources make, and nothing in them reaches elsewhere."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from tapio_otel.ui import ASSETS
from tests.requirements import require

SOURCES = Path(__file__).parents[2] / "ui"
LEFT_OUT = {"node_modules", "package-lock.json", ".gitignore"}
LARGEST = 1024 * 1024


def hash_of_sources() -> str:
    """Hash names and contents of the sources, as ui/vite.config.ts does when it builds."""
    require("docs", SOURCES.is_dir(), f"{SOURCES} is not there")
    files = [path.relative_to(SOURCES) for path in SOURCES.rglob("*") if path.is_file()]
    digest = hashlib.sha256()
    for path in sorted((one for one in files if one.parts[0] not in LEFT_OUT), key=lambda one: one.as_posix()):
        digest.update(f"{path.as_posix()}\0".encode() + (SOURCES / path).read_bytes() + b"\0")
    return digest.hexdigest()


def built() -> dict[str, dict[str, str]]:
    """Return what the build recorded."""
    content: dict[str, dict[str, str]] = json.loads((ASSETS / "build.json").read_text("utf-8"))
    return content


def test_the_assets_were_built_from_the_sources() -> None:
    """Who changes a source has to run `make ui` before committing."""
    assert built()["sources"] == hash_of_sources(), "ui/ was changed since the page was built: run make ui"


def test_the_assets_are_as_they_were_built() -> None:
    """Nobody changed what was built by hand, and nothing else lies beside it."""
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in ASSETS.iterdir() if path.name != "build.json"}
    assert found == built()["assets"]


def test_the_document_has_no_script_or_style_of_its_own() -> None:
    """The content security policy allows only files of the agent itself."""
    document = (ASSETS / "index.html").read_text("utf-8")
    assert re.findall(r"<script(?![^>]* src=)[^>]*>", document) == []
    assert "<style" not in document
    assert " style=" not in document
    assert not re.search(r"(src|href)=\"(https?:)?//", document)


def test_the_script_is_of_bearable_size_and_evaluates_nothing() -> None:
    """Less than a mebibyte, without eval or new Function, which the policy refuses."""
    script = (ASSETS / "app.js").read_text("utf-8")
    assert len(script.encode()) < LARGEST
    assert not re.search(r"\beval\(|new Function\(", script)


def test_the_licences_of_what_is_bundled_come_with_it() -> None:
    """Apache ECharts and ZRender ask for their notices to be passed on."""
    text = (ASSETS / "LICENSES.txt").read_text("utf-8")
    assert "Apache ECharts" in text
    assert "BSD 3-Clause" in text or "Redistribution and use in source and binary forms" in text


def test_no_dependency_of_the_page_is_left_open() -> None:
    """Exact versions, and no lock file that names a registry."""
    require("docs", SOURCES.is_dir(), f"{SOURCES} is not there")
    package = json.loads((SOURCES / "package.json").read_text("utf-8"))
    versions = {**package["dependencies"], **package["devDependencies"]}
    assert [name for name, version in versions.items() if not re.fullmatch(r"\d+\.\d+\.\d+", version)] == []
