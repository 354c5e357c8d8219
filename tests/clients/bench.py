"""How fast answers come, beside what others need for the same rows in the same minutes.

The ready file is that of an empty city without other load, as `deploy/bench query` starts one. Its
database is filled first. What is compared takes turns, each figure is the median of its rounds, and
nothing is asserted: the bars are printed beside what was reached.
"""

import argparse
import json
import multiprocessing
import re
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import adbc_driver_postgresql.dbapi as postgres
import pyarrow as pa
import pyarrow.flight as flight

MEASURED, DAYS, RUNS = 500, 30, 20  # sensors with readings; of hours; of what has a bound
DAY = timedelta(days=1)
NOW = datetime.now(timezone.utc)
TODAY = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
CLOSED = TODAY - 2 * DAY  # yesterday may not be settled yet
MILLION = (CLOSED + DAY / 4, CLOSED + DAY / 4 + timedelta(seconds=40_000))  # every 20 s
MONTH = (CLOSED - DAYS * DAY, CLOSED)
COLUMNS = ["time", "sensor", "metric", "value", "unit", "quality", "received_at"]

REGISTRY = """
INSERT INTO segment (id) SELECT 'road-' || n FROM generate_series(0, 999) AS n;
INSERT INTO sensor (id, privacy, segment)
SELECT 'loop-' || n, 'public', 'road-' || n % 1000 FROM generate_series(1, 10000) AS n;
INSERT INTO series (sensor, metric, unit, kind, interval_s)
SELECT 'loop-' || n, 'traffic.speed', 'km/h', 'gauge', 20 FROM generate_series(1, 10000) AS n;
UPDATE city SET registry_version = registry_version + 1;
"""
PARTITION = """
CREATE TABLE IF NOT EXISTS reading_{day:%Y%m%d} PARTITION OF reading
FOR VALUES FROM ('{day}') TO ('{end}');
"""
# Speeds of a free road: about a mean of each detector, with a spread of some 7 km/h.
READINGS = """
INSERT INTO reading (time, series_id, value, quality, received_at)
SELECT time, id, trunc(10 * (35 + id % 40 + 8 * (random() + random() + random()))) / 10, 0,
    time + interval '1.234567 s'
FROM generate_series('{first}'::timestamptz, '{last}', '{step} us') AS time,
    generate_series(1, {sensors}) AS id
ORDER BY time, id;
INSERT INTO dirty (level, bucket, part, batch)
SELECT 0, bucket, part, 0
FROM generate_series('{first}'::timestamptz, '{last}', '5 min') AS bucket,
    generate_series(0, 63) AS part;
"""
# A month of 10,000 series, out of what was rolled of one day.
HOURS = """
CREATE TEMP TABLE one AS SELECT row_number() OVER () - 1 AS n, * FROM rollup_1h
WHERE bucket = '{day}'::timestamptz + interval '8 hours';
INSERT INTO rollup_1h (bucket, series_id, count, flagged, expected, sum, residue, min, max, first,
    first_time, last, last_time, late, state)
SELECT time, id, count, flagged, expected, sum, residue, min, max, first,
    time + (first_time - bucket), last, time + (last_time - bucket), late, state
FROM generate_series('{first}'::timestamptz, '{last}', '1 hour') AS time,
    generate_series(1, 10000) AS id JOIN one ON n = id % (SELECT count(*) FROM one)
ORDER BY time, id;
INSERT INTO rollup_1d (bucket, series_id, count, flagged, last, last_time, ends, time_zone)
SELECT date_trunc('day', last_time), series_id, count, flagged, last, last_time,
    date_trunc('day', last_time) + interval '1 day', 'UTC'
FROM rollup_1h WHERE bucket = '{day}'::timestamptz - interval '1 hour'
ON CONFLICT DO NOTHING;
"""


def psql(url: str, script: str) -> str:
    command = ["psql", "--quiet", "--no-align", "--tuples-only", "-v", "ON_ERROR_STOP=1", url]
    return subprocess.run(
        command, input=script, text=True, check=True, stdout=subprocess.PIPE
    ).stdout.strip()


