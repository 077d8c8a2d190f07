"""Count the log records in what the sink has kept, so that a fast run that loses entries is no result.

python -m bench.check FILE     prints the number of entries that the records stand for (a summary for the repeats it tells of, a
                               joined stack for its lines), the number of records and that of distinct log.record.uid
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from pathlib import Path

import zstandard
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

UID = "log.record.uid"
STANDS_FOR = ("tapio.dedup_count", "tapio.recombined")


def requests(file: Path) -> Iterator[ExportLogsServiceRequest]:
    """Yield the kept requests; they must be protobuf."""
    with file.open("rb") as stream:
        while head := stream.readline():
            encoding, _kind, length = head.split()
            content = stream.read(int(length))
            if encoding == b"gzip":
                content = gzip.decompress(content)
            elif encoding == b"zstd":
                content = zstandard.ZstdDecompressor().decompressobj().decompress(content)
            yield ExportLogsServiceRequest.FromString(content)


def main() -> None:
    """Print the counts."""
    entries, count, identities = 0, 0, set()
    for request in requests(Path(sys.argv[1])):
        for resource_logs in request.resource_logs:
            for scope_logs in resource_logs.scope_logs:
                for record in scope_logs.log_records:
                    values = {pair.key: pair.value for pair in record.attributes}
                    count += 1
                    identities.add(values[UID].string_value)
                    entries += next((values[key].int_value for key in STANDS_FOR if key in values), 1)
    print(entries, count, len(identities))


if __name__ == "__main__":
    main()
