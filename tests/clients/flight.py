"""Arrow Flight by pyarrow: lists, paths, tickets, handshake, cancellation, classes of errors."""

import base64
import json
import time

import grpc
import pyarrow as pa
import pyarrow.flight as flight

import wire
from harness import PATIENCE_S, Server, check, refused, run

ENDLESS = b"SELECT a.time, a.value FROM reading AS a CROSS JOIN reading AS b"
INSTANT = pa.timestamp("ns", tz="UTC")


def reading(**more: object) -> flight.Ticket:
    return flight.Ticket(json.dumps({"dataset": "reading", **more}).encode())


def sql(text: str) -> flight.Ticket:
    return flight.Ticket(text.encode())


@check
def every_dataset_is_listed_with_a_ticket_that_works(server: Server) -> None:
    with server.client() as client:
        flights = list(client.list_flights(options=server.options()))
        names = [info.descriptor.path[0].decode() for info in flights]
        assert {"reading", "event", "rollup_5m", "rollup_1h", "rollup_1d", "ledger"} <= set(
            names
        ), names
        for info in flights:
            (endpoint,) = info.endpoints
            assert not endpoint.locations, f"{info.descriptor}: {endpoint.locations}"
            ticket = flight.Ticket(json.dumps({**json.loads(endpoint.ticket.ticket), "limit": 1}))
            assert client.do_get(ticket, server.options()).read_all().schema == info.schema


@check
def a_path_is_answered_with_the_schema_that_was_promised(server: Server) -> None:
    with server.client() as client:
        descriptor = flight.FlightDescriptor.for_path("sensor")
        info = client.get_flight_info(descriptor, server.options())
        assert client.get_schema(descriptor, server.options()).schema == info.schema
        table = client.do_get(info.endpoints[0].ticket, server.options()).read_all()
        assert table.schema == info.schema and 0 < table.num_rows


@check
def a_command_is_sql_or_a_ticket_in_json(server: Server) -> None:
    with server.client() as client:
        for command in [b"SELECT sensor, value FROM reading LIMIT 3", reading(limit=3).ticket]:
            descriptor = flight.FlightDescriptor.for_command(command)
            info = client.get_flight_info(descriptor, server.options())
            table = client.do_get(info.endpoints[0].ticket, server.options()).read_all()
            assert table.num_rows == 3 and table.schema == info.schema
            assert client.get_schema(descriptor, server.options()).schema == info.schema


@check
def a_ticket_cuts_by_time_sensor_column_and_limit(server: Server) -> None:
    with server.client() as client:

        def get(ticket: flight.Ticket) -> pa.Table:
            return client.do_get(ticket, server.options()).read_all()

        some = get(
            sql(
                "SELECT sensor, min(time) AS a, max(time) AS b FROM reading GROUP BY sensor LIMIT 1"
            )
        )
        sensor, first, last = some.to_pylist()[0].values()
        bounds = {"from": first.isoformat(), "to": last.isoformat(), "sensor": [sensor]}
        table = get(reading(columns=["time", "value"], **bounds))
        assert (
            table.column_names == ["time", "value"] and table.schema.field("time").type == INSTANT
        )
        times = table.column("time").to_pylist()
        assert first in times and last not in times, "`from` is included, `to` is not"
        assert get(reading(limit=2, **bounds)).num_rows == 2
        assert get(reading(sensor=[])).num_rows == 0


@check
def all_columns_are_nullable_and_instants_are_nanoseconds_in_utc(server: Server) -> None:
    with server.client() as client:
        text = "SELECT now() AS n, date '2024-01-01'::timestamp AS t, 1 AS one, time FROM reading"
        for ticket in [
            sql(text + " LIMIT 1"),
            reading(limit=1),
            sql("SELECT * FROM revision LIMIT 1"),
        ]:
            schema = client.do_get(ticket, server.options()).schema
            assert all(field.nullable for field in schema), schema
            stamps = {field.type for field in schema if pa.types.is_timestamp(field.type)}
            assert stamps == {INSTANT}, stamps


