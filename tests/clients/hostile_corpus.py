"""Hostile statements, tickets, descriptors, actions, parameters and headers, for hostile.py."""

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass, field

import wire


@dataclass
class Case:
    """One hostile call."""

    name: str
    method: str
    messages: list[bytes]
    # Whether an answer is fine as well.
    harmless: bool = False
    # Whether the answer takes long, so that the client leaves: nothing else may suffer.
    slow: bool = False
    headers: list[tuple[str, str | bytes]] = field(default_factory=list)
    # Whether the headers stand in place of our own credentials.
    anonymous: bool = False


# ---------------------------------------------------------------- SQL

REFUSED_SQL = """
SELECT 1; DROP TABLE reading
SELECT 1; SELECT 2
'; DROP TABLE reading; --
SELECT * FROM reading WHERE sensor = '' OR 1 = 1; DELETE FROM reading
SELECT * FROM reading WHERE sensor = 'x' UNION SELECT usename FROM pg_user --
SELECT 1 /* no end
SELECT 'no end
SELECT "no end
SELECT $tag$ no end
CREATE TABLE stolen (a INT)
CREATE TABLE stolen AS SELECT * FROM reading
CREATE TEMPORARY TABLE stolen AS SELECT 1
CREATE VIEW stolen AS SELECT * FROM reading
CREATE OR REPLACE VIEW reading AS SELECT 1
CREATE OR REPLACE TABLE reading AS SELECT 1
CREATE SCHEMA stolen
CREATE DATABASE stolen
CREATE EXTERNAL TABLE passwd STORED AS CSV LOCATION '/etc/passwd'
CREATE EXTERNAL TABLE meta STORED AS CSV LOCATION 'http://169.254.169.254/latest/meta-data'
CREATE UNBOUNDED EXTERNAL TABLE passwd STORED AS JSON LOCATION 'file:///etc/passwd'
CREATE FUNCTION f() RETURNS INT RETURN 1
CREATE FUNCTION f() RETURNS INT LANGUAGE c AS '/lib/libc.so.6', 'system'
CREATE INDEX stolen ON reading (time)
CREATE ROLE stolen SUPERUSER
CREATE USER stolen PASSWORD 'x'
CREATE EXTENSION dblink
CREATE TRIGGER t AFTER INSERT ON reading EXECUTE FUNCTION f()
ALTER TABLE reading ADD COLUMN stolen INT
ALTER TABLE reading RENAME TO stolen
ALTER ROLE screenline SUPERUSER
ALTER SYSTEM SET log_statement = 'all'
DROP TABLE reading
DROP TABLE IF EXISTS reading CASCADE
DROP VIEW reading
DROP SCHEMA public CASCADE
DROP FUNCTION abs
TRUNCATE TABLE reading
COMMENT ON TABLE reading IS 'stolen'
GRANT ALL ON reading TO public
REVOKE ALL ON reading FROM public
VACUUM FULL reading
ANALYZE TABLE reading COMPUTE STATISTICS
REINDEX TABLE reading
INSERT INTO sensor (id) VALUES ('stolen')
INSERT INTO reading SELECT * FROM reading
INSERT OVERWRITE reading SELECT * FROM reading
REPLACE INTO sensor (id) VALUES ('stolen')
UPDATE reading SET value = 0
DELETE FROM reading
DELETE FROM reading WHERE 1 = 1 RETURNING *
MERGE INTO sensor AS a USING sensor AS b ON a.id = b.id WHEN MATCHED THEN DELETE
WITH x AS (DELETE FROM reading RETURNING *) SELECT * FROM x
WITH x AS (INSERT INTO sensor (id) VALUES ('stolen') RETURNING id) SELECT * FROM x
WITH x AS (UPDATE reading SET value = 0 RETURNING *) SELECT * FROM x
SELECT * INTO stolen FROM reading
COPY reading TO '/tmp/screenline-stolen.csv'
COPY reading TO 'http://127.0.0.1:1/stolen' STORED AS CSV
COPY (SELECT 1) TO '/tmp/screenline-stolen.parquet' STORED AS PARQUET
COPY (SELECT 1) TO PROGRAM 'id'
COPY reading FROM '/etc/passwd'
COPY reading FROM PROGRAM 'id'
COPY reading TO STDOUT
EXPLAIN INSERT INTO sensor (id) VALUES ('stolen')
EXPLAIN DELETE FROM reading
EXPLAIN ANALYZE DELETE FROM reading
EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/screenline-stolen.csv'
EXPLAIN CREATE TABLE stolen AS SELECT 1
LOCK TABLE reading IN ACCESS EXCLUSIVE MODE
CALL stolen()
DO $$ BEGIN DELETE FROM reading; END $$
PREPARE p AS DELETE FROM reading
PREPARE p AS SELECT 1
EXECUTE p
DEALLOCATE ALL
DECLARE c CURSOR FOR SELECT * FROM reading
FETCH ALL FROM c
BEGIN
START TRANSACTION READ WRITE
COMMIT
ROLLBACK
SAVEPOINT a
SET search_path = pg_catalog
SET ROLE postgres
SET TIME ZONE 'Europe/Berlin'
SET datafusion.execution.batch_size = 1
SET datafusion.runtime.memory_limit = '100G'
SET datafusion.runtime.temp_directory = '/etc'
SET statement_timeout = 0
RESET datafusion.runtime.memory_limit
USE postgres
KILL 1
LOAD 'libc.so.6'
INSTALL httpfs
ATTACH DATABASE '/etc/passwd' AS stolen
DETACH stolen
PRAGMA database_list
LISTEN stolen
NOTIFY stolen
UNLOAD stolen
DISCARD ALL
CHECKPOINT
SHOW CREATE TABLE readings
SELECT pg_read_file('/etc/passwd')
SELECT pg_read_binary_file('/etc/passwd')
SELECT pg_ls_dir('.')
SELECT pg_stat_file('/etc/passwd')
SELECT lo_import('/etc/passwd')
SELECT lo_export(1, '/tmp/stolen')
SELECT pg_sleep(60)
SELECT sleep(60)
SELECT benchmark(1000000000, md5('x'))
SELECT set_config('statement_timeout', '0', false)
SELECT current_setting('data_directory')
SELECT pg_terminate_backend(1)
SELECT pg_cancel_backend(1)
SELECT pg_advisory_lock(1)
SELECT pg_backend_pid(), inet_server_addr()
SELECT pg_reload_conf()
SELECT pg_notify('x', 'y')
SELECT dblink('host=127.0.0.1', 'SELECT 1')
SELECT query_to_xml('SELECT * FROM pg_shadow', true, true, '')
SELECT nextval('revision_id_seq')
SELECT txid_current()
SELECT current_user
SELECT getenv('PATH')
SELECT xp_cmdshell('id')
SELECT load_extension('x')
SELECT sys_exec('id')
SELECT read_file('/etc/passwd')
SELECT load_file('/etc/passwd')
SELECT * FROM read_csv('/etc/passwd')
SELECT * FROM read_csv_auto('/etc/passwd')
SELECT * FROM read_parquet('/etc/passwd')
SELECT * FROM read_text('/etc/passwd')
SELECT * FROM parquet_metadata('/etc/passwd')
SELECT * FROM glob('/*')
SELECT * FROM '/etc/passwd'
SELECT * FROM "/etc/passwd"
SELECT * FROM '/etc/passwd.csv'
SELECT * FROM "file:///etc/passwd.csv"
SELECT * FROM 's3://bucket/x.parquet'
SELECT * FROM "http://169.254.169.254/latest/meta-data.json"
SELECT * FROM pg_catalog.pg_shadow
SELECT * FROM pg_authid
SELECT * FROM pg_stat_activity
SELECT * FROM information_schema.role_table_grants
SELECT * FROM postgres.public.reading
SELECT * FROM datafusion.public.reading
SELECT * FROM screenline.pg_catalog.pg_class
SELECT * FROM a.screenline.public.reading
SELECT * FROM quarantine
SELECT * FROM message
SELECT * FROM source_gap
SELECT * FROM timescaledb_information.chunks
SELECT * FROM _timescaledb_internal._hyper_1_1_chunk
SELECT * FROM "Reading"
SELECT * FROM "reading; DROP TABLE reading"
SELECT payload FROM rejection
SELECT series_id FROM reading
SELECT residue FROM rollup_1h
SELECT ctid, xmin, tableoid FROM reading
SELECT "time; DROP TABLE reading" FROM reading
SELECT * FROM reading WHERE sensor = sensor = sensor
ＳＥＬＥＣＴ 1
SELECT * FROM read\u200bing
SELECT * FROM \u202egnidaer
SELECT ѕensor FROM reading
SELECT * FROM reading\u0000; DROP TABLE reading
\ufeff; DROP TABLE reading
SELECT U&'\\0027' FROM nowhere
💥
SELECT 1 / (quality - quality) FROM reading
SELECT CAST('x' AS BIGINT)
SELECT CAST(1e300 AS INT)
SELECT abs(-9223372036854775808)
SELECT factorial(1000)
SELECT chr(-1)
SELECT ''::timestamp
SELECT timestamp '0000-00-00 99:99:99'
SELECT date '999999-01-01' + interval '1 day'
SELECT INTERVAL '9999999999 years'
SELECT arrow_cast(1, 'Bogus')
SELECT arrow_cast(1, 'Dictionary(Int8, Dictionary(Int8, Nonsense))')
SELECT date_bin(interval '0 seconds', time) FROM reading
SELECT date_trunc('eternity', time) FROM reading
SELECT substr('abc', -9223372036854775808, -1)
SELECT repeat('x', 10000000000)
SELECT repeat(arrow_cast('x', 'LargeUtf8'), 9000000000000) IS NULL
SELECT 'a' LIKE repeat(arrow_cast('x', 'LargeUtf8'), 9000000000000)
SELECT 'a' NOT IN (repeat(arrow_cast('x', 'LargeUtf8'), 9000000000000), 'b')
SELECT CASE WHEN repeat(arrow_cast('x', 'LargeUtf8'), 9000000000000) = 'x' THEN 1 END
SELECT count(*) FILTER (WHERE repeat(arrow_cast('x', 'LargeUtf8'), 9000000000000) = 'x') FROM reading
SELECT row_number() OVER (ORDER BY repeat(sensor, 100000000)) FROM reading
SELECT regexp_like('a', '(a{1000}){1000}')
SELECT regexp_replace('a', '(', 'x')
SELECT first_value(value) OVER (ROWS BETWEEN -1 PRECEDING AND CURRENT ROW) FROM reading
SELECT approx_percentile_cont(value, 7) FROM reading
SELECT $1
SELECT ?
SELECT $0
SELECT $99999999999999999999
SELECT $name
SELECT * FROM reading LIMIT -1
SELECT * FROM reading LIMIT 'all of it'
SELECT * FROM reading ORDER BY 99
SELECT (SELECT time, value FROM reading)
SELECT (SELECT value FROM reading)
SELECT * FROM
FROM
SELECT , FROM reading
SELECT count(count(*)) FROM reading
SELECT value FROM reading GROUP BY sensor
SELECT unnest(5)
WITH RECURSIVE t AS (SELECT t.* FROM t) SELECT * FROM t
SELECT * FROM generate_series(1, 10, 0)
SELECT * FROM generate_series(1, 9223372036854775808)
"""

