"""gRPC-web over HTTP/1.1 by hand: what a fetch gets, errors in both places, cut streams."""

import base64
import http.client
import io
import time
from collections.abc import Iterator
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.flight as flight

import wire
from harness import PATIENCE_S, Server, check, refused, run

FRAME_BYTES_MAX = 16 << 20
TRAILERS = 0x80
CANCELLED, INVALID_ARGUMENT, NOT_FOUND = "1", "3", "5"


class Cut(Exception):
    """A stream that ended before its trailers."""


class Refused(Exception):
    """A status other than OK: its number and words."""


def post(
    server: Server, ticket: bytes, kind: str = "application/grpc-web+proto"
) -> http.client.HTTPResponse:
    """A DoGet as a page makes it."""
    connection = server.web()
    message = wire.ticket(ticket)
    body = b"\0" + len(message).to_bytes(4, "big") + message
    if "text" in kind:
        body = base64.b64encode(body)
    headers = {"content-type": kind, "accept": kind, "x-grpc-web": "1", **dict(server.metadata)}
    connection.request("POST", wire.SERVICE + "DoGet", body, headers)
    return connection.getresponse()


def frames(source: io.BufferedIOBase) -> Iterator[bytes]:
    """The messages of a body.

    Raises `Refused` for a status in the trailers, `Cut` where there are none.
    """
    while head := source.read(5):
        length = int.from_bytes(head[1:], "big")
        assert length <= FRAME_BYTES_MAX, f"a frame of {length} B"
        message = source.read(length)
        if len(head) < 5 or len(message) < length:
            break
        if head[0] & TRAILERS:
            lines = (line.split(":", 1) for line in message.decode().splitlines())
            judge({name.strip().lower(): value.strip() for name, value in lines})
            return
        yield message
    raise Cut


def judge(headers: dict[str, str]) -> None:
    status = headers.get("grpc-status", "0")
    if status != "0":
        raise Refused(status, unquote(headers.get("grpc-message", "")))


def messages(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """The messages of an answer, whose status may also be in the headers."""
    assert response.status == 200, response.status
    assert response.version == 11, "HTTP/1.1"
    judge({name.lower(): value for name, value in response.getheaders()})
    yield from frames(response)


def table(parts: Iterator[bytes]) -> pa.Table:
    """FlightData as an Arrow stream: each header with its length before it, then its body."""
    stream = bytearray()
    for data in parts:
        found = dict(wire.fields(data))
        header = found[2] + bytes(-len(found[2]) % 8)
        stream += (
            b"\xff\xff\xff\xff" + len(header).to_bytes(4, "little") + header + found.get(1000, b"")
        )
    return pa.ipc.open_stream(bytes(stream)).read_all()


@check
def thousands_of_rows_are_the_same_as_over_http_2(server: Server) -> None:
    sql = b"SELECT * FROM reading ORDER BY time, sensor, metric LIMIT 20000"
    with server.client() as client:
        wanted = client.do_get(flight.Ticket(sql), server.options()).read_all()
    assert 1000 < wanted.num_rows
    assert table(messages(post(server, sql))).equals(wanted)


@check
def a_ticket_in_json_is_answered(server: Server) -> None:
    rows = table(messages(post(server, b'{"dataset": "sensor", "columns": ["id", "kind"]}')))
    assert rows.column_names == ["id", "kind"] and 0 < rows.num_rows


@check
def the_text_encoding_is_answered_too(server: Server) -> None:
    response = post(server, b"SELECT 42 AS answer", "application/grpc-web-text+proto")
    assert "text" in response.getheader("content-type")
    # Each chunk may be padded by itself.
    text = response.read().replace(b"=", b" ").split()
    body = b"".join(base64.b64decode(part + b"==="[: -len(part) % 4]) for part in text)
    assert table(frames(io.BytesIO(body))).to_pylist() == [{"answer": 42}]


@check
def a_refusal_has_its_code_and_words(server: Server) -> None:
    for code, words, ticket in [
        (INVALID_ARGUMENT, "colour", b"SELECT colour FROM reading"),
        (NOT_FOUND, "no dataset", b'{"dataset": "r\xc3\xa4dings"}'),
        (INVALID_ARGUMENT, "nothing was asked", b""),
    ]:
        error = refused(Refused, words, lambda: list(messages(post(server, ticket))))
        assert error.args[0] == code, error


@check
def an_error_in_the_middle_is_in_the_trailers(server: Server) -> None:
    # The second half fails, after rows of the first were sent.
    sql = b"SELECT value FROM reading UNION ALL SELECT 1 / (quality - quality) FROM reading"
    parts = messages(post(server, sql))
    error = refused(Refused, "zero", lambda: table(parts))
    assert error.args[0] == INVALID_ARGUMENT, error


@check
def a_cancelled_stream_ends_with_its_status(server: Server) -> None:
    with server.client() as client:
        info = endless(server, client)
        parts = messages(post(server, info.endpoints[0].ticket.ticket))
        next(parts), next(parts)
        assert server.cancel(client, info) == 1
        error = refused(Refused, "cancelled", lambda: [None for _ in parts])
        assert error.args[0] == CANCELLED, error


@check
def a_query_stops_when_its_reader_has_gone(server: Server) -> None:
    with server.client() as client:
        info = endless(server, client)
        response = post(server, info.endpoints[0].ticket.ticket)
        parts = messages(response)
        next(parts), next(parts)
        response.close()
        # Asking while it runs would end it, so it is given time first.
        time.sleep(2)
        assert server.cancel(client, info) == 3, "it ran on"


@check
def a_stream_that_is_cut_is_not_taken_for_a_whole_one(server: Server) -> None:
    body = post(server, b"SELECT sensor FROM reading LIMIT 100").read()
    assert table(frames(io.BytesIO(body))).num_rows == 100
    for length in range(len(body)):
        refused(Cut, "", lambda: list(frames(io.BytesIO(body[:length]))))


@check
def pages_are_on_the_same_port(server: Server) -> None:
    for path, words in [("/", "Screenline"), ("/healthz", "ok")]:
        connection = server.web(PATIENCE_S)
        connection.request("GET", path, headers=dict(server.metadata))
        response = connection.getresponse()
        assert response.status == 200 and words in response.read().decode(), path
        connection.close()


def endless(server: Server, client: flight.FlightClient) -> flight.FlightInfo:
    sql = b"SELECT a.time, a.value FROM reading AS a CROSS JOIN reading AS b"
    return client.get_flight_info(flight.FlightDescriptor.for_command(sql), server.options())


if __name__ == "__main__":
    run(__doc__)
