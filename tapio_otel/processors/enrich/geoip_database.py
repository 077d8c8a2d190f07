"""A MaxMind database (the MMDB format): opened, looked at for a newer file, and read.

The file is read through a private copy without a name: whoever writes over the original, instead of renaming a new one into
its place, would else end this process (a memory map of a file that becomes shorter is a bus error). The copy lies in the state
directory and takes as much of the disk as the original; in memory is only what is looked up.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

from tapio_otel.component import ComponentError
from tapio_otel.processors.enrich.geoip_addresses import Address

if TYPE_CHECKING:
    from maxminddb import Reader

Facts = dict[str, str | int | float]
"""What is known of an address, by names without what they are put below."""

_ORGANIZATION: Final = "autonomous_system_organization"
_PIECE: Final = 1 << 20
_PROBE: Final = "192.0.2.1"
REMEDY: Final = "write a whole file beside it and rename that into its place, as geoipupdate does"


class Signature(NamedTuple):
    """Tell one state of a file from another."""

    device: int
    inode: int
    size: int
    modified: int


class Database:
    """Hold one database file. `scratch` is the directory of its private copy."""

    def __init__(self, path: str, scratch: Path) -> None:
        self.path = path
        self._scratch = scratch
        self._reader: Reader | None = None
        self._seen: Signature | None = None
        self._opened: Signature | None = None

    def check(self) -> None:
        """Raise `ComponentError` unless the file is there and may be read."""
        path = Path(self.path)
        if not path.exists():
            raise ComponentError(
                f"geoip: there is no database {self.path!r}: download it (from MaxMind, for instance with geoipupdate), "
                "correct the path, or take it off `geoip.databases`"
            )
        if not path.is_file():
            raise ComponentError(f"geoip: {self.path!r} is no file: name the .mmdb file itself in `geoip.databases`")
        if not os.access(path, os.R_OK):
            raise ComponentError(f"geoip: {self.path!r} may not be read by this user: make it readable for uid {os.geteuid()}")

    def load(self) -> Reader | None:
        """Open the file if it is another one than before, for `take`; may run in another thread. None for the same one.

        Raises `ComponentError`, once for each state of a file that cannot be used, and while it is not there.
        """
        seen, self._seen = self._seen, None
        self._seen = found = self._signature()
        return None if found == seen else self._open(found)

    def take(self, reader: Reader) -> None:
        """Read from here on what `load` has opened, and let go of what was before."""
        self.close()
        self._reader, self._opened = reader, self._seen

    @property
    def is_current(self) -> bool:
        """Tell whether what is read is the file as it was when it was looked at last."""
        return self._reader is not None and self._seen == self._opened

    def close(self) -> None:
        """Let go of the file; safe at any time."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def get(self, address: Address) -> Any:
        """Return the record of an address, None without one; raises `ComponentError` where the file is broken."""
        if self._reader is None:
            return None
        from maxminddb import InvalidDatabaseError

        try:
            return self._reader.get(address)
        except InvalidDatabaseError as error:
            raise ComponentError(f"geoip: {self.path!r} is damaged ({error}): {REMEDY}") from error
        except ValueError:
            return None  # an IPv6 address in a database of IPv4 addresses

    def _signature(self) -> Signature:
        try:
            found = Path(self.path).stat()
        except OSError as error:
            self.check()
            raise ComponentError(
                f"geoip: cannot read {self.path!r}: {error.strerror}: check the path and its rights"
            ) from error
        return Signature(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)

    def _open(self, expected: Signature) -> Reader:
        from maxminddb import InvalidDatabaseError, open_database

        with self._copy() as copy:
            if self._signature() != expected:
                raise ComponentError(f"geoip: {self.path!r} was changed while it was read: {REMEDY}")
            try:
                reader = open_database(f"/proc/self/fd/{copy.fileno()}")
                reader.get(_PROBE)
            except (InvalidDatabaseError, ValueError, OSError) as error:
                raise ComponentError(f"geoip: {self.path!r} is no whole MaxMind database: {REMEDY}") from error
        return reader

    def _copy(self) -> IO[bytes]:
        try:
            self._scratch.mkdir(parents=True, exist_ok=True)
            copy = tempfile.TemporaryFile(dir=self._scratch)  # noqa: SIM115 - the caller's
        except OSError as error:
            raise ComponentError(
                f"geoip: cannot write in {str(self._scratch)!r}: {error.strerror}: check its rights"
            ) from error
        try:
            with Path(self.path).open("rb") as original:
                shutil.copyfileobj(original, copy, _PIECE)
            copy.flush()
        except OSError as error:
            copy.close()
            raise ComponentError(
                f"geoip: cannot copy {self.path!r} to {str(self._scratch)!r}: {error.strerror}: check rights and free space"
            ) from error
        return copy


def facts_of(record: Any, language: str) -> Facts:
    """Return what a record of a city, country or network database says, by the names of the semantic conventions.

    Networks have no names there; theirs are the Elastic Common Schema's, which the conventions take theirs from.
    """
    if not isinstance(record, Mapping):
        return {}
    city, country, traits = _part(record, "city"), _text(_part(record, "country"), "iso_code"), _part(record, "traits")
    place, region = _part(record, "location"), _region(record)
    number = record.get("autonomous_system_number", traits.get("autonomous_system_number"))
    names = _part(city, "names")
    found = {
        "geo.continent.code": _text(_part(record, "continent"), "code"),
        "geo.country.iso_code": country,
        "geo.region.iso_code": f"{country}-{region}" if country and region else "",
        "geo.locality.name": _text(names, language) or _text(names, "en"),
        "geo.postal_code": _text(_part(record, "postal"), "code"),
        "geo.location.lat": _degrees(place.get("latitude")),
        "geo.location.lon": _degrees(place.get("longitude")),
        "as.number": number if type(number) is int else None,
        "as.organization.name": _text(record, _ORGANIZATION) or _text(traits, _ORGANIZATION),
    }
    return {name: value for name, value in found.items() if value is not None and value != ""}


def _part(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = record.get(name)
    return found if isinstance(found, Mapping) else {}


def _text(record: Mapping[str, Any], name: str) -> str:
    found = record.get(name)
    return found if isinstance(found, str) else ""


def _degrees(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _region(record: Mapping[str, Any]) -> str:
    """Return the code of the largest subdivision, without the country's."""
    found = record.get("subdivisions")
    first = found[0] if isinstance(found, list) and found else None
    return _text(first, "iso_code") if isinstance(first, Mapping) else ""