# A refusal of these is fine too.
HARMLESS_SQL = """
SELECT version()
SHOW ALL
SHOW TABLES
SHOW COLUMNS FROM reading
SHOW FUNCTIONS LIKE 'pg_%'
DESCRIBE reading
SELECT * FROM information_schema.tables
SELECT * FROM information_schema.views
SELECT * FROM information_schema.df_settings
SELECT * FROM information_schema.schemata
SELECT * FROM information_schema.routines
EXPLAIN SELECT * FROM reading WHERE sensor = 'x'
EXPLAIN VERBOSE SELECT count(*) FROM event
EXPLAIN ANALYZE SELECT count(*) FROM sensor
EXPLAIN FORMAT TREE SELECT * FROM conflict
SELECT * FROM reading LIMIT 0 FOR UPDATE
SELECT 1 -- ; DROP TABLE reading
SELECT '; DROP TABLE reading; --' AS text
SELECT count(*) FROM reading WHERE sensor = ''' OR 1 = 1 --'
SELECT arrow_typeof(state) FROM rollup_5m LIMIT 1
SELECT 9223372036854775807 + 1
SELECT now() AT TIME ZONE 'Nowhere/Land'
SELECT sensor FROM reading TABLESAMPLE nonsense (5)
SELECT power(10, 400), exp(1000), sqrt(-1), ln(0)
SELECT to_timestamp(9223372036854775807)
SELECT count(*) FROM reading GROUP BY CUBE (sensor, metric, unit, quality)
SELECT upper('ſß'), lower('İ'), reverse('e\u0301'), initcap('ǆ')
SELECT 'a\u0000b' AS text
SELECT * FROM reading AS "'; DROP TABLE reading; --" LIMIT 1
"""


