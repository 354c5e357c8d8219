"""Flight SQL by ADBC: statements, parameters, the catalogue, cancellation and large answers."""

import threading
import time
from datetime import datetime, timezone

import pyarrow as pa
from adbc_driver_flightsql import DatabaseOptions, dbapi
from adbc_driver_manager import AdbcStatusCode

from harness import PATIENCE_S, Server, Skipped, check, refused, run

INSTANT = pa.timestamp("ns", tz="UTC")
TABLES = {"reading", "event", "rollup_5m", "rollup_1h", "rollup_1d", "ledger", "sensor", "series"}


@check
def a_statement_is_answered_as_rows_and_as_arrow(server: Server) -> None:
    with server.adbc() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) AS n, min(time) AS first FROM reading")
        ((count, first),) = cursor.fetchall()
        assert 0 < count and first.tzinfo is not None
        assert [column[0] for column in cursor.description] == ["n", "first"]
        cursor.execute("SELECT time, sensor, value FROM reading LIMIT 10")
        table = cursor.fetch_arrow_table()
        assert table.num_rows == 10
        assert table.schema.types == [INSTANT, pa.utf8(), pa.float64()], table.schema


@check
def parameters_of_every_type_come_back_as_they_were_bound(server: Server) -> None:
    instant = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=timezone.utc)
    for value in [
        7,
        -(2**63),
        2.5,
        float("inf"),
        "wörd ' ? $1",
        "",
        True,
        None,
        instant,
        b"\x00\xff",
    ]:
        with server.adbc() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT ? AS a, ? AS b", (value, 1))
            assert cursor.fetchone() == (value, 1), value


@check
def parameters_select_rows(server: Server) -> None:
    with server.adbc() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT time, sensor, metric, value, quality FROM reading LIMIT 1")
        time, sensor, metric, value, quality = cursor.fetchone()
        for clause, values in [
            ("sensor = ? AND metric = ? AND time = ?", (sensor, metric, time)),
            ("sensor = $1 AND metric = $2 AND time BETWEEN $3 AND $3", (sensor, metric, time)),
            ("value = ? AND time = ? AND sensor = ?", (value, time, sensor)),
            ("quality = ? AND sensor IN (?, ?) AND time = ?", (quality, sensor, "nobody", time)),
        ]:
            cursor.execute(f"SELECT value FROM reading WHERE {clause}", values)
            assert (value,) in cursor.fetchall(), clause
        cursor.execute("SELECT count(*) FROM reading WHERE sensor = ?", ("' OR 1 = 1 --",))
        assert cursor.fetchone() == (0,), "a value is never read as SQL"
        cursor.execute("SELECT count(*) FROM reading WHERE sensor = ?", (None,))
        assert cursor.fetchone() == (0,), "nothing equals null"


@check
def a_question_mark_in_a_text_or_comment_is_no_parameter(server: Server) -> None:
    with server.adbc() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT '?' AS \"a?\", ? AS b -- ?\n /* ? */", (3,))
        assert cursor.fetchone() == ("?", 3)


@check
def a_prepared_statement_is_used_again_with_other_values(server: Server) -> None:
    with server.adbc() as connection, connection.cursor() as cursor:
        text = "SELECT count(*) FROM series WHERE metric = ?"
        parameters = cursor.adbc_prepare(text)
        assert parameters.types == [pa.utf8()], parameters
        counts = []
        for metric in ["traffic.volume", "water.volume.total", "nothing", "traffic.volume"]:
            cursor.execute(text, (metric,))
            counts.append(cursor.fetchone()[0])
        assert 0 < counts[0] == counts[3] and 0 < counts[1] and counts[2] == 0, counts
        with connection.cursor() as other:
            other.execute("SELECT 1")
        cursor.execute(text, ("traffic.volume",))
        assert cursor.fetchone() == (counts[0],), "closing another statement closes that one only"


