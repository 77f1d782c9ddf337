"""Compares DBN files, two by two, record by record and field by field, with Databento's own package."""

import functools
import sys
from pathlib import Path

import databento_dbn as dbn

LEVEL_FIELDS = ("bid_px", "ask_px", "bid_sz", "ask_sz", "bid_ct", "ask_ct")


def records(path):
    """The records of a file, without its metadata."""
    compression = dbn.Compression.ZSTD if path.suffix == ".zst" else dbn.Compression.NONE
    decoder = dbn.DBNDecoder(compression=compression, upgrade_policy=dbn.VersionUpgradePolicy.AS_IS)
    decoder.write(path.read_bytes())
    return [record for record in decoder.decode() if not isinstance(record, dbn.Metadata)]


@functools.cache
def names(kind):
    """The fields of a type of record; what is only another view of one begins with `pretty`."""
    named = [name for name in dir(kind) if not name.startswith(("_", "pretty"))]
    return [name for name in named if not callable(getattr(kind, name))]


def fields(record):
    """Every field of a record by name; levels as tuples."""
    found = {name: getattr(record, name) for name in names(type(record))}
    if "levels" in found:
        found["levels"] = [tuple(getattr(level, name) for name in LEVEL_FIELDS) for level in found["levels"]]
    return found


def main(paths):
    for expected_path, found_path in zip(paths[::2], paths[1::2]):
        expected, found = records(expected_path), records(found_path)
        if len(expected) != len(found):
            sys.exit(f"{expected_path.name}: {len(expected)} records, {len(found)} exported")
        for number, pair in enumerate(zip(expected, found)):
            one, other = map(fields, pair)
            if one != other or "ts_recv" not in one:
                sys.exit(f"{expected_path.name}: record {number}: {one} became {other}")
        print(f"{expected_path.name}: {len(expected)} records equal")


main([Path(path) for path in sys.argv[1:]])