def fill(url: str, storage: str) -> None:
    """A closed day of readings, a million of today, and a month of hours before them."""
    psql(url, REGISTRY)
    count = 1_000_000 // MEASURED
    open_step = max(NOW - timedelta(minutes=15) - TODAY, timedelta(minutes=1)) / count
    for day, step, count in [(CLOSED, timedelta(seconds=20), 4320), (TODAY, open_step, count)]:
        if storage == "plain":  # TimescaleDB makes its chunks itself
            psql(url, PARTITION.format(day=day, end=day + DAY))
        ends = {"first": day, "last": day + step * count - step / 2}
        micros = step // timedelta(microseconds=1)
        psql(url, READINGS.format(**ends, step=micros, sensors=MEASURED))
    # Hours and the day that are open stay in the list.
    open_since = f"CASE level WHEN 0 THEN now() - interval '10 min' ELSE '{TODAY}' END"
    rolled = f"SELECT NOT EXISTS (SELECT FROM dirty WHERE bucket < {open_since})"
    until(lambda: psql(url, rolled) == "t", "all readings are rolled")
    psql(url, HOURS.format(day=CLOSED, first=MONTH[0], last=MONTH[1] - DAY / 24))
    psql(url, "VACUUM ANALYZE reading; VACUUM ANALYZE rollup_1h; ANALYZE series; ANALYZE sensor")


def until(holds: Callable[[], bool], what: str, patience_s: float = 300) -> None:
    end = time.monotonic() + patience_s
    while not holds():
        if end < time.monotonic():
            raise SystemExit(f"not within {patience_s:.0f} s: {what}")
        time.sleep(0.3)


def serve(path: str, port: "multiprocessing.Queue[int]") -> None:
    """The same batches out of memory, by the Flight server of pyarrow."""
    table = pa.ipc.open_file(path).read_all()

    class Memory(flight.FlightServerBase):
        def do_get(self, _context: object, _ticket: flight.Ticket) -> flight.FlightDataStream:
            return flight.RecordBatchStream(table)

    server = Memory("grpc+tcp://127.0.0.1:0")
    port.put(server.port)
    server.serve()


def within(column: str, ends: tuple[datetime, datetime]) -> str:
    return f"{column} >= '{ends[0].isoformat()}' AND {column} < '{ends[1].isoformat()}'"


def seconds(ask: Callable[[], object]) -> float:
    began = time.perf_counter()
    ask()
    return time.perf_counter() - began