@check
def a_handshake_answers_basic_with_a_bearer_in_its_metadata(server: Server) -> None:
    user, secret = server.basic or ("anyone", "pass:with:colons")
    with server.client() as client:
        try:
            name, value = client.authenticate_basic_token(user, secret)
        except flight.FlightUnauthenticatedError:
            assert not server.basic, "the user of --basic was refused"
            return
        assert name == b"authorization" and value.startswith(b"Bearer "), (name, value)
        options = flight.FlightCallOptions(headers=[(name, value)])
        assert client.do_get(reading(limit=1), options).read_all().num_rows == 1


@check
def basic_credentials_need_no_padding(server: Server) -> None:
    user, secret = server.basic or ("u", "p:w")
    coded = base64.b64encode(f"{user}:{secret}".encode()).decode()
    with server.channel() as channel:
        handshake = channel.stream_stream(wire.SERVICE + "Handshake")
        for header in {f"Basic {coded}", f"Basic {coded.rstrip('=')}"}:
            call = handshake(iter([b""]), metadata=[("authorization", header)], timeout=PATIENCE_S)
            try:
                metadata = dict(call.initial_metadata())
                list(call)
            except grpc.RpcError as error:
                assert not server.basic and error.code() is grpc.StatusCode.UNAUTHENTICATED, error
                continue
            assert metadata.get("authorization", "").startswith("Bearer "), metadata


@check
def a_tail_shows_signs_of_life_and_goes_on_from_its_place(server: Server) -> None:
    with server.client() as client:

        def follow(**more: object) -> tuple[flight.FlightStreamReader, dict]:
            reader = client.do_get(reading(live=True, columns=["time", "value"], **more), server.options())
            assert reader.schema.field("time").type == INSTANT and reader.schema.names[1] == "value"
            first = reader.read_chunk()
            assert first.data is None, "nothing was committed since it began"
            return reader, json.loads(first.app_metadata.to_pybytes())

        reader, about = follow()
        reader.cancel()
        assert {"resume", "at"} <= set(about), about
        again, later = follow(resume=about["resume"])
        assert about["at"] <= later["at"]
        again.cancel()
        for wrong in [{"resume": "no token"}, {"limit": 3}, {"width": "1h"}]:
            ticket = reading(live=True, **wrong)
            refused(
                pa.ArrowInvalid, "", lambda: client.do_get(ticket, server.options()).read_chunk()
            )


@check
def the_newest_of_each_series_is_what_its_readings_say(server: Server) -> None:
    with server.client() as client:

        def get(text: str) -> list[dict]:
            return client.do_get(sql(text), server.options()).read_all().to_pylist()

        newest = get("SELECT sensor, metric, time, value FROM latest ORDER BY sensor, metric")
        flagged = 1 | 64 | 128 | 256 | 512  # what does not count
        stored = get(
            "SELECT r.sensor, r.metric, max(r.time) AS time, last_value(r.value ORDER BY r.time) AS value "
            f"FROM reading AS r WHERE (r.quality & {flagged}) = 0 GROUP BY 1, 2 ORDER BY 1, 2"
        )
        assert newest == stored and newest, (len(newest), len(stored))


@check
def reading_stops_when_the_flight_info_is_cancelled(server: Server) -> None:
    with server.client() as client:
        info = client.get_flight_info(
            flight.FlightDescriptor.for_command(ENDLESS), server.options()
        )
        reader = client.do_get(info.endpoints[0].ticket, server.options())
        assert 0 < reader.read_chunk().data.num_rows
        assert server.cancel(client, info) == 1, "CANCELLED was expected"
        began = time.monotonic()
        refused(flight.FlightCancelledError, "cancelled", lambda: exhaust(reader))
        assert time.monotonic() - began < PATIENCE_S
        assert server.cancel(client, info) == 3, "nothing runs any more: NOT_CANCELLABLE"


