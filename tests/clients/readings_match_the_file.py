"""Reads the registers of a CSV file back over Flight SQL and Flight, and compares every bit.

usage: readings_match_the_file.py GRPC_URL CSV READINGS
CSV has the columns sensor, time, value, with repeats; READINGS is the number of all readings in the city.
"""

import csv
import sys
from datetime import datetime, timezone

import pyarrow as pa
import pyarrow.compute
import pyarrow.flight
from adbc_driver_flightsql import dbapi


def nanoseconds(text):
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    return int(moment.timestamp()) * 1_000_000_000


def check(condition, message):
    if not condition:
        sys.exit(message)


def rows(table):
    times = table.column("time").cast(pa.int64()).to_pylist()
    return sorted(zip(times, table.column("value").to_pylist()))


url, path, total = sys.argv[1], sys.argv[2], int(sys.argv[3])
expected = {}
with open(path, newline="") as file:
    for row in csv.DictReader(file):
        expected.setdefault(row["sensor"], {}).setdefault(nanoseconds(row["time"]), float(row["value"]))
check(len(expected) == 5, f"five registers expected in {path}, not {len(expected)}")

with dbapi.connect(url) as connection, connection.cursor() as cursor:
    for sensor, readings in expected.items():
        # A parameter makes it a prepared statement.
        cursor.execute("SELECT time, value FROM reading WHERE sensor = ? ORDER BY time", (sensor,))
        table = cursor.fetch_arrow_table()
        check(table.schema.field("time").type == pa.timestamp("ns", tz="UTC"), f"time is {table.schema.field('time').type}")
        found = rows(table)
        wanted = sorted(readings.items())
        check(found == wanted, f"{sensor}: {len(found)} readings, {len(wanted)} in the file, or other values")
        cursor.execute(f"SELECT count(*) AS n, max(value) AS top FROM reading WHERE sensor = '{sensor}'")
        check(cursor.fetchone() == (len(wanted), max(readings.values())), f"{sensor}: count or maximum differ")
    names = {row["table_name"] for schema in connection.adbc_get_objects(depth="tables").read_all().to_pylist()
             for db in schema["catalog_db_schemas"] or [] for row in db["db_schema_tables"] or []}
    check({"reading", "event", "rollup_5m", "rollup_1h", "rollup_1d", "ledger"} <= names, f"tables: {names}")

client = pyarrow.flight.connect(url.replace("grpc://", "grpc+tcp://", 1))
paths = {flight.descriptor.path[0].decode() for flight in client.list_flights() if flight.descriptor.path}
check("reading" in paths, f"flights: {paths}")
info = client.get_flight_info(pyarrow.flight.FlightDescriptor.for_path("reading"))
table = pa.concat_tables(client.do_get(endpoint.ticket).read_all() for endpoint in info.endpoints)
check(table.num_rows == total, f"{table.num_rows} readings by path, {total} in the city")
for sensor, readings in expected.items():
    mine = table.filter(pa.compute.equal(table.column("sensor"), sensor))
    check(rows(mine) == sorted(readings.items()), f"{sensor}: other readings by path")
print(f"{total} readings, five registers equal to the file")