def generated_sql() -> Iterable[tuple[str, str]]:
    """Refused statements that are too large to be written down."""
    n = 20_000
    yield "parentheses", "SELECT " + "(" * n + "1" + ")" * n
    yield "parentheses without end", "SELECT " + "(" * n
    yield "NOT of NOT", "SELECT " + "NOT " * n + "true"
    yield "minus of minus", "SELECT " + "- " * n + "1"
    yield "a sum of many", "SELECT 1" + " + 1" * n
    yield "AND of many", "SELECT 1 WHERE true" + " AND true" * n
    yield "CASE in CASE", "SELECT " + "CASE WHEN true THEN " * 2000 + "1" + " END" * 2000
    yield "malformed CASE in CASE", "SELECT " + "CASE WHEN true THEN " * 2000
    yield "CAST in CAST", "SELECT " + "CAST(" * 3000 + "1" + " AS INT)" * 3000
    yield "functions in functions", "SELECT " + "abs(" * 3000 + "1" + ")" * 3000
    yield "subqueries in FROM", "SELECT * FROM (" * 2000 + "SELECT 1" + ")" * 2000
    yield "subqueries in IN", "SELECT 1 WHERE 1 IN (" * 1000 + "SELECT 1" + ")" * 1000
    yield "EXISTS in EXISTS", "SELECT 1 WHERE EXISTS (" * 1000 + "SELECT 1" + ")" * 1000
    yield "separators in separators", "SELECT " + "concat_ws(" * 5 + "'x'" + (", ''" * 1000 + ")") * 5
    yield "a long text in each row", "SELECT '" + "x" * 250_000 + "' FROM reading"
    yield "more tables than connections", " UNION ALL ".join(
        ["SELECT time, count FROM rollup_1h"] * 40
    ) + " ORDER BY time"
    yield "WITH in WITH", "WITH a AS (" * 200 + "SELECT 1" + ") SELECT * FROM a" * 200
    yield "WITH doubling", "WITH a0 AS (SELECT 1 AS x)" + "".join(
        f", a{i} AS (SELECT a.x FROM a{i - 1} AS a CROSS JOIN a{i - 1} AS b)" for i in range(1, 60)
    ) + " SELECT * FROM a59"
    yield "UNION of many", "SELECT 1" + " UNION ALL SELECT 1" * 5000
    yield "joins of many", "SELECT 1 FROM sensor" + "".join(
        f" JOIN sensor AS s{i} USING (id)" for i in range(500)
    )
    yield "names with dots", "SELECT " + "a." * n + "b"
    yield "arrays in arrays", "SELECT " + "[" * n + "]" * n
    yield "types in types", "SELECT arrow_cast(NULL, '" + "List(" * n + "Int8" + ")" * n + "')"
    yield "many statements", "SELECT 1;" * n
    yield "a long name", "SELECT " + "x" * 200_000
    yield "a huge number", "SELECT 1" + "0" * 200_000 + " + now()"
    yield "a statement of 3 MB", "SELECT '" + "x" * 3_000_000 + "'"
    yield "comments in comments", "SELECT " + "/*" * n
    yield "marks above a letter", "SELECT a" + "\u0301" * 50_000
    yield "a cube of 24", "SELECT count(*) FROM reading GROUP BY CUBE (" + ", ".join(
        f"value + {i}" for i in range(24)
    ) + ")"
    yield "parameters without values", "SELECT " + ", ".join(f"${i}" for i in range(1, 900))


