"""What strangers send: all is refused in words, in time, without a leak; service and tables stay.

The few calls that are harmless may be answered, but never with anything internal.
"""

import json
import re
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import urlsplit

import grpc
import pyarrow.flight as flight
from grpc import StatusCode

import wire
from harness import PATIENCE_S, Server, check, run
from hostile_corpus import Case, actions, credentials, descriptors, puts, statements, tickets

REFUSALS = {
    StatusCode.INVALID_ARGUMENT,
    StatusCode.NOT_FOUND,
    StatusCode.UNIMPLEMENTED,
    StatusCode.RESOURCE_EXHAUSTED,
    StatusCode.DEADLINE_EXCEEDED,
    StatusCode.UNAUTHENTICATED,
    StatusCode.PERMISSION_DENIED,
}

# Of us and of the machine: places, panics, our SQL, connection strings.
INTERNAL = re.compile(
    rb"/(?:home|root|usr|var|opt|proc|build|cargo)/|\.rs:\d|panicked|RUST_BACKTRACE|stack backtrace"
    rb"|bug in DataFusion|quarantined_series|series_id|PostgresCopy|SQLSTATE|COPY \("
    rb"|host=/|postgres(?:ql)?://|root:x:0"
)
# The names of modules have no place in an error; descriptions of settings have them.
MODULES = re.compile(rb"\b(?:datafusion|tokio|tonic|arrow_flight|sqlparser|core|std|alloc)::")
MESSAGE_BYTES_MAX = 4 << 20
WORDS_MAX = 8 << 10


STREAMS = {"DoPut", "Handshake", "DoExchange"}


def send(
    server: Server, channel: grpc.Channel, case: Case, patience_s: float
) -> tuple[StatusCode, bytes, bytes]:
    """The status of a call, what it answered with, and its words."""
    path = case.method if case.method.startswith("/") else wire.SERVICE + case.method
    metadata = [*([] if case.anonymous else server.metadata), *case.headers]
    request = iter(case.messages) if case.method in STREAMS else case.messages[0]
    kind = channel.stream_stream if case.method in STREAMS else channel.unary_stream
    call = kind(path)(request, metadata=metadata, timeout=patience_s)
    said = bytearray()
    try:
        for message in call:
            if len(said) < 1 << 20:
                said += message
    except grpc.RpcError:
        pass
    return call.code(), bytes(said), (call.details() or "").encode()


def leak(case: Case, said: bytes, words: bytes) -> bytes | None:
    """Something internal with what is around it, unless it only comes back."""
    sent = b"".join(case.messages)
    for pattern, text in [(INTERNAL, said), (INTERNAL, words), (MODULES, words)]:
        for found in pattern.finditer(text):
            if found.group() not in sent:
                return text[max(found.start() - 60, 0) : found.end() + 100]
    return None


def judge(case: Case, code: StatusCode, said: bytes, words: bytes, seconds: float) -> str | None:
    """What is wrong with it."""
    if found := leak(case, said, words):
        return f"{code.name} with internal text: {found!r}"
    if PATIENCE_S < seconds:
        return f"{code.name} after {seconds:.1f} s"
    if code is StatusCode.OK:
        return None if case.harmless or case.slow else "was answered"
    if code not in REFUSALS:
        return f"{code.name}: {words[:300]!r}"
    # A method that nobody knows is refused by its number alone.
    if not words.strip() and not case.method.startswith("/"):
        return f"{code.name} without words"
    if WORDS_MAX < len(words):
        return f"{code.name} with {len(words)} B of words"
    return None


def attack(server: Server, cases: Iterable[Case]) -> None:
    """Sends all of them, and fails with those that were not refused as they should be."""
    wrong, counts = [], Counter()
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    for case in cases:
        patience_s = 4.0 if case.slow else PATIENCE_S + 2
        with server.channel(options) as channel:
            began = time.monotonic()
            code, said, words = send(server, channel, case, patience_s)
            seconds = time.monotonic() - began
        counts[code.name] += 1
        problem = judge(case, code, said, words, seconds)
        if problem or case.slow:
            problem = recovered(server, problem)
        if problem:
            wrong.append(f"{case.name[:100]!r}: {problem}")
    print("        ", ", ".join(f"{count} {name}" for name, count in counts.most_common()))
    TOTAL.update(counts)
    assert not wrong, f"{len(wrong)} of {counts.total()}\n           " + "\n           ".join(wrong)


