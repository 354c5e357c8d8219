"""What Grafana's plugin influxdata-flightsql-datasource calls, and what its frames can hold.

It executes without preparing, wants exactly one endpoint, and reads every instant as nanoseconds.
"""

from datetime import datetime, timezone

import pyarrow as pa
import pyarrow.flight as flight

import wire
from harness import Server, check, refused, run

INSTANT = pa.timestamp("ns", tz="UTC")
# Binary columns, which have no place in a frame: panels have to name the columns that they want.
BYTES = {
    ("rollup", "state"), ("rollup_5m", "state"),
    ("rollup_1h", "state"),
    ("rollup_1d", "state"),
    ("rejection", "sha256"),
}
# In FlightSql.proto: keywords, and functions on numbers, texts, the system and instants.
LISTS = range(508, 513)


def fits(kind: pa.DataType) -> bool:
    """Whether a frame has fields of this type."""
    known = [pa.types.is_string, pa.types.is_integer, pa.types.is_boolean, pa.types.is_duration]
    plain = pa.types.is_float32(kind) or pa.types.is_float64(kind)
    return plain or kind == INSTANT or any(is_known(kind) for is_known in known)


def execute(server: Server, client: flight.FlightClient, command: bytes) -> pa.Table:
    """Execute and DoGet, as the plugin does both."""
    descriptor = flight.FlightDescriptor.for_command(command)
    info = client.get_flight_info(descriptor, server.options())
    assert len(info.endpoints) == 1, f"{len(info.endpoints)} endpoints"
    assert not info.endpoints[0].locations, "a location without a port breaks JDBC"
    table = client.do_get(info.endpoints[0].ticket, server.options()).read_all()
    assert table.schema == info.schema, f"{info.schema} became {table.schema}"
    return table


@check
def a_panel_gets_one_endpoint_and_a_column_time(server: Server) -> None:
    sql = """
        SELECT date_bin(interval '300 second', time, timestamp '1970-01-01T00:00:00Z') AS time,
            sensor, avg(value) AS mean
        FROM reading
        WHERE time >= '2000-01-01T00:00:00Z' AND time <= '2100-01-01T00:00:00Z'
            AND metric = 'traffic.volume'
        GROUP BY 1, sensor ORDER BY 1
    """
    with server.client() as client:
        table = execute(server, client, wire.statement(sql))
    assert table.schema.types == [INSTANT, pa.utf8(), pa.float64()], table.schema
    assert 0 < table.num_rows
    # Nanoseconds read as any other unit would be in another millennium.
    nanoseconds = table.column("time")[0].cast(pa.int64()).as_py()
    assert 2020 < datetime.fromtimestamp(nanoseconds / 1e9, timezone.utc).year < 2100


@check
def the_macros_for_time_are_understood(server: Server) -> None:
    since, until = "2000-01-01T00:00:00Z", "2100-01-01T00:00:00Z"
    with server.client() as client:
        for clause in [
            f"time >= '{since}' AND time <= '{until}'",
            f"time >= timestamp '{since}' AND time <= timestamp '{until}'",
            f"time >= cast('{since}' as timestamp) AND time <= cast('{until}' as timestamp)",
            "time >= now() - interval '3650 days'",
            "datepart('year', time) > 2000",
        ]:
            table = execute(
                server, client, wire.statement(f"SELECT count(*) AS n FROM reading WHERE {clause}")
            )
            assert 0 < table.column("n")[0].as_py(), clause
        for bin in [
            "date_bin(interval '60 second', time, timestamp '1970-01-01T00:00:00Z') as time_binned",
            "date_trunc('minute', time) as time",
            "time_bucket(interval '1 minute', time) as time",
        ]:
            table = execute(
                server, client, wire.statement(f"SELECT {bin}, count(*) FROM reading GROUP BY 1")
            )
            assert table.schema.types[0] == INSTANT and 0 < table.num_rows, bin


@check
def the_builder_lists_tables_by_their_type(server: Server) -> None:
    with server.client() as client:
        for kinds in [["BASE TABLE"], ["table"], ["TABLE"], ["BASE TABLE", "table"]]:
            command = wire.command("CommandGetTables", *(wire.field(4, kind) for kind in kinds))
            table = execute(server, client, command)
            assert table.column_names == [
                "catalog_name",
                "db_schema_name",
                "table_name",
                "table_type",
            ]
            assert "reading" in table.column("table_name").to_pylist(), kinds
        types = execute(server, client, wire.command("CommandGetTableTypes"))
        assert {"BASE TABLE", "TABLE"} <= set(types.column("table_type").to_pylist())


@check
def the_builder_reads_columns_from_the_schema_of_one_table(server: Server) -> None:
    with server.client() as client:
        command = wire.command("CommandGetTables", wire.field(3, "reading"), wire.field(5, True))
        table = execute(server, client, command)
        assert table.num_rows == 1 and table.schema.field("table_schema").type == pa.binary()
        schema = pa.ipc.read_schema(pa.py_buffer(table.column("table_schema")[0].as_py()))
        assert schema.field("time").type == INSTANT, schema


