"""What the tests of the dashboard share: a city, a browser, visits, and checks named after promises."""

import argparse
import json
import os
import signal
import ssl
import subprocess
import sys
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.flight as flight
from playwright.sync_api import Browser, Error, Playwright, sync_playwright

from visit import Visit

# It draws without a graphics card, and speaks to nobody but the city: no other name is resolved.
FLAGS = [
    "--no-sandbox",  # it would not start as root
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
# There is no graphics card here: a plot is then drawn by the processor, as Chromium does by itself where it has no WebGL.
WITH_WEBGL = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-accelerated-2d-canvas"]
WITHOUT_WEBGL = ["--disable-gpu", "--disable-3d-apis"]

# Longest time, in seconds, until a view is there, or a service is again.
PATIENCE_S = 60.0

VIEWS = ("now", "traffic", "corridor", "utilities", "quality", "ask")


class Skipped(Exception):
    """Why a check cannot be made here."""


class City:
    """The city under test, a browser to look at it, and the ways to reach it beside the browser."""

    def __init__(self, arguments: argparse.Namespace, playwright: Playwright) -> None:
        self.playwright = playwright
        self.chromium: str = arguments.chromium
        self.ready = Path(arguments.ready) if arguments.ready else None
        self.url = (arguments.url or web_address(self.services["flight"])).rstrip("/")
        self.flight: str = arguments.flight or self.url
        self.token: str | None = arguments.token
        self.ca = Path(arguments.ca).read_bytes() if arguments.ca else None
        self.pictures = Path(arguments.pictures) if arguments.pictures else None
        if self.pictures:
            self.pictures.mkdir(parents=True, exist_ok=True)

    @property
    def services(self) -> dict:
        """Where the city's parts are, as its ready file says it now."""
        if self.ready is None:
            raise Skipped("no --ready file, so the broker and the processes are not known")
        return json.loads(self.ready.read_text())

    @cached_property
    def browser(self) -> Browser:
        return self.launch(WITH_WEBGL)

    def launch(self, more: list[str]) -> Browser:
        return self.playwright.chromium.launch(executable_path=self.chromium, args=FLAGS + more)

    @contextmanager
    def visit(self, path: str, *, browser: Browser | None = None, script: str = "", **about: object) -> Iterator[Visit]:
        """A tab of its own, at this address. What went wrong in it fails the check at its end.

        `script` runs before the page's own. `about` is what Playwright knows of a visitor: `viewport`, `color_scheme`,
        `locale` and others.
        """
        about = {"viewport": {"width": 1280, "height": 900}, "locale": "en-GB", **about}
        # The authority of a test is not among those that Chromium trusts.
        context = (browser or self.browser).new_context(ignore_https_errors=True, **about)
        try:
            context.add_init_script(script)
            visit = Visit(context, self.url)
            visit.open(path)
            yield visit
            visit.nothing_went_wrong()
        finally:
            context.close()

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"} if self.token else {}

    @cached_property
    def about(self) -> dict:
        """What the service tells a page before it asks for anything."""
        request = urllib.request.Request(f"{self.url}/city", headers=self.headers)
        trust = ssl.create_default_context(cadata=self.ca.decode()) if self.ca else None
        with urllib.request.urlopen(request, timeout=PATIENCE_S, context=trust) as answer:
            return json.load(answer)

    @cached_property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.about["time_zone"] or "UTC")

    def ask(self, sql: str) -> pa.Table:
        """The answer to a statement, by another client than the browser."""
        url = urlsplit(self.flight)
        scheme = "grpc+tls" if url.scheme == "https" else "grpc+tcp"
        headers = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        options = flight.FlightCallOptions(timeout=PATIENCE_S, headers=headers)
        with flight.FlightClient(f"{scheme}://{url.netloc}", tls_root_certs=self.ca) as client:
            return client.do_get(flight.Ticket(sql.encode()), options).read_all()

    def publish(self, topic: str, payload: object) -> None:
        """One message to the broker, as a sensor would."""
        broker = urlsplit(self.services["mqtt"])
        to = ["-h", broker.hostname, "-p", str(broker.port), "-q", "1", "-t", topic]
        command = ["mosquitto_pub", *to, "-m", json.dumps(payload)]
        subprocess.run(command, check=True, timeout=PATIENCE_S)

    def kill_query(self) -> None:
        """Ends the query service without warning, and waits until it was started again."""
        before = self.services["pids"]["query"]
        os.kill(before, signal.SIGKILL)
        # While it is away the file does not name it.
        again = lambda: self.services["pids"].get("query", before) != before  # noqa: E731
        until(again, "the service is started again")