@check
def another_query_goes_on_when_one_is_cancelled(server: Server) -> None:
    with server.client() as client:
        descriptor = flight.FlightDescriptor.for_command(ENDLESS)
        one, two = (client.get_flight_info(descriptor, server.options()) for _ in range(2))
        reader = client.do_get(two.endpoints[0].ticket, server.options())
        assert server.cancel(client, one) == 3
        for _ in range(5):
            assert 0 < reader.read_chunk().data.num_rows
        assert server.cancel(client, two) == 1


@check
def health_is_an_action_and_actions_are_listed(server: Server) -> None:
    with server.client() as client:
        (answer,) = client.do_action(flight.Action("health", b""), server.options())
        assert json.loads(answer.body.to_pybytes()) == {"status": "ok"}
        names = {action.type for action in client.list_actions(server.options())}
        assert {
            "health",
            "CancelFlightInfo",
            "CreatePreparedStatement",
            "ClosePreparedStatement",
        } <= names


@check
def every_error_has_its_class_and_words(server: Server) -> None:
    for kind, words, ticket in [
        (pa.ArrowInvalid, "no column", reading(columns=["volume"])),
        (pa.ArrowInvalid, "No field named colour", sql("SELECT colour FROM reading")),
        (pa.ArrowKeyError, "did you mean reading", flight.Ticket(b'{"dataset": "readings"}')),
        (pa.ArrowInvalid, "unknown field", reading(form="2024-01-01T00:00:00Z")),
        (pa.ArrowInvalid, "DML not supported", sql("DELETE FROM reading")),
        (pa.ArrowInvalid, "", sql("SELECT 1/0")),
        (pa.ArrowInvalid, "", sql("SELEC 1")),
    ]:
        with server.client() as client:
            refused(kind, words, lambda: client.do_get(ticket, server.options()).read_all())
    with server.client() as client:
        path = flight.FlightDescriptor.for_path("readings")
        refused(
            pa.ArrowKeyError, "no dataset", lambda: client.get_flight_info(path, server.options())
        )
        unknown = flight.Action("Shutdown", b"")
        refused(
            pa.ArrowNotImplementedError,
            "list_actions",
            lambda: list(client.do_action(unknown, server.options())),
        )


@check
def no_message_is_larger_than_a_client_takes_by_default(server: Server) -> None:
    # gRPC in Go, Python and C refuses more than 4 MiB.
    for text in [
        "SELECT * FROM reading AS a CROSS JOIN (SELECT 1 AS one FROM reading LIMIT 20)",
        "SELECT repeat(sensor, 60) AS wide FROM reading LIMIT 40000",
    ]:
        with server.channel() as channel:
            get = channel.unary_stream(wire.SERVICE + "DoGet")
            answer = get(wire.ticket(text), metadata=server.metadata, timeout=120)
            sizes = [len(data) for data in answer]
        assert 4 << 20 < sum(sizes) and max(sizes) < 4 << 20, f"{text}: {max(sizes)} B"


@check
def batches_are_never_compressed(server: Server) -> None:
    # Compressed, it would be a few kB.
    ticket = wire.ticket("SELECT repeat('x', 1000) AS x FROM reading LIMIT 1000")
    with server.channel() as channel:
        get = channel.unary_stream(wire.SERVICE + "DoGet")
        assert 1_000_000 <= sum(len(data) for data in get(ticket, metadata=server.metadata))


@check
def plaintext_to_a_tls_port_and_tls_to_a_plain_one_fail_at_once(server: Server) -> None:
    scheme = "grpc+tcp" if server.tls else "grpc+tls"
    with flight.FlightClient(f"{scheme}://{server.authority}", tls_root_certs=server.ca) as client:
        began = time.monotonic()
        options = flight.FlightCallOptions(timeout=PATIENCE_S)
        refused(
            flight.FlightUnavailableError, "", lambda: list(client.list_flights(options=options))
        )
        assert time.monotonic() - began < PATIENCE_S


def exhaust(reader: flight.FlightStreamReader) -> None:
    for _ in reader:
        pass


if __name__ == "__main__":
    run(__doc__)
