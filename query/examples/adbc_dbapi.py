"""Asks SQL by Python's DB-API, with values bound to it, and takes the answer as rows or as Arrow.

pip install adbc-driver-flightsql pyarrow
Then, beside ./deploy/demo: python query/examples/adbc_dbapi.py
"""

import argparse
import os
from pathlib import Path

from adbc_driver_flightsql import DatabaseOptions, dbapi

parser = argparse.ArgumentParser()
parser.add_argument("--url", default="grpc://127.0.0.1:8815", help="grpc+tls://.. for TLS")
parser.add_argument("--ca", metavar="FILE", help="authorities (PEM) to trust")
arguments = parser.parse_args()
options = {}
if token := os.environ.get("SCREENLINE_TOKEN"):
    options[DatabaseOptions.AUTHORIZATION_HEADER.value] = f"Bearer {token}"
if arguments.ca:
    options[DatabaseOptions.TLS_ROOT_CERTS.value] = Path(arguments.ca).read_text()

with (
    dbapi.connect(arguments.url, options, autocommit=True) as connection,
    connection.cursor() as cursor,
):
    # Values are bound to ? (or $1, $2): never write them into the text.
    cursor.execute("SELECT id, kind FROM sensor WHERE kind = ? ORDER BY id LIMIT ?", ("loop", 3))
    for sensor, kind in cursor.fetchall():
        print(sensor, "is a", kind)

    # Arrow keeps the types: instants are nanoseconds in UTC.
    cursor.execute(
        "SELECT time, sensor, sum FROM rollup_5m WHERE metric = ? ORDER BY time DESC LIMIT 5",
        ("traffic.volume",),
    )
    table = cursor.fetch_arrow_table()
    print(table.schema)
    print(table.to_pylist())

    # A large answer comes batch by batch, and need not fit into memory.
    cursor.execute("SELECT sensor, value FROM reading")
    print(sum(batch.num_rows for batch in cursor.fetch_record_batch()), "readings")