Check = Callable[[City], None]
ViewCheck = Callable[[City, str], None]
CHECKS: list[tuple[str, Check]] = []
# Of a city that asks for a token: the others are not made there.
CHECKS_WITH_TOKEN: list[tuple[str, Check]] = []


def check(function: Check) -> Check:
    CHECKS.append((promise(function), function))
    return function


def check_with_token(function: Check) -> Check:
    CHECKS_WITH_TOKEN.append((promise(function), function))
    return function


def check_of(*views: str) -> Callable[[ViewCheck], ViewCheck]:
    """A check that is made once for each of these views, which is named in its promise."""

    def register(function: ViewCheck) -> ViewCheck:
        for view in views:
            CHECKS.append((f"{view}: {promise(function)}", partial(function, view=view)))
        return function

    return register


check_of_each_view = check_of(*VIEWS)


def promise(function: Callable[..., None]) -> str:
    return function.__name__.replace("_", " ")


def until(holds: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    end = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < end, f"not within {patience_s:.0f} s: {what}"
        time.sleep(0.05)


def web_address(flight_url: str) -> str:
    url = urlsplit(flight_url)
    return f"http{'s' if url.scheme == 'grpc+tls' else ''}://{url.netloc}"


def arguments_of(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--url", help="of the dashboard, such as http://127.0.0.1:8815")
    parser.add_argument(
        "--flight", metavar="URL", help="of the service, where the page comes from Vite [default: as --url]"
    )
    parser.add_argument("--ready", metavar="FILE", help="what `screenline up --ready-file` wrote")
    parser.add_argument("--token", help="bearer token")
    parser.add_argument(
        "--ca", metavar="FILE", help="authorities (PEM) of the server's certificate"
    )
    chromium = os.environ.get("SCREENLINE_TEST_CHROMIUM", "/usr/bin/chromium")
    parser.add_argument("--chromium", default=chromium, metavar="PROGRAM")
    parser.add_argument("--pictures", metavar="FOLDER", help="for screenshots of the views")
    parser.add_argument(
        "--only", action="append", metavar="WORDS", help="checks with this in the name; may be repeated"
    )
    return parser


def run(description: str) -> None:
    """Makes all checks in order, says how each went, and exits with 1 if one failed."""
    parser = arguments_of(description)
    arguments = parser.parse_args()
    if not (arguments.url or arguments.ready):
        parser.error("--url or --ready is needed")
    checks = CHECKS_WITH_TOKEN if arguments.token else CHECKS
    only = arguments.only or [""]
    wanted = [(name, function) for name, function in checks if any(words in name for words in only)]
    if not Path(arguments.chromium).exists():
        print(f"SKIPPED  the dashboard in a browser: there is no {arguments.chromium}")
        return
    passed = failed = 0
    with sync_playwright() as playwright:
        city = City(arguments, playwright)
        for name, function in wanted:
            began = time.monotonic()
            try:
                function(city)
            except Skipped as why:
                print(f"SKIPPED  {name}: {why}")
            except Exception as error:  # the next check may still say more
                failed += 1
                print(f"FAILED   {name}: {words_of(error)}")
            else:
                passed += 1
                print(f"ok       {name} ({time.monotonic() - began:.1f} s)")
            sys.stdout.flush()
    print(f"{passed} passed, {failed} failed, {len(wanted) - passed - failed} skipped")
    sys.exit(failed != 0)


def words_of(error: Exception) -> str:
    here = Path(__file__).parent
    places = [at for at in traceback.extract_tb(error.__traceback__) if Path(at.filename).parent == here]
    where = f"{Path(places[-1].filename).name}:{places[-1].lineno}" if places else "?"
    text = error.message if isinstance(error, Error) else str(error)
    return f"{text or places[-1].line} ({type(error).__name__}, {where})"
