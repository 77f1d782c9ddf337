"""Compares exports to CSV and to Parquet, two by two, cell by cell, by pyarrow; then has pandas open the latter."""

import csv
import decimal
import json
import sys
from pathlib import Path

import pandas
import pyarrow
import pyarrow.parquet

TYPES = {
    "first_seq": pyarrow.uint64(),
    "last_seq": pyarrow.uint64(),
    "order_id": pyarrow.uint64(),
    "trade_id": pyarrow.uint64(),
    "ts_ns": pyarrow.timestamp("ns", tz="UTC"),
    "sent_ns": pyarrow.timestamp("ns", tz="UTC"),
    "start_ns": pyarrow.timestamp("ns", tz="UTC"),
    "snapshot": pyarrow.bool_(),
    "more": pyarrow.bool_(),
    "complete": pyarrow.bool_(),
    "symbol": pyarrow.string(),
    "side": pyarrow.string(),
    "aggressor": pyarrow.string(),
    "action": pyarrow.string(),
    "period": pyarrow.string(),
    "status": pyarrow.string(),
}


def parsed(name):
    """What the text of a cell says; what is not of these types is a decimal."""
    kind = TYPES.get(name)
    if kind is None:
        return decimal.Decimal
    if pyarrow.types.is_boolean(kind):
        return {"true": True, "false": False}.__getitem__
    return str if kind == pyarrow.string() else int


def cells(column):
    """The values of a column, times as nanoseconds."""
    is_time = pyarrow.types.is_timestamp(column.type)
    return (column.cast(pyarrow.int64()) if is_time else column).to_pylist()


def compare(csv_path, path):
    with csv_path.open(newline="") as file:
        names, *rows = csv.reader(file)
    file = pyarrow.parquet.ParquetFile(path)
    table = file.read()
    if table.column_names != names or table.num_rows != len(rows):
        sys.exit(f"{path.name}: {table.num_rows} rows of {table.column_names}; CSV: {len(rows)} of {names}")
    for place, name in enumerate(names):
        column = table.column(name)
        if column.type != TYPES.get(name) and not pyarrow.types.is_decimal(column.type):
            sys.exit(f"{path.name}: column {name} is {column.type}")
        parse = parsed(name)
        expected = [parse(row[place]) if row[place] else None for row in rows]
        if cells(column) != expected:
            sys.exit(f"{path.name}: column {name} differs")
    metadata = {key.decode(): value.decode() for key, value in file.schema_arrow.metadata.items()}
    symbols = {entry["symbol"] for entry in json.loads(metadata["tickcast.instruments"])["instruments"]}
    if metadata["tickcast.channel"] != path.stem or not symbols.issuperset(table.column("symbol").to_pylist()):
        sys.exit(f"{path.name}: its metadata is {metadata}")
    for group in range(file.num_row_groups):
        texts = file.metadata.row_group(group).column(0)
        if texts.compression != "ZSTD" or "RLE_DICTIONARY" not in texts.encodings:
            sys.exit(f"{path.name}: {texts}")

    # As docs/export.md opens it.
    frame = pandas.read_parquet(path, dtype_backend="pyarrow")
    if frame.shape != (len(rows), len(names)) or (rows and frame.ts_ns.astype("int64")[0] != int(rows[0][3])):
        sys.exit(f"{path.name}: in pandas {frame.dtypes}")
    print(f"{path.name}: {len(rows)} rows equal")


paths = [Path(path) for path in sys.argv[1:]]
for pair in zip(paths[::2], paths[1::2]):
    compare(*pair)
