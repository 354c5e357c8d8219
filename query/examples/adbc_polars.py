"""Reads SQL into a polars DataFrame over ADBC.

pip install adbc-driver-flightsql polars pyarrow
Then, beside ./deploy/demo: python query/examples/adbc_polars.py
"""

import argparse
import os
from pathlib import Path

import polars as pl
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

with dbapi.connect(arguments.url, options, autocommit=True) as connection:
    # Group at the server: what travels is small.
    hours = pl.read_database(
        """
        SELECT date_bin(INTERVAL '1 hour', time) AS hour, sensor, sum(value) AS vehicles
        FROM reading
        WHERE metric = ?
        GROUP BY 1, 2
        """,
        connection,
        execute_options={"parameters": ("traffic.volume",)},
    )
    print(hours.pivot("sensor", index="hour", values="vehicles").sort("hour"))

    # Any answer of Arrow is a DataFrame without a copy.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sensor, metric, avg(value) AS mean FROM reading GROUP BY sensor, metric"
        )
        print(pl.from_arrow(cursor.fetch_arrow_table()).top_k(5, by="mean"))