# Of these, what may be planned as long as it does not run.
PLANNED = {"a cube of 24", "more tables than connections", "parameters without values"}

# Each takes all it can get of memory or time.
GREEDY_SQL = """
SELECT lpad('x', 2147483647)
SELECT rpad('x', 2000000000, 'y') FROM reading
SELECT repeat('x', 2000000000)
SELECT repeat(sensor, 10000000) FROM reading
SELECT repeat(repeat('x', 1000000), 2000)
SELECT concat(repeat('x', 1000000000), repeat('y', 1000000000), repeat('z', 1000000000))
SELECT replace(repeat('x', 1000000), 'x', repeat('y', 100000))
SELECT regexp_replace(repeat('a', 10000000), '(a*)*b', 'c')
SELECT translate(repeat('x', 500000000), 'x', 'yy')
SELECT string_agg(a.sensor || b.sensor, ',') FROM reading AS a CROSS JOIN reading AS b
SELECT array_agg(a.time) FROM reading AS a CROSS JOIN reading AS b
SELECT count(DISTINCT a.time::text || b.time::text) FROM reading AS a CROSS JOIN reading AS b
SELECT * FROM reading AS a CROSS JOIN reading AS b ORDER BY a.value * b.value
SELECT count(*) FROM reading AS a CROSS JOIN reading AS b CROSS JOIN reading AS c
SELECT count(*) FROM reading AS a JOIN reading AS b ON a.value < b.value + random()
SELECT sum(value) FROM generate_series(1, 9223372036854775806)
WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t
WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT a.n FROM t AS a, t AS b) SELECT count(*) FROM t
SELECT sum(value) OVER () FROM generate_series(1, 300000000)
SELECT string_agg(value::text, ',') FROM generate_series(1, 300000000)
SELECT median(value) FROM generate_series(1, 300000000)
"""


