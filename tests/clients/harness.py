"""What the tests of clients share: flags, connections, and checks named after what they promise."""

import argparse
import http.client
import ssl
import sys
import traceback
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import pyarrow.flight as flight
from adbc_driver_flightsql import DatabaseOptions, dbapi

import wire

CHECKS: list[Callable[["Server"], None]] = []

# Longest time, in seconds, until an answer, a refusal or a cancellation.
PATIENCE_S = 10.0


class Skipped(Exception):
    """Why a check cannot be made here."""


class Server:
    """The service under test, and the ways to reach it."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.url: str = arguments.url
        self.authority = urlsplit(self.url).netloc
        self.tls = urlsplit(self.url).scheme == "grpc+tls"
        self.ca = Path(arguments.ca).read_bytes() if arguments.ca else None
        self.basic: tuple[str, str] | None = None
        if arguments.basic:
            user, _, secret = arguments.basic.partition(":")
            self.basic = user, secret
        self.token: str | None = arguments.token
        plain = f"http{'s' if self.tls else ''}://{self.authority}"
        self.http: str = arguments.http or plain

    def client(self) -> flight.FlightClient:
        """A connection without credentials; calls take `options`."""
        scheme = "grpc+tls" if self.tls else "grpc+tcp"
        return flight.FlightClient(f"{scheme}://{self.authority}", tls_root_certs=self.ca)

    @cached_property
    def bearer(self) -> str | None:
        """The `authorization` header, after a handshake if there is a user."""
        if self.token:
            return f"Bearer {self.token}"
        if self.basic:
            with self.client() as client:
                return client.authenticate_basic_token(*self.basic)[1].decode()
        return None

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return [(b"authorization", self.bearer.encode())] if self.bearer else []

    def options(self, timeout: float | None = 60.0) -> flight.FlightCallOptions:
        return flight.FlightCallOptions(timeout=timeout, headers=self.headers)

    @property
    def metadata(self) -> list[tuple[str, str]]:
        """The headers as grpcio and http.client take them."""
        return [("authorization", self.bearer)] if self.bearer else []

    def channel(self, options: list[tuple[str, int]] | None = None) -> grpc.Channel:
        """For messages of our own making; takes 4 MiB a message, as gRPC does by default."""
        if self.tls:
            trust = grpc.ssl_channel_credentials(self.ca)
            return grpc.secure_channel(self.authority, trust, options)
        return grpc.insecure_channel(self.authority, options)

    def cancel(self, client: flight.FlightClient, info: flight.FlightInfo) -> int:
        """What CancelFlightInfo says: 1 is CANCELLED, 3 is NOT_CANCELLABLE: nothing runs."""
        action = flight.Action("CancelFlightInfo", wire.field(1, info.serialize()))
        (answer,) = client.do_action(action, self.options())
        return dict(wire.fields(answer.body.to_pybytes()))[1]

    def web(self, timeout_s: float = 60.0) -> http.client.HTTPConnection:
        """A connection for HTTP/1.1."""
        url = urlsplit(self.http)
        if url.scheme == "https":
            trust = ssl.create_default_context(cadata=self.ca.decode() if self.ca else None)
            return http.client.HTTPSConnection(url.netloc, timeout=timeout_s, context=trust)
        return http.client.HTTPConnection(url.netloc, timeout=timeout_s)

    def adbc(self, **options: str) -> dbapi.Connection:
        """By ADBC, which makes its own handshake."""
        if self.token:
            options[DatabaseOptions.AUTHORIZATION_HEADER.value] = f"Bearer {self.token}"
        elif self.basic:
            options["username"], options["password"] = self.basic
        if self.ca:
            options[DatabaseOptions.TLS_ROOT_CERTS.value] = self.ca.decode()
        return dbapi.connect(self.url, options, autocommit=True)


def check(function: Callable[[Server], None]) -> Callable[[Server], None]:
    CHECKS.append(function)
    return function


def refused(kind: type[Exception], words: str, call: Callable[[], object]) -> Exception:
    """The error that the call must end in, with these words in it."""
    try:
        call()
    except kind as error:
        assert words in str(error), f"refused without {words!r}: {error}"
        return error
    raise AssertionError("was not refused")


def run(description: str) -> None:
    """Makes all checks in order, says how each went, and exits with 1 if one failed."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--url", default="grpc://127.0.0.1:8815", help="grpc:// or grpc+tls://")
    parser.add_argument("--token", help="bearer token")
    parser.add_argument("--basic", metavar="USER:SECRET", help="a handshake with these first")
    parser.add_argument(
        "--ca", metavar="FILE", help="authorities (PEM) of the server's certificate"
    )
    parser.add_argument("--http", metavar="URL", help="for gRPC-web [default: the same address]")
    server = Server(parser.parse_args())
    passed = failed = 0
    for function in CHECKS:
        promise = function.__name__.replace("_", " ")
        try:
            function(server)
        except Skipped as why:
            print(f"SKIPPED  {promise}: {why}")
        except Exception as error:  # the next check may still say more
            failed += 1
            at = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{type(error).__name__}, {Path(at.filename).name}:{at.lineno}"
            print(f"FAILED   {promise}: {str(error) or at.line} ({where})")
        else:
            passed += 1
            print(f"ok       {promise}")
    print(f"{passed} passed, {failed} failed, {len(CHECKS) - passed - failed} skipped")
    sys.exit(failed != 0)