def recovered(server: Server, problem: str | None) -> str | None:
    """The problem, and whether the service was away or busy afterwards."""
    began = time.monotonic()
    away = False
    while True:
        try:
            with server.client() as client:
                ticket = flight.Ticket(b"SELECT count(*) FROM sensor")
                client.do_get(ticket, server.options(PATIENCE_S)).read_all()
                break
        except flight.FlightError as error:
            away = True
            if 60 < time.monotonic() - began:
                sys.exit(f"the service does not come back: {error}")
            time.sleep(0.5)
    seconds = time.monotonic() - began
    if away or PATIENCE_S / 2 < seconds:
        how = "away" if away else "busy"
        return f"{problem or 'refused'}; then the service was {how} for {seconds:.1f} s"
    return problem


TOTAL: Counter[str] = Counter()
STATIC = ["sensor", "series", "segment", "zone", "calibration"]
BEFORE: dict[str, object] = {}


def state(server: Server) -> dict[str, object]:
    """Schemas of all tables, contents of those that do not grow, and rows of those that do."""
    with server.client() as client:
        flights = client.list_flights(options=server.options())
        found: dict[str, object] = {
            info.descriptor.path[0].decode(): info.schema for info in flights
        }
        for name in STATIC:
            table = client.do_get(
                flight.Ticket(f"SELECT * FROM {name}".encode()), server.options()
            ).read_all()
            found[f"rows of {name}"] = sorted(map(str, table.to_pylist()))
        for name in ["reading", "event"]:
            sql = f"SELECT count(*) AS n FROM {name} WHERE time < timestamp '{START}'"
            table = client.do_get(flight.Ticket(sql.encode()), server.options()).read_all()
            found[f"count of {name}"] = table.to_pylist()
    return found


START = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 120))


@check
def the_tables_are_there_before(server: Server) -> None:
    BEFORE.update(state(server))
    assert "reading" in BEFORE


@check
def hostile_statements_are_refused(server: Server) -> None:
    attack(server, statements())


@check
def hostile_tickets_are_refused(server: Server) -> None:
    attack(server, tickets())


@check
def hostile_descriptors_are_refused(server: Server) -> None:
    attack(server, descriptors())


@check
def hostile_actions_are_refused(server: Server) -> None:
    attack(server, actions())


@check
def hostile_parameters_are_refused(server: Server) -> None:
    attack(server, puts())


@check
def hostile_headers_change_nothing(server: Server) -> None:
    # An open service does not look at credentials; one that wants some must not take these.
    with server.channel() as channel:
        probe = Case("nobody", "DoGet", [wire.ticket("SELECT 1")], anonymous=True)
        is_open = send(server, channel, probe, PATIENCE_S)[0] is StatusCode.OK
    cases = credentials()
    attack(server, (replace(case, harmless=is_open) if case.anonymous else case for case in cases))


@check
def a_crowd_that_leaves_gives_its_places_back(server: Server) -> None:
    sql = wire.ticket(
        "SELECT count(*) FROM reading AS a CROSS JOIN reading AS b CROSS JOIN reading AS c"
    )
    with server.channel() as channel:
        get = channel.unary_stream(wire.SERVICE + "DoGet")
        calls = [get(sql, metadata=server.metadata) for _ in range(60)]
        time.sleep(2)
        for call in calls:
            call.cancel()
    problem = recovered(server, None)
    assert problem is None, problem


@check
def another_clients_query_cannot_be_guessed(server: Server) -> None:
    with server.client() as client:
        sql = b"SELECT a.time FROM reading AS a CROSS JOIN reading AS b"
        info = client.get_flight_info(flight.FlightDescriptor.for_command(sql), server.options())
        reader = client.do_get(info.endpoints[0].ticket, server.options())
        reader.read_chunk()
        for guess in ["", "0", "1", "0" * 32, "%", "*", ".*"]:
            for data in [
                json.dumps({"dataset": "reading", "id": guess}).encode(),
                wire.command("TicketStatementQuery", wire.field(1, guess + " SELECT 1")),
                wire.command("CommandPreparedStatementQuery", wire.field(1, guess)),
            ]:
                body = wire.field(1, wire.field(3, wire.field(1, wire.ticket(data))))
                (answer,) = client.do_action(
                    flight.Action("CancelFlightInfo", body), server.options()
                )
                assert dict(wire.fields(answer.body.to_pybytes()))[1] == 3, guess
        assert 0 < reader.read_chunk().data.num_rows
        server.cancel(client, info)


