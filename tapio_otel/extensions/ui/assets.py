"""The page's files, as they come with the package: read once, and known by their names, so that no path leads elsewhere."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import tapio_otel

DIRECTORY: Final = Path(tapio_otel.__file__).parent / "ui" / "assets"
INDEX: Final = "index.html"
TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}
"""What may be served, and as what."""
MISSING: Final = (
    "The page is not part of this installation: its files are missing from the package. The API under /api/v1 works all the "
    "same; install a released wheel, or build the page as docs/page.md says."
)


@dataclass(frozen=True, slots=True)
class Asset:
    """Hold one file."""

    content: bytes
    compressed: bytes
    type: str
    etag: str


def load_assets(directory: Path = DIRECTORY) -> dict[str, Asset]:
    """Return the files by their paths below the directory; empty where it is missing. Blocks."""
    if not (directory / INDEX).is_file():
        return {}
    found = (path for path in sorted(directory.rglob("*")) if path.suffix in TYPES and path.is_file())
    return {path.relative_to(directory).as_posix(): _asset(path) for path in found}


def _asset(path: Path) -> Asset:
    content = path.read_bytes()
    return Asset(
        content, gzip.compress(content, 6, mtime=0), TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    )