def lines(text: str) -> list[str]:
    return [
        line.encode().decode("unicode_escape").encode("latin-1").decode() if "\\u" in line else line
        for line in text.strip().splitlines()
    ]


def statements() -> Iterable[Case]:
    for sql in lines(REFUSED_SQL):
        yield Case(sql, "DoGet", [wire.ticket(sql)])
    for sql in lines(HARMLESS_SQL):
        yield Case(sql, "DoGet", [wire.ticket(sql)], harmless=True)
    for name, sql in generated_sql():
        yield Case(name, "DoGet", [wire.ticket(sql)])
        body = wire.command("ActionCreatePreparedStatementRequest", wire.field(1, sql))
        prepare = wire.action("CreatePreparedStatement", body)
        yield Case(f"{name}, prepared", "DoAction", [prepare], harmless=name in PLANNED)
    for sql in lines(GREEDY_SQL):
        yield Case(sql, "DoGet", [wire.ticket(sql)], slow=True)


# ---------------------------------------------------------------- tickets and descriptors


def tickets() -> Iterable[Case]:
    def ticket(name: str, data: bytes | str, **more: bool) -> Case:
        return Case(f"ticket: {name}", "DoGet", [wire.ticket(data)], **more)

    for text in [
        "{}",
        "[]",
        "{",
        "null",
        '{"dataset": 5}',
        '{"dataset": null}',
        '{"dataset": ""}',
        '{"dataset": "reading; DROP TABLE reading"}',
        '{"dataset": "../../etc/passwd"}',
        '{"dataset": "information_schema.df_settings"}',
        '{"dataset": "pg_catalog.pg_shadow"}',
        '{"dataset": "source_gap"}',
        '{"dataset": "READING"}',
        '{"dataset": "reading\\u0000"}',
        '{"dataset": "\\ud800"}',
        '{"dataset": "reading", "dataset": "event"}',
        '{"dataset": "reading", "where": "1 = 1"}',
        '{"dataset": "reading", "columns": ["*"]}',
        '{"dataset": "reading", "columns": ["count(*)"]}',
        '{"dataset": "reading", "columns": ["series_id"]}',
        '{"dataset": "reading", "columns": ["time; DROP TABLE reading"]}',
        '{"dataset": "reading", "columns": "time"}',
        '{"dataset": "reading", "columns": ["time", "time"]}',
        '{"dataset": "rejection", "columns": ["payload"]}',
        '{"dataset": "reading", "limit": -1}',
        '{"dataset": "reading", "limit": 1e400}',
        '{"dataset": "reading", "limit": 18446744073709551616}',
        '{"dataset": "reading", "limit": "1; DROP TABLE reading"}',
        '{"dataset": "reading", "from": "yesterday"}',
        '{"dataset": "reading", "from": "-009999-01-02T00:00:00Z"}',
        '{"dataset": "reading", "to": "9999-12-30T00:00:00Z"}',
        '{"dataset": "reading", "from": 0}',
        '{"dataset": "reading", "sensor": "x"}',
        '{"dataset": "reading", "sensor": [null]}',
        '{"dataset": "sensor", "from": "2024-01-01T00:00:00Z"}',
        '{"dataset": "zone", "metric": ["x"]}',
        '{"dataset": "reading"} {"dataset": "event"}',
        '{"dataset": "reading", "live": 1}',
        '{"dataset": "reading", "live": true, "limit": 1}',
        '{"dataset": "reading", "live": true, "from": "2024-01-01T00:00:00Z"}',
        '{"dataset": "ledger", "live": true}',
        '{"dataset": "reading", "resume": ""}',
        '{"dataset": "reading", "resume": "1/2/3:4:"}',
        '{"dataset": "reading", "resume": "1.1.1.1/0/0:0:"}',
        '{"dataset": "reading", "resume": "\'; DROP TABLE reading; --"}',
        '{"dataset": "reading", "id": ""}',
        '{"dataset": "reading", "id": "a b"}',
        '{"dataset": "reading", "id": "../../x"}',
    ]:
        yield ticket(text, text)
    yield ticket("deep JSON", '{"dataset":' * 5000)
    yield ticket("deep JSON in an unknown field", '{"x":' + "[" * 20_000)
    yield ticket("a long list", json.dumps({"dataset": "reading", "sensor": ["x" * 10] * 50_000}))
    yield ticket("a long id", json.dumps({"dataset": "reading", "id": "x" * 65}))
    yield ticket("a long place", json.dumps({"dataset": "reading", "resume": "1/1/" + "1," * 50_000}))
    yield ticket("a long name", json.dumps({"dataset": "x" * 200_000}))
    yield ticket(
        "a value like SQL", '{"dataset": "reading", "sensor": ["\' OR 1=1 --"]}', harmless=True
    )
    yield ticket("no columns", '{"dataset": "reading", "columns": [], "limit": 1}', harmless=True)
    for name, data in [
        ("nothing", b""),
        ("blanks", b" \n\t"),
        ("not UTF-8", b"\xff\xfe\xfd"),
        ("overlong UTF-8", b"SELECT '\xc0\xa7'"),
        ("a surrogate", b"SELECT '\xed\xa0\x80'"),
        ("zeros", bytes(1000)),
        ("ones", b"\xff" * 100_000),
        ("an empty Any", wire.field(1, "")),
        (
            "an Any of nobody",
            wire.field(1, "type.googleapis.com/nobody.Knows") + wire.field(2, b"x"),
        ),
        ("an Any elsewhere", wire.field(1, "http://127.0.0.1:1/x") + wire.field(2, b"x")),
        ("an Any without a value", wire.command("CommandStatementQuery")),
        ("an Any cut off", wire.statement("SELECT 1")[:-3]),
        (
            "a field beyond its message",
            wire.command("CommandStatementQuery", b"\x0a\xff\xff\xff\xff\x0f"),
        ),
        ("a varint without end", wire.command("CommandStatementQuery", b"\xff" * 20)),
        ("a group", wire.command("CommandStatementQuery", b"\x0b" * 200)),
        ("a wrong wire type", wire.command("CommandStatementQuery", wire.field(1, 7))),
        ("an unknown field only", wire.command("CommandGetTables", b"\x08")),
        ("an update", wire.command("CommandStatementUpdate", wire.field(1, "DELETE FROM reading"))),
        ("an ingest", wire.command("CommandStatementIngest", wire.field(2, "reading"))),
        (
            "a Substrait plan",
            wire.command("CommandStatementSubstraitPlan", wire.field(1, b"\x0a\x00")),
        ),
        ("a handle without an id", wire.command("TicketStatementQuery", wire.field(1, "SELECT"))),
        (
            "a forged handle",
            wire.command("TicketStatementQuery", wire.field(1, "x DROP TABLE reading")),
        ),
        ("a handle of bytes", wire.command("TicketStatementQuery", wire.field(1, b"\xff 1"))),
        ("an action as a ticket", wire.command("ActionBeginTransactionRequest")),
    ]:
        yield ticket(name, data)
    for guess in [
        b"",
        b"0",
        b"1",
        b"0" * 32,
        b"f" * 32,
        b"\xff" * 16,
        b"../1",
        b"' OR 1=1",
        b"x" * 1_000_000,
    ]:
        command = wire.command("CommandPreparedStatementQuery", wire.field(1, guess))
        yield ticket(f"prepared handle {guess[:20]!r}", command)
        yield Case(
            f"info: prepared handle {guess[:20]!r}", "GetFlightInfo", [wire.descriptor(command)]
        )
    patterns = [
        "%" * 5000 + "x",
        "_" * 5000,
        "\\",
        "%\\",
        "(a+)+$",
        "[",
        "\0",
        "'; DROP TABLE reading; --",
    ]
    for pattern in patterns:
        command = wire.command("CommandGetTables", wire.field(3, pattern), wire.field(2, pattern))
        yield ticket(f"tables like {pattern[:20]!r}", command, harmless=True)
    for name, command in [
        (
            "unknown infos",
            wire.command("CommandGetSqlInfo", *(wire.field(1, n) for n in [4294967295, 99999])),
        ),
        ("unknown type", wire.command("CommandGetXdbcTypeInfo", wire.field(1, 2**64 - 5))),
        ("keys of nobody", wire.command("CommandGetPrimaryKeys", wire.field(3, "pg_shadow"))),
        ("another catalog", wire.command("CommandGetTables", wire.field(1, "postgres"))),
        (
            "a transaction",
            wire.command("CommandStatementQuery", wire.field(1, "SELECT 1"), wire.field(2, b"x")),
        ),
    ]:
        method, message = (
            ("GetFlightInfo", wire.descriptor(command))
            if "transaction" in name
            else ("DoGet", wire.ticket(command))
        )
        yield Case(f"ticket: {name}", method, [message], harmless=True)


