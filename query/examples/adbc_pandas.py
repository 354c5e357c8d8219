"""Reads SQL and whole tables into pandas over ADBC.

pip install adbc-driver-flightsql pandas pyarrow
Then, beside ./deploy/demo: python query/examples/adbc_pandas.py
"""

import argparse
import os
from pathlib import Path

import pandas as pd
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
    sensors = pd.read_sql_table("sensor", connection)
    print(sensors.groupby("kind").size())

    # With pyarrow's types a null stays a null: an integer does not become a float.
    readings = pd.read_sql(
        "SELECT time, sensor, value FROM reading WHERE metric = 'traffic.volume' ORDER BY time",
        connection,
        dtype_backend="pyarrow",
    )
    print(readings.dtypes)
    print(readings.groupby("sensor")["value"].describe().head())

    # `params` is not there over ADBC; the cursor binds values.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT time, value FROM reading WHERE sensor = ? ORDER BY time",
            (readings["sensor"][0],),
        )
        print(cursor.fetch_df().set_index("time")["value"].resample("1h").mean())