class Bench:
    def __init__(self, ready: dict, rounds: int) -> None:
        self.client = flight.FlightClient(ready["flight"].replace("grpc://", "grpc+tcp://"))
        self.metrics, self.rounds = ready["metrics"], rounds
        self.database = postgres.connect(ready["database"], autocommit=True)
        self.results: list[dict] = []

    def get(self, text: str) -> pa.Table:
        return self.client.do_get(flight.Ticket(text.encode())).read_all()

    def first(self, text: str) -> None:
        reader = self.client.do_get(flight.Ticket(text.encode()))
        reader.read_chunk()
        reader.cancel()

    def adbc(self, ends: tuple[datetime, datetime]) -> pa.Table:
        """The same rows and columns, from the database itself."""
        series = "JOIN series ON series.id = series_id"
        with self.database.cursor() as cursor:
            cursor.execute(
                f"SELECT {', '.join(COLUMNS)} FROM reading {series} WHERE {within('time', ends)}"
            )
            return cursor.fetch_arrow_table()

    def warm(self, text: str, segments: int) -> None:
        """Asks until so many days are kept as segments, also after a new start of the service."""

        def kept() -> bool:
            try:
                self.get(text)
            except flight.FlightUnavailableError:
                return False
            with urllib.request.urlopen(self.metrics, timeout=10) as page:
                found = re.search(rb"^screenline_segments(?:\{.*\})? (\S+)", page.read(), re.M)
            return found is not None and segments <= float(found[1])

        until(kept, f"{segments} segments")
        self.get(text)

    def turns(self, asked: dict[str, Callable[[], object]]) -> dict[str, float]:
        taken = [{name: seconds(ask) for name, ask in asked.items()} for _ in range(self.rounds)]
        return {name: statistics.median(one[name] for one in taken) for name in asked}

    def say(
        self, what: str, rows: int, taken: float | None, reached: str = "", bar: str = ""
    ) -> None:
        row = {"what": what, "rows": rows, "seconds": taken, "reached": reached, "bar": bar}
        self.results.append(row)
        speed = f"{taken:.4f} | {rows / taken:,.0f}" if taken else " | "
        print(f"| {what} | {rows:,} | {speed} | {reached} | {bar} |")

    def slowest(self, what: str, sql: str, bar: str) -> None:
        """Of so many runs the slowest; `rows` are those of the answer."""
        self.warm(f"SELECT count(*) FROM rollup_1h WHERE {within('time', MONTH)}", DAYS)
        try:
            rows = self.get(sql).num_rows
            taken = [seconds(lambda: self.get(sql)) for _ in range(RUNS)]
            p99 = f"{1000 * max(taken):.0f} ms p99"
            self.say(what, rows, statistics.median(taken), p99, bar)
        except pa.ArrowException as error:
            why = str(error).split("message: ")[-1].split(" gRPC client")[0]
            self.say(what, 0, None, f"FAILED: {why[:100]}", bar)

    def run(self) -> None:
        def ticket(ends: tuple[datetime, datetime]) -> str:
            times = {"from": ends[0].isoformat(), "to": ends[1].isoformat()}
            return json.dumps({"dataset": "reading", "columns": COLUMNS, **times})

        sql = f"SELECT {', '.join(COLUMNS)} FROM reading WHERE {within('time', MILLION)}"
        open_day = (TODAY, TODAY + DAY)
        closed, today = ticket(MILLION), ticket(open_day)
        self.warm(closed, 1)
        table = self.get(closed)
        with tempfile.NamedTemporaryFile() as file:
            with pa.ipc.new_file(file.name, table.schema) as writer:
                writer.write_table(table)
            spawn = multiprocessing.get_context("spawn")
            port = spawn.Queue()
            server = spawn.Process(target=serve, args=(file.name, port), daemon=True)
            server.start()
            memory = flight.FlightClient(f"grpc+tcp://127.0.0.1:{port.get(timeout=60)}")
        print("\n| what | rows | s | rows/s | reached | bar |\n|---|---:|---:|---:|---:|---|")
        asked = {
            "closed day, ticket": lambda: self.get(closed),
            "closed day, SQL": lambda: self.get(sql),
            "adbc-postgresql, closed day": lambda: self.adbc(MILLION),
            "from memory": lambda: memory.do_get(flight.Ticket(b"")).read_all(),
        }
        taken = self.turns(asked)
        server.kill()
        beside = {"adbc-postgresql, closed day": ">= 5", "from memory": ">= 0.5"}
        for name in taken:
            self.say(name, table.num_rows, taken[name])
            for other, bar in beside.items() if name.startswith("closed") else []:
                ratio = f"{taken[other] / taken[name]:.2f} x"
                self.say(f"{name} / {other}", table.num_rows, taken[name], ratio, bar)
        firsts = {"ticket": lambda: self.first(closed), "SQL": lambda: self.first(sql)}
        for name, first in self.turns(firsts).items():
            self.say(f"first batch, {name}", 1, first, f"{1000 * first:.0f} ms", "<= 50")
        rows = self.get(today).num_rows
        opened = self.turns({"ours": lambda: self.get(today), "adbc": lambda: self.adbc(open_day)})
        ratio = f"{opened['adbc'] / opened['ours']:.2f} x"
        self.say("open day, ticket / adbc-postgresql", rows, opened["ours"], ratio, ">= 0.9")
        days = (
            "SELECT s.segment, date_bin('1 day', r.time) AS day, {} FROM rollup_1h AS r "
            f"JOIN sensor AS s ON s.id = r.sensor WHERE {within('r.time', MONTH)} GROUP BY 1, 2"
        )
        one = f"sensor = 'loop-4711' AND {within('time', MONTH)}"
        one = f"SELECT time, sum / count AS mean FROM rollup_1h WHERE {one} ORDER BY time"
        mean = days.format("sum(r.sum) AS volume, sum(r.sum) / sum(r.count) AS mean")
        newest = "SELECT time, sensor, metric, value, unit FROM latest"
        self.slowest("latest value of 10,000 sensors", newest, "<= 20")
        self.slowest("one series, a month of hours", one, "<= 100")
        self.slowest("days by road, 7.2 M hours: volume, mean", mean, "<= 200")
        self.slowest("days by road, 7.2 M hours: v85", days.format("v85(r.state)"), "<= 2000")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ready", type=Path, help="ready file of an empty city")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--filled", action="store_true", help="the rows of an earlier run are there"
    )
    arguments = parser.parse_args()
    ready = json.loads(arguments.ready.read_text())
    if not arguments.filled:
        took = seconds(lambda: fill(ready["database"], ready["storage"]))
        print(f"filled in {took:.0f} s, storage {ready['storage']}")
    bench = Bench(ready, arguments.rounds)
    bench.run()
    if arguments.json:
        arguments.json.write_text(json.dumps(bench.results, indent=1) + "\n")


if __name__ == "__main__":
    main()
