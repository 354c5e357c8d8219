"""SQLAlchemy 1.4 by flightsql-dbapi, as Superset uses it: reflection, queries and bound values."""

import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from harness import Server, check, refused, run

if importlib.util.find_spec("flightsql") is None:
    print("SKIPPED: flightsql-dbapi needs SQLAlchemy 1.4, which this Python has no wheel for")
    sys.exit()

from sqlalchemy import MetaData, Table, create_engine, func, inspect, select, text, types
from sqlalchemy.engine import Engine
from sqlalchemy.exc import NoSuchTableError


@contextmanager
def engine(server: Server, prepared: bool = False) -> Iterator[Engine]:
    query = [] if server.tls else ["insecure=True"]
    user = ""
    if server.token:
        query.append("token=" + quote(server.token, safe=""))
    elif server.basic:
        user = ":".join(quote(part, safe="") for part in server.basic) + "@"
    if prepared:
        query.append("feature-sqlalchemy-prepared-statements=on")
    query.append("feature-sqlalchemy-primary-keys=on")
    # The dialect has no option for authorities of our own; gRPC reads this when it connects.
    if server.ca:
        with tempfile.NamedTemporaryFile(delete=False) as file:
            file.write(server.ca)
        os.environ["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = file.name
    # By this name without importing the dialect before, as Superset does not.
    url = f"datafusion://{user}{server.authority}?{'&'.join(query)}"
    # Values as literals would be compiled once, and the first of them served to everybody.
    made = create_engine(url, query_cache_size=0)
    try:
        yield made
    finally:
        made.dispose()


@check
def tables_and_schemas_are_reflected(server: Server) -> None:
    with engine(server) as made:
        inspector = inspect(made)
        assert inspector.get_schema_names() == ["public"]
        names = set(inspector.get_table_names(schema="public"))
        assert {"reading", "event", "rollup_1h", "sensor"} <= names, names
        assert inspector.has_table("reading", schema="public")
        assert not inspector.has_table("readings", schema="public")


@check
def columns_have_their_types_and_may_be_null(server: Server) -> None:
    with engine(server) as made:
        columns = inspect(made).get_columns("reading", schema="public")
        kinds = {column["name"]: column["type"] for column in columns}
        wanted = {
            "time": types.TIMESTAMP,
            "sensor": types.TEXT,
            "value": types.FLOAT,
            "quality": types.INTEGER,
        }
        assert all(isinstance(kinds[name], kind) for name, kind in wanted.items()), kinds
        assert all(column["nullable"] for column in columns)


@check
def a_key_is_reflected(server: Server) -> None:
    with engine(server) as made:
        key = inspect(made).get_pk_constraint("reading", schema="public")
        assert key["constrained_columns"] == ["time", "sensor", "metric"], key


@check
def a_reflected_table_is_queried(server: Server) -> None:
    with engine(server) as made, made.connect() as connection:
        reading = Table("reading", MetaData(), autoload_with=made)
        rows = connection.execute(
            select(reading.c.metric, func.count().label("n"), func.max(reading.c.time))
            .where(reading.c.value >= 0)
            .group_by(reading.c.metric)
            .order_by(reading.c.metric)
        ).fetchall()
        assert rows and all(0 < row.n for row in rows), rows


@check
def values_are_bound_as_literals_and_as_parameters(server: Server) -> None:
    for prepared in [False, True]:
        with engine(server, prepared) as made, made.connect() as connection:
            known = connection.execute(text("SELECT sensor FROM reading LIMIT 1")).scalar()
            asked = text("SELECT count(*) FROM reading WHERE sensor = :sensor AND value >= :least")
            for sensor, found in [(known, True), ("x' OR 'a' = 'a", False), (known, True)]:
                bound = asked.bindparams(sensor=sensor, least=-1e300)
                count = connection.execute(bound).scalar()
                assert (0 < count) == found, f"{sensor}: {count}, prepared: {prepared}"


@check
def every_type_that_the_dialect_sends_is_taken_as_a_parameter(server: Server) -> None:
    # Each value comes in a dense union of five types.
    with engine(server, prepared=True) as made:
        connection = made.raw_connection()
        for value in [7, 2.5, "text", True, b"\x00\xff"]:
            cursor = connection.cursor()
            cursor.execute("SELECT ? AS a, ? AS b", (value, "b"))
            assert cursor.fetchall() == [[value, "b"]], value


@check
def what_superset_asks_first_is_answered(server: Server) -> None:
    with engine(server) as made, made.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1
        superset = "SELECT date_trunc('hour', time) AS __timestamp, avg(value) AS mean"
        table = 'FROM "public"."reading"'
        bounds = (
            "WHERE time >= '2000-01-01 00:00:00.000000' AND time < '2100-01-01 00:00:00.000000'"
        )
        rows = connection.execute(
            text(f"{superset} {table} {bounds} GROUP BY 1 ORDER BY 1 LIMIT 5")
        ).fetchall()
        assert rows and rows[0][1] is not None, rows
        assert made.dialect.identifier_preparer.initial_quote == '"'


@check
def a_table_that_is_not_there_is_an_error(server: Server) -> None:
    with engine(server) as made, made.connect() as connection:
        refused(Exception, "readings", lambda: connection.execute(text("SELECT * FROM readings")))
        # The dialect itself fails on the empty answer.
        refused((IndexError, NoSuchTableError), "", lambda: inspect(made).get_columns("readings"))


if __name__ == "__main__":
    run(__doc__)