@check
def every_column_fits_into_a_frame_but_those_of_bytes(server: Server) -> None:
    with server.client() as client:
        tables = execute(
            server, client, wire.command("CommandGetTables", wire.field(5, True))
        ).to_pylist()
        misfits = set()
        for table in tables:
            schema = pa.ipc.read_schema(pa.py_buffer(table["table_schema"]))
            misfits |= {
                (table["table_name"], field.name) for field in schema if not fits(field.type)
            }
        assert misfits == BYTES, misfits


@check
def calculated_columns_fit_into_a_frame(server: Server) -> None:
    for expression in [
        "1.5::decimal(10, 3)",
        "sum(quality)",
        "avg(value)",
        "arrow_cast('a', 'Dictionary(Int32, Utf8)')",
        "arrow_cast('a', 'Utf8View')",
        "arrow_cast('a', 'LargeUtf8')",
        "arrow_cast(1, 'Timestamp(Second, None)')",
        "arrow_cast(1, 'Timestamp(Microsecond, Some(\"Europe/Berlin\"))')",
        "max(time) - min(time)",
        "approx_percentile_cont(value, 0.85)",
        "count(DISTINCT sensor)",
        "first_value(sensor)",
        "upper(max(sensor))",
        "to_timestamp(0)",
        "stddev(value)",
    ]:
        with server.client() as client:
            table = execute(
                server, client, wire.statement(f"SELECT {expression} AS x FROM reading")
            )
            kind = table.schema.field("x").type
            assert fits(kind), f"{expression}: {kind}"


@check
def all_infos_come_when_none_is_asked_for(server: Server) -> None:
    with server.client() as client:
        infos = execute(server, client, wire.command("CommandGetSqlInfo"))
        rows = {row["info_name"]: row["value"] for row in infos.to_pylist()}
        assert (
            rows[0] == "Screenline" and rows[3] is True and rows[504] == '"'
        ), "name, read only, quote"
        # JDBC tools fail where one of these lists is missing.
        for number in LISTS:
            assert isinstance(rows[number], list) and (rows[number] or number == 511), number
        one = execute(server, client, wire.command("CommandGetSqlInfo", wire.field(1, 8)))
        assert one.column("info_name").to_pylist() == [8]


@check
def the_metadata_commands_have_the_columns_of_the_specification(server: Server) -> None:
    keys = [
        f"{side}_{part}"
        for side in ["pk", "fk"]
        for part in ["catalog_name", "db_schema_name", "table_name", "column_name"]
    ]
    keys += ["key_sequence", "fk_key_name", "pk_key_name", "update_rule", "delete_rule"]
    table = wire.field(3, "reading")
    with server.client() as client:
        for name, parts, columns in [
            ("CommandGetCatalogs", b"", ["catalog_name"]),
            ("CommandGetDbSchemas", b"", ["catalog_name", "db_schema_name"]),
            ("CommandGetTableTypes", b"", ["table_type"]),
            ("CommandGetSqlInfo", b"", ["info_name", "value"]),
            ("CommandGetExportedKeys", table, keys),
            ("CommandGetImportedKeys", table, keys),
            ("CommandGetCrossReference", table + wire.field(6, "event"), keys),
        ]:
            answer = execute(server, client, wire.command(name, parts))
            assert answer.column_names == columns, f"{name}: {answer.column_names}"
        primary = execute(server, client, wire.command("CommandGetPrimaryKeys", table))
        assert primary.column("column_name").to_pylist() == ["time", "sensor", "metric"]
        types = execute(server, client, wire.command("CommandGetXdbcTypeInfo"))
        assert 5 < types.num_rows and types.column_names[:3] == [
            "type_name",
            "data_type",
            "column_size",
        ]


@check
def tickets_are_commands_in_an_any(server: Server) -> None:
    with server.client() as client:
        for command in [wire.statement("SELECT 1"), wire.command("CommandGetTables")]:
            descriptor = flight.FlightDescriptor.for_command(command)
            (endpoint,) = client.get_flight_info(descriptor, server.options()).endpoints
            url = dict(wire.fields(endpoint.ticket.ticket))[1]
            assert url.startswith(b"type.googleapis.com/arrow.flight.protocol.sql."), url


@check
def closing_a_prepared_statement_is_answered(server: Server) -> None:
    with server.client() as client:

        def act(name: str, body: bytes) -> list[flight.Result]:
            return list(client.do_action(flight.Action(name, body), server.options()))

        request = wire.command(
            "ActionCreatePreparedStatementRequest", wire.field(1, "SELECT 1 AS one")
        )
        (made,) = act("CreatePreparedStatement", request)
        result = dict(wire.fields(dict(wire.fields(made.body.to_pybytes()))[2]))
        close = wire.command("ActionClosePreparedStatementRequest", wire.field(1, result[1]))
        act("ClosePreparedStatement", close)
        act("ClosePreparedStatement", close)
        command = wire.command("CommandPreparedStatementQuery", wire.field(1, result[1]))
        refused(pa.ArrowKeyError, "prepare it again", lambda: execute(server, client, command))


if __name__ == "__main__":
    run(__doc__)