@check
def several_rows_of_parameters_are_refused_with_words(server: Server) -> None:
    with server.adbc() as connection, connection.cursor() as cursor:
        rows = pa.record_batch({"id": ["a", "b"]})
        text = "SELECT count(*) FROM sensor WHERE id = ?"
        refused(dbapi.Error, "one row", lambda: cursor.execute(text, rows))
        refused(dbapi.Error, "", lambda: cursor.executemany(text, [("a",), ("b",)]))


@check
def the_catalogue_has_catalog_schema_tables_and_columns(server: Server) -> None:
    with server.adbc() as connection:

        def objects(depth: str, **filters: object) -> list[dict]:
            return connection.adbc_get_objects(depth=depth, **filters).read_all().to_pylist()

        def tables(**filters: object) -> list[dict]:
            (catalog,) = objects("all", **filters)
            return [
                row
                for schema in catalog["catalog_db_schemas"]
                for row in schema["db_schema_tables"]
            ]

        assert [row["catalog_name"] for row in objects("catalogs")] == ["screenline"]
        (catalog,) = objects("db_schemas")
        assert [row["db_schema_name"] for row in catalog["catalog_db_schemas"]] == ["public"]
        assert TABLES <= {row["table_name"] for row in tables()}
        (reading,) = tables(table_name_filter="reading")
        names = [column["column_name"] for column in reading["table_columns"]]
        assert names == [
            "time",
            "sensor",
            "metric",
            "value",
            "unit",
            "quality",
            "received_at",
        ], names
        rollups = {row["table_name"] for row in tables(table_name_filter="rollup%")}
        assert rollups == {"rollup", "rollup_5m", "rollup_1h", "rollup_1d"}, rollups
        for kinds in [["TABLE"], ["BASE TABLE"], ["table"], ["VIEW", "TABLE"]]:
            assert TABLES <= {row["table_name"] for row in tables(table_types_filter=kinds)}, kinds
        assert not tables(table_types_filter=["VIEW"])
        assert not objects("all", catalog_filter="postgres")


@check
def a_table_has_the_schema_that_its_rows_have(server: Server) -> None:
    with server.adbc() as connection, connection.cursor() as cursor:
        for name in sorted(TABLES):
            schema = connection.adbc_get_table_schema(name, db_schema_filter="public")
            cursor.execute(f"SELECT * FROM {name} LIMIT 1")
            assert cursor.fetch_arrow_table().schema == schema, name
        refused(dbapi.Error, "", lambda: connection.adbc_get_table_schema("readings"))


@check
def both_spellings_of_a_plain_table_are_table_types(server: Server) -> None:
    with server.adbc() as connection:
        assert {"TABLE", "BASE TABLE"} <= set(connection.adbc_get_table_types())


@check
def the_server_says_who_it_is(server: Server) -> None:
    with server.adbc() as connection:
        info = connection.adbc_get_info()
        assert info["vendor_name"] == "Screenline" and info["vendor_version"], info
        assert info["driver_arrow_version"], info


@check
def the_schema_asked_for_is_the_schema_of_the_answer(server: Server) -> None:
    with server.adbc() as connection, connection.cursor() as cursor:
        for text in [
            "SELECT * FROM rollup_1h LIMIT 1",
            "SELECT sensor, avg(value) AS mean, count(*) AS n FROM reading GROUP BY sensor LIMIT 1",
            "SELECT date_bin(INTERVAL '1 hour', time) AS hour, max(value) FROM reading GROUP BY 1",
            "SELECT 1 UNION ALL SELECT 2.5 UNION ALL SELECT NULL",
            "SELECT NULL AS nothing, 'x' AS word, true AS yes, 1.5::decimal(4, 2) AS exact",
            "SELECT CASE WHEN value < 1 THEN 1 ELSE 0.5 END AS x FROM reading LIMIT 1",
            "SELECT sensor, id FROM reading LEFT JOIN sensor ON sensor = id LIMIT 1",
            "SELECT lag(value) OVER (ORDER BY time) AS before FROM reading LIMIT 1",
        ]:
            promised = cursor.adbc_execute_schema(text)
            cursor.execute(text)
            answered = cursor.fetch_arrow_table().schema
            assert promised == answered, f"{text}: {promised} became {answered}"
            assert all(field.nullable for field in answered), text