def descriptors() -> Iterable[Case]:
    for name, message in [
        ("nothing", b""),
        ("an unknown type", wire.field(1, 99) + wire.field(2, "SELECT 1")),
        ("neither path nor command", wire.field(1, 1)),
        ("an empty command", wire.descriptor("")),
        ("two parts", wire.path("reading", "event")),
        ("a path upwards", wire.path("../../etc/passwd")),
        ("a schema", wire.path("public", "reading")),
        ("a schema with a dot", wire.path("public.reading")),
        ("a zero byte", wire.path("reading\0")),
        ("a semicolon", wire.path("reading; DROP TABLE reading")),
        ("a thousand parts", wire.path(*["x"] * 1000)),
        ("a hidden table", wire.path("quarantine")),
        ("a write", wire.descriptor("INSERT INTO sensor (id) VALUES ('stolen')")),
        (
            "an update",
            wire.descriptor(
                wire.command("CommandStatementUpdate", wire.field(1, "DELETE FROM reading"))
            ),
        ),
    ]:
        for method in ["GetFlightInfo", "GetSchema", "PollFlightInfo"]:
            yield Case(f"{method}: {name}", method, [message])
    for name, message in [
        ("a field that goes on", b"\x12\xff\xff\xff\xff\x0f"),
        ("bytes of nobody", b"\xff" * 64),
        ("a path that is not UTF-8", wire.field(1, 1) + wire.field(3, b"\xff\xfe")),
    ]:
        for method in ["GetFlightInfo", "GetSchema", "DoGet", "DoAction"]:
            yield Case(f"{method}: {name}", method, [message])
    yield Case("criteria", "ListFlights", [wire.field(1, "1 = 1; DROP TABLE reading")])
    yield Case("5 MB", "DoGet", [wire.ticket("SELECT '" + "x" * 5_000_000 + "'")])
    yield Case("60 MB", "GetFlightInfo", [wire.descriptor(b"x" * 60_000_000)])