@check
def hostile_http_gets_no_further(server: Server) -> None:
    path = wire.SERVICE + "DoGet"
    ask = wire.ticket("SELECT 1")
    framed = b"\0" + len(ask).to_bytes(4, "big") + ask
    kind = "application/grpc-web+proto"
    wrong, counts = [], Counter()
    for name, method, url, headers, body in [
        ("a GET of a method", "GET", path, {}, b""),
        ("a PUT", "PUT", path, {"content-type": kind}, framed),
        ("no type", "POST", path, {}, framed),
        ("JSON", "POST", path, {"content-type": "application/json"}, b"{}"),
        ("gRPC without HTTP/2", "POST", path, {"content-type": "application/grpc"}, framed),
        ("a length that lies", "POST", path, {"content-type": kind}, b"\0\xff\xff\xff\xff" + ask),
        ("a frame cut off", "POST", path, {"content-type": kind}, framed[:-2]),
        ("no frame", "POST", path, {"content-type": kind}, b""),
        ("trailers only", "POST", path, {"content-type": kind}, b"\x80\0\0\0\x02\r\n"),
        ("a compressed frame", "POST", path, {"content-type": kind}, b"\1" + framed[1:]),
        (
            "not base64",
            "POST",
            path,
            {"content-type": "application/grpc-web-text+proto"},
            b"\xff!!",
        ),
        ("a path upwards", "GET", "/../../etc/passwd", {}, b""),
        ("a path upwards, encoded", "GET", "/%2e%2e/%2e%2e/etc/passwd", {}, b""),
        ("a page that is not there", "GET", "/admin", {}, b""),
        ("a long path", "GET", "/" + "x" * 60_000, {}, b""),
        ("many headers", "GET", "/healthz", {f"x-{i}": "y" for i in range(500)}, b""),
        ("a long header", "GET", "/healthz", {"x": "y" * 500_000}, b""),
        ("a method of nobody", "DROP", "/", {}, b""),
        ("an upgrade", "GET", "/", {"connection": "upgrade", "upgrade": "websocket"}, b""),
    ]:
        connection = server.web(PATIENCE_S)
        try:
            connection.request(method, url, body, {**headers, **dict(server.metadata)})
            response = connection.getresponse()
            said = response.read()
            code = (
                response.getheader("grpc-status")
                or (b"grpc-status:" in said and "in trailers")
                or "no"
            )
            counts[f"HTTP {response.status}, status {code}"] += 1
            if INTERNAL.search(said) or INTERNAL.search(str(response.headers).encode()):
                wrong.append(f"{name}: internal text in {said[:300]!r}")
            if code in {"2", "13", "14", "15"} or re.search(rb"grpc-status: ?(2|13|14|15)\b", said):
                words = response.getheader("grpc-message") or said[-200:]
                wrong.append(f"{name}: status {code}: {words!r}")
            if 500 <= response.status:
                wrong.append(f"{name}: HTTP {response.status}")
        except (ConnectionError, TimeoutError, OSError) as error:
            counts[type(error).__name__] += 1
            if isinstance(error, TimeoutError):
                wrong.append(f"{name}: no answer in {PATIENCE_S} s")
        finally:
            connection.close()
    print("        ", ", ".join(f"{count} {name}" for name, count in counts.most_common()))
    assert not wrong, "\n           " + "\n           ".join(wrong)


@check
def smuggled_requests_are_not_answered_twice(server: Server) -> None:
    url = urlsplit(server.http)
    if url.scheme == "https":
        return
    hidden = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    for name, request in [
        (
            "both lengths",
            b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "two lengths",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 35\r\n\r\n",
        ),
        (
            "a chunk that lies",
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        ),
        ("an odd encoding", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n"),
        ("a bare line feed", b"GET / HTTP/1.1\nHost: x\nX: y\r\n\r\n"),
        ("HTTP/0.9", b"GET /\r\n\r\n"),
        ("nonsense", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100)),
        ("a broken preface", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + b"\xff" * 100),
    ]:
        with socket.create_connection((url.hostname, url.port), timeout=PATIENCE_S) as stream:
            said = bytearray()
            try:
                stream.sendall(request + hidden)
                stream.shutdown(socket.SHUT_WR)
                while part := stream.recv(65536):
                    said += part
            except OSError:
                pass  # hung up on, which is an answer
        answers = bytes(said).count(b"HTTP/1.1 200")
        assert answers <= (2 if "feed" in name else 1), f"{name}: {bytes(said)!r}"
        assert not INTERNAL.search(said), f"{name}: {bytes(said)!r}"


@check
def the_service_still_answers_and_its_tables_are_as_before(server: Server) -> None:
    after = state(server)
    changed = [name for name in BEFORE.keys() | after.keys() if BEFORE.get(name) != after.get(name)]
    assert not changed, changed
    with server.client() as client:
        (answer,) = client.do_action(flight.Action("health", b""), server.options())
        assert json.loads(answer.body.to_pybytes()) == {"status": "ok"}
    print(f"         {TOTAL.total()} calls by class: {dict(TOTAL.most_common())}")


if __name__ == "__main__":
    run(__doc__)