@check
def an_empty_answer_has_its_columns(server: Server) -> None:
    with server.adbc() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT time, value FROM reading WHERE sensor = 'nobody'")
        assert [column[0] for column in cursor.description] == ["time", "value"]
        assert cursor.fetchall() == []
        cursor.execute("SELECT time, value FROM reading WHERE false")
        table = cursor.fetch_arrow_table()
        assert table.num_rows == 0 and table.schema.types == [INSTANT, pa.float64()]


@check
def a_large_answer_fits_into_messages_of_four_megabytes(server: Server) -> None:
    limit = {DatabaseOptions.WITH_MAX_MSG_SIZE.value: str(4 << 20)}
    with server.adbc(**limit) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT a.* FROM reading AS a CROSS JOIN (SELECT 1 FROM reading LIMIT 10)")
        table = cursor.fetch_arrow_table()
        cursor.execute("SELECT 10 * count(*) FROM reading")
        assert 16 << 20 < table.nbytes
        assert table.num_rows <= cursor.fetchone()[0], "readings may have come in between"


@check
def a_cancelled_statement_ends_at_once(server: Server) -> None:
    with server.adbc() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT a.time, b.value FROM reading AS a CROSS JOIN reading AS b")
        threading.Timer(0.5, cursor.adbc_cancel).start()
        began = time.monotonic()
        error = refused(dbapi.Error, "", cursor.fetch_arrow_table)
        assert error.status_code is AdbcStatusCode.CANCELLED, error
        assert time.monotonic() - began < PATIENCE_S
    with server.adbc() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,), "the next statement runs"


@check
def an_error_has_its_class_and_the_servers_words(server: Server) -> None:
    for status, words, text in [
        (AdbcStatusCode.INVALID_ARGUMENT, "colour", "SELECT colour FROM reading"),
        (AdbcStatusCode.NOT_FOUND, "did you mean reading", "SELECT * FROM readings"),
        (AdbcStatusCode.INVALID_ARGUMENT, "more than one statement", "SELECT 1; SELECT 2"),
        (AdbcStatusCode.INVALID_ARGUMENT, "not supported", "DROP TABLE reading"),
        (AdbcStatusCode.INVALID_ARGUMENT, "not supported", "INSERT INTO sensor (id) VALUES ('x')"),
        (AdbcStatusCode.INVALID_ARGUMENT, "zero", "SELECT 1 / (quality - quality) FROM reading"),
    ]:
        with server.adbc() as connection, connection.cursor() as cursor:

            def ask() -> None:
                cursor.execute(text)
                cursor.fetchall()

            error = refused(dbapi.Error, words, ask)
            assert error.status_code is status, f"{text}: {error}"


@check
def a_script_is_refused(server: Server) -> None:
    with server.adbc() as connection, connection.cursor() as cursor:
        script = "CREATE TABLE x (a INT); DROP TABLE reading;"
        refused(dbapi.Error, "", lambda: cursor.executescript(script))


@check
def nothing_is_written(server: Server) -> None:
    with server.adbc() as connection, connection.cursor() as cursor:
        rows = pa.table({"id": ["x"]})
        refused(dbapi.Error, "", lambda: cursor.adbc_ingest("sensor", rows, mode="append"))
    with server.adbc() as connection, connection.cursor() as cursor:
        error = refused(dbapi.Error, "", lambda: connection.adbc_connection.set_autocommit(False))
        assert error.status_code is AdbcStatusCode.NOT_IMPLEMENTED, error


@check
def a_missing_value_is_named(server: Server) -> None:
    with server.adbc() as connection, connection.cursor() as cursor:
        refused(dbapi.Error, "$2", lambda: cursor.execute("SELECT ? + ?", (1,)))
        refused(dbapi.Error, "", lambda: cursor.execute("SELECT ?, $1", (1,)))


@check
def basic_credentials_are_taken_in_a_handshake(server: Server) -> None:
    if not server.basic:
        raise Skipped("no --basic was given")
    with server.adbc() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


if __name__ == "__main__":
    run(__doc__)