# ---------------------------------------------------------------- actions and parameters


def actions() -> Iterable[Case]:
    prepare, close = "CreatePreparedStatement", "ClosePreparedStatement"
    request = "ActionCreatePreparedStatementRequest"
    for name, body in [
        ("", b""),
        ("x" * 1_000_000, b""),
        ("health\0", b""),
        ("Shutdown", b""),
        ("../health", b""),
        ("'; DROP TABLE reading; --", b""),
        ("BeginTransaction", wire.command("ActionBeginTransactionRequest")),
        ("EndTransaction", wire.command("ActionEndTransactionRequest", wire.field(2, 1))),
        ("BeginSavepoint", b""),
        ("CreatePreparedSubstraitPlan", b""),
        ("SetSessionOptions", b"\x0a\x04\x0a\x00\x12\x00"),
        ("GetSessionOptions", b""),
        ("RenewFlightEndpoint", b""),
        (prepare, b""),
        (prepare, b"\xff" * 50),
        (prepare, wire.command(request)),
        (prepare, wire.command(request, wire.field(1, "DELETE FROM reading WHERE sensor = ?"))),
        (prepare, wire.command(request, wire.field(1, "SELECT 1; DROP TABLE reading"))),
        (prepare, wire.command(request, wire.field(1, "SELECT ?, $1"))),
        (prepare, wire.command(request, wire.field(1, "SELECT $65536"))),
        (prepare, wire.command(request, wire.field(1, "SELECT " + ", ".join("?" * 5000)))),
        (prepare, wire.command("CommandGetCatalogs")),
        (close, b""),
        (close, b"\xff" * 50),
        ("CancelQuery", b"\xff" * 50),
        ("CancelQuery", wire.command("ActionCancelQueryRequest", wire.field(1, b"\xff\xff"))),
        ("CancelFlightInfo", b"\xff" * 50),
        ("CancelFlightInfo", wire.field(1, b"\x1a\xff\xff\xff\x7f")),
    ]:
        yield Case(f"action {name[:30]!r}: {body[:20]!r}", "DoAction", [wire.action(name, body)])
    endpoint = wire.field(3, wire.field(1, wire.field(1, '{"dataset": "reading", "id": "0"}')))
    for name, body in [
        ("health", b"\xff" * 1000),
        ("CancelFlightInfo", b""),
        ("CancelFlightInfo", wire.field(1, endpoint)),
        (close, wire.command("ActionClosePreparedStatementRequest", wire.field(1, b"\xff" * 32))),
    ]:
        yield Case(
            f"action {name}: {body[:20]!r}", "DoAction", [wire.action(name, body)], harmless=True
        )


