"""Reads tables by Arrow Flight: lists them, takes one by a ticket in JSON, and asks SQL.

pip install pyarrow
Then, beside ./deploy/demo: python query/examples/pyarrow_flight.py
"""

import argparse
import json
import os
from pathlib import Path

import pyarrow.flight as flight

parser = argparse.ArgumentParser()
parser.add_argument("--url", default="grpc://127.0.0.1:8815", help="grpc+tls://.. for TLS")
parser.add_argument("--ca", metavar="FILE", help="authorities (PEM) to trust")
arguments = parser.parse_args()
ca = Path(arguments.ca).read_bytes() if arguments.ca else None
token = os.environ.get("SCREENLINE_TOKEN")
headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
options = flight.FlightCallOptions(timeout=60, headers=headers)

with flight.FlightClient(arguments.url, tls_root_certs=ca) as client:
    print(
        "tables:",
        *(info.descriptor.path[0].decode() for info in client.list_flights(options=options)),
    )

    # A ticket names a table and what of it: `from` is included, `to` is not.
    wanted = {
        "dataset": "reading",
        "from": "2000-01-01T00:00:00Z",
        "metric": ["traffic.volume"],
        "columns": ["time", "sensor", "value"],
        "limit": 5,
    }
    table = client.do_get(flight.Ticket(json.dumps(wanted).encode()), options).read_all()
    print(table.to_pylist())

    # By path: the info says the schema before a row is read, and cancels by `CancelFlightInfo`.
    info = client.get_flight_info(flight.FlightDescriptor.for_path("sensor"), options)
    print("a sensor has", *info.schema.names)
    rows = sum(chunk.data.num_rows for chunk in client.do_get(info.endpoints[0].ticket, options))
    print(rows, "sensors")

    # SQL is a ticket, too.
    sql = "SELECT metric, count(*) AS n, max(time) AS last FROM reading GROUP BY metric"
    for row in client.do_get(flight.Ticket(sql.encode()), options).read_all().to_pylist():
        print(f"{row['n']:>8} of {row['metric']}, the last at {row['last']}")
