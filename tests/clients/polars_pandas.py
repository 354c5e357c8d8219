"""Notebooks: polars and pandas read over ADBC, with the types that the tables have."""

from datetime import datetime, timezone

import pandas as pd
import polars as pl

from harness import Server, check, run

SQL = """
    SELECT time, sensor, metric, value, quality
    FROM reading ORDER BY time, sensor, metric LIMIT 1000
"""


@check
def polars_reads_a_query_with_its_types(server: Server) -> None:
    with server.adbc() as connection:
        frame = pl.read_database(SQL, connection)
    assert frame.height == 1000
    assert frame.schema == {
        "time": pl.Datetime("ns", "UTC"),
        "sensor": pl.String,
        "metric": pl.String,
        "value": pl.Float64,
        "quality": pl.Int32,
    }, frame.schema


@check
def polars_binds_values(server: Server) -> None:
    with server.adbc() as connection:
        options = {"parameters": ("traffic.volume",)}
        text = "SELECT sensor, value FROM reading WHERE metric = ?"
        frame = pl.read_database(text, connection, execute_options=options)
        everything = pl.read_database("SELECT metric FROM reading", connection)
    assert 0 < frame.height == everything.filter(metric="traffic.volume").height


@check
def pandas_reads_a_query_with_its_types(server: Server) -> None:
    with server.adbc() as connection:
        frame = pd.read_sql(SQL, connection)
    assert len(frame) == 1000
    kind = frame["time"].dtype
    assert (
        kind.tz is not None and kind.unit == "ns" and frame["value"].dtype == "float64"
    ), frame.dtypes


@check
def pandas_reads_arrow_types(server: Server) -> None:
    with server.adbc() as connection:
        frame = pd.read_sql(SQL, connection, dtype_backend="pyarrow")
    assert str(frame["time"].dtype) == "timestamp[ns, tz=UTC][pyarrow]", frame.dtypes
    assert str(frame["quality"].dtype) == "int32[pyarrow]", frame.dtypes


@check
def pandas_binds_values(server: Server) -> None:
    # Its own `params` is not there for ADBC; the cursor's is.
    with server.adbc() as connection, connection.cursor() as cursor:
        since = datetime(2000, 1, 1, tzinfo=timezone.utc)
        cursor.execute(
            "SELECT count(*) AS n FROM reading WHERE time > ? AND quality >= ?", (since, 0)
        )
        assert 0 < cursor.fetch_df()["n"][0]


@check
def pandas_reads_a_whole_table(server: Server) -> None:
    with server.adbc() as connection:
        frame = pd.read_sql_table("sensor", connection)
    assert 0 < len(frame) and "valid_from" in frame.columns


@check
def both_read_the_same_and_an_empty_answer_keeps_its_columns(server: Server) -> None:
    with server.adbc() as connection:
        one, two = pl.read_database(SQL, connection), pd.read_sql(SQL, connection)
        assert one["value"].to_list() == two["value"].to_list()
        empty = "SELECT time, value FROM reading WHERE sensor = 'nobody'"
        assert pl.read_database(empty, connection).columns == ["time", "value"]
        assert list(pd.read_sql(empty, connection).columns) == ["time", "value"]


if __name__ == "__main__":
    run(__doc__)