def puts() -> Iterable[Case]:
    def put(name: str, *messages: bytes) -> Case:
        return Case(f"put: {name}", "DoPut", list(messages))

    def to(command: bytes, *more: bytes) -> bytes:
        return wire.field(1, wire.descriptor(command)) + b"".join(more)

    guess = wire.command("CommandPreparedStatementQuery", wire.field(1, "0" * 32))
    yield put("nothing")
    yield put("an empty message", b"")
    yield put("a path", wire.field(1, wire.path("reading")))
    yield put("SQL", to(b"INSERT INTO sensor (id) VALUES ('stolen')"))
    yield put("bytes of nobody", b"\xff" * 100)
    yield put(
        "an update",
        to(wire.command("CommandStatementUpdate", wire.field(1, "DELETE FROM reading"))),
    )
    yield put("a statement", to(wire.statement("SELECT 1")))
    yield put("an ingest", to(wire.command("CommandStatementIngest", wire.field(2, "reading"))))
    yield put(
        "a prepared update",
        to(wire.command("CommandPreparedStatementUpdate", wire.field(1, "0" * 32))),
    )
    yield put("a guessed handle", to(guess))
    yield put(
        "a guessed handle and no Arrow",
        to(guess, wire.field(2, b"\xff" * 100), wire.field(1000, b"x")),
    )
    yield put("a header that lies", to(guess, wire.field(2, b"\x10\x00\x00\x00" + b"\xff" * 60)))
    yield put("a flood of empty messages", to(guess), *[b""] * 2000)
    yield Case("exchange", "DoExchange", [wire.field(1, wire.path("reading"))])


def credentials() -> Iterable[Case]:
    def basic(text: bytes) -> str:
        return "Basic " + base64.b64encode(text).decode()

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    claims = part({"sub": "admin", "role": "operator", "exp": 9999999999})
    none, confused = part({"alg": "none", "typ": "JWT"}), part(
        {"alg": "HS256", "kid": "../../dev/null"}
    )
    for name, value in [
        ("nothing", ""),
        ("a scheme only", "Basic"),
        ("a scheme of nobody", "Digest x"),
        ("not base64", "Basic !!!!"),
        ("no colon", basic(b"admin")),
        ("not UTF-8", basic(b"\xff\xfe:\xff")),
        ("SQL", basic(b"' OR 1=1 --:x")),
        ("a zero byte", basic(b"admin\0:x")),
        ("6 kB", basic(b"x" * 4500 + b":y")),
        ("no token", "Bearer "),
        ("a short token", "Bearer x"),
        ("SQL as a token", "Bearer ' OR '1'='1"),
        ("6 kB of token", "Bearer " + "x" * 6000),
        ("JWT with alg none", f"Bearer {none}.{claims}."),
        ("JWT with a key elsewhere", f"Bearer {confused}.{claims}.{'x' * 43}"),
        ("JWT of dots", "Bearer " + "." * 1000),
        ("two schemes", "Bearer Basic x"),
    ]:
        headers = [("authorization", value)]
        yield Case(
            f"credentials: {name}",
            "DoGet",
            [wire.ticket("SELECT 1")],
            True,
            headers=headers,
            anonymous=True,
        )
        yield Case(f"handshake: {name}", "Handshake", [b""], True, headers=headers, anonymous=True)
    twice = [("authorization", "Bearer x"), ("authorization", basic(b"admin:admin"))]
    yield Case(
        "credentials: two headers",
        "DoGet",
        [wire.ticket("SELECT 1")],
        True,
        headers=twice,
        anonymous=True,
    )
    for name, headers in [
        ("a user from a proxy", [("x-forwarded-user", "admin"), ("x-remote-user", "admin")]),
        ("another address", [("x-forwarded-for", "127.0.0.1"), ("forwarded", "for=127.0.0.1")]),
        ("a database", [("database", "postgres"), ("bucket-name", "x"), ("catalog", "postgres")]),
        ("bytes", [("x-bin", b"\x00\xff\r\nauthorization: Bearer x")]),
        ("many", [(f"x-{i}", "y") for i in range(60)]),
        ("a cookie", [("cookie", "arrow_flight_session_id=../../etc/passwd")]),
    ]:
        yield Case(f"headers: {name}", "DoGet", [wire.ticket("SELECT 1")], True, headers=headers)
    yield Case(
        "headers: an unknown encoding",
        "DoGet",
        [wire.ticket("SELECT 1")],
        True,
        headers=[("grpc-encoding", "gzip")],
    )
    for method in [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.health.v1.Health/Check",
        wire.SERVICE + "Shutdown",
        "/x/y",
        "/../../etc/passwd",
    ]:
        yield Case(f"method {method}", method, [b""])
