//! What the guard lets through: one statement that only reads, whatever the text.

use super::*;
use crate::hostile;
use crate::tables::SCHEMA;
use datafusion::common::tree_node::TreeNodeRecursion;
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};
use std::sync::LazyLock;

static ENGINE: LazyLock<Engine> = LazyLock::new(hostile::engine);

const READS: [&str; 18] = [
    "SELECT 1",
    "SELECT * FROM reading WHERE sensor = 'WM-101' AND time >= '2024-01-01T00:00:00Z' ORDER BY time LIMIT 10",
    "WITH hourly AS (SELECT date_trunc('hour', time) AS hour, avg(value) AS mean FROM reading GROUP BY 1) SELECT * FROM hourly",
    "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT i FROM n",
    "SELECT time_bucket(INTERVAL '1 hour', time) AS bucket, metric, sum(value) FROM reading GROUP BY bucket, metric",
    "SELECT sensor, row_number() OVER (PARTITION BY metric ORDER BY time DESC) AS n FROM reading QUALIFY n = 1",
    "SELECT r.value, e.class FROM reading AS r JOIN event AS e ON r.sensor = e.sensor AND r.time = e.time",
    "SELECT * FROM reading WHERE sensor IN (SELECT sensor FROM event WHERE speed > 50.0)",
    "SELECT 1 UNION ALL SELECT 2 EXCEPT SELECT 3",
    "SELECT CASE WHEN value < 0 THEN 'minus' ELSE 'plus' END FROM reading LIMIT 3",
    "VALUES (1, 'a'), (2, 'ä')",
    "EXPLAIN SELECT * FROM reading",
    "EXPLAIN ANALYZE SELECT 1",
    "SHOW TABLES",
    "DESCRIBE reading",
    "SELECT \"time\", E'\\n', $$text$$, 0x1F, 1e3, -1 FROM reading -- a comment; DROP TABLE reading",
    "SELECT * FROM generate_series(1, 3)",
    "(((SELECT count(*) FROM screenline.public.reading)))",
];

/// What does more than read. None of it may ever be planned.
const DEEDS: [&str; 46] = [
    "INSERT INTO reading VALUES (1)",
    "INSERT INTO reading SELECT * FROM reading",
    "UPDATE reading SET value = 0",
    "DELETE FROM reading",
    "TRUNCATE TABLE reading",
    "MERGE INTO reading USING event ON true WHEN MATCHED THEN DELETE",
    "DROP TABLE reading",
    "DROP TABLE IF EXISTS nothing",
    "CREATE TABLE copy AS SELECT * FROM reading",
    "CREATE TABLE copy (a INT)",
    "CREATE VIEW copy AS SELECT 1",
    "CREATE SCHEMA other",
    "CREATE DATABASE other",
    "CREATE FUNCTION f(DOUBLE) RETURNS DOUBLE RETURN $1",
    "DROP FUNCTION abs",
    "CREATE INDEX i ON reading (time)",
    "ALTER TABLE reading ADD COLUMN x INT",
    "SELECT * INTO copy FROM reading",
    "WITH gone AS (DELETE FROM reading RETURNING *) SELECT * FROM gone",
    "WITH new AS (INSERT INTO reading VALUES (1) RETURNING *) SELECT * FROM new",
    "WITH changed AS (UPDATE reading SET value = 0 RETURNING *) SELECT * FROM changed",
    "WITH x AS (SELECT 1) INSERT INTO reading SELECT * FROM x",
    "COPY reading TO 'readings.csv'",
    "COPY (SELECT 1) TO 'one.parquet' STORED AS PARQUET",
    "COPY reading FROM 'readings.csv'",
    "COPY reading FROM PROGRAM 'true'",
    "CREATE EXTERNAL TABLE passwords STORED AS CSV LOCATION '/etc/passwd'",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT set_config('statement_timeout', '0', false)",
    "SELECT pg_sleep(10)",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT * FROM dblink('', 'DELETE FROM reading') AS t (a INT)",
    "SET datafusion.execution.batch_size = 1",
    "RESET datafusion.execution.batch_size",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "DEALLOCATE p",
    "EXPLAIN DELETE FROM reading",
    "EXPLAIN ANALYZE INSERT INTO reading SELECT * FROM reading",
    "EXPLAIN CREATE TABLE copy AS SELECT 1",
    "SELECT 1; DROP TABLE reading",
    "DO $$ BEGIN DELETE FROM reading; END $$",
];

fn plan(text: &str) -> Result<LogicalPlan> {
    let text = text.to_owned();
    let caller = hostile::caller();
    let asked = caller.clone();
    let planned = ENGINE.on_workers(&asked, async move |inner| Ok(inner.plan_sql(&caller, &text).await?.1));
    ENGINE.workers.0.as_ref().unwrap().block_on(planned)
}

/// By name and not by exception: a kind of plan that is new is not taken for one that reads.
fn reads(node: &LogicalPlan) -> bool {
    use LogicalPlan::*;
    match node {
        Projection(_) | Filter(_) | Window(_) | Aggregate(_) | Sort(_) | Join(_) | Repartition(_)
        | Union(_) | EmptyRelation(_) | Subquery(_) | SubqueryAlias(_) | Limit(_) | Values(_)
        | Explain(_) | Analyze(_) | Distinct(_) | DescribeTable(_) | Unnest(_) | RecursiveQuery(_) => true,
        // A table that a function or WITH RECURSIVE makes has no schema.
        TableScan(scan) => {
            scan.table_name.schema().is_none_or(|schema| [SCHEMA, "information_schema"].contains(&schema))
        }
        _ => false,
    }
}

/// A text is refused with words, or is one statement that only reads.
fn check(text: &str) -> std::result::Result<(), TestCaseError> {
    match plan(text) {
        Ok(plan) => {
            let mut only_reads = true;
            let walked = plan.apply_with_subqueries(|node| {
                only_reads &= reads(node);
                Ok(TreeNodeRecursion::Continue)
            });
            prop_assert!(walked.is_ok() && only_reads, "{}", plan.display_indent());
            let twice = statement::parse(&format!("{text}\n;{text}"));
            prop_assert!(twice.is_err(), "{:?}", twice);
        }
        Err(error) => {
            // A plan that takes until its deadline holds a thread for ever.
            prop_assert!(!matches!(error, QueryError::Internal(_) | QueryError::Deadline(_)), "{}", error);
            prop_assert!(!error.to_string().is_empty());
        }
    }
    Ok(())
}

#[test]
fn what_reads_is_planned_and_what_does_more_is_not() {
    for text in READS {
        assert!(plan(text).is_ok(), "{text}: {:?}", plan(text).err());
        check(text).unwrap();
    }
    for text in DEEDS {
        assert!(plan(text).is_err(), "{text}");
        check(text).unwrap();
    }
}

fn corpus() -> impl Strategy<Value = &'static str> {
    prop_oneof![select(&READS[..]), select(&DEEDS[..])]
}

/// A part of a statement, often all of it.
fn part() -> impl Strategy<Value = String> {
    let ends = (any::<Index>(), any::<Index>());
    let cut = (corpus(), ends).prop_map(|(text, (from, to))| {
        let at = |index: Index| text.floor_char_boundary(index.index(text.len() + 1));
        let (from, to) = (at(from), at(to));
        text[from.min(to)..from.max(to)].to_owned()
    });
    prop_oneof![2 => corpus().prop_map(String::from), 3 => cut]
}

fn word() -> impl Strategy<Value = String> {
    (corpus(), any::<Index>()).prop_map(|(text, which)| {
        let words: Vec<&str> = text.split_inclusive([' ', '(', ')', ',', ';']).collect();
        which.get(&words).to_string()
    })
}

fn text() -> impl Strategy<Value = String> {
    let joined = |between: &'static [&'static str]| {
        (vec(part(), 1..4), select(between)).prop_map(|(parts, between)| parts.join(between))
    };
    let nested = (
        part(),
        1..40usize,
        select(&[("(", ")"), ("SELECT (", ")"), ("EXPLAIN ", ""), ("WITH a AS (", ") SELECT * FROM a")][..]),
    )
        .prop_map(|(text, times, (open, close))| open.repeat(times) + &text + &close.repeat(times));
    let changed = (corpus(), any::<Index>(), any::<char>()).prop_map(|(text, at, with)| {
        let at = text.floor_char_boundary(at.index(text.len()));
        let rest = text[at..].chars().skip(1);
        text[..at].chars().chain([with]).chain(rest).collect()
    });
    prop_oneof![
        4 => joined(&[" ", "", "; ", " UNION ", ", ", "/*", "--"]),
        3 => vec(word(), 1..25).prop_map(|words| words.concat()),
        2 => nested,
        2 => changed,
        1 => "\\PC{0,60}",
        1 => any::<String>(),
    ]
}

proptest! {
    #[test]
    fn any_text_is_refused_or_one_statement_that_only_reads(text in text()) {
        check(&text)?;
    }

    #[test]
    fn a_deed_is_a_deed_however_it_is_written(
        deed in select(&DEEDS[..]),
        upper in vec(any::<bool>(), 1..20),
        space in select(&[" ", "\n", "\t", "/* */", " -- x\n"][..]),
    ) {
        let quoted = deed.contains(['\'', '$']);
        let mut upper = upper.iter().cycle();
        let mut letter = |c: char| if *upper.next().unwrap() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
        let text: String = if quoted { deed.to_owned() } else { deed.chars().map(&mut letter).collect() };
        let text = if quoted { text } else { text.replace(' ', space) };
        prop_assert!(plan(&text).is_err(), "{}", text);
        check(&text)?;
    }

    /// A placeholder is numbered or left, and nothing else of the text changes meaning.
    #[test]
    fn numbering_keeps_the_statement(text in text()) {
        if let Ok(numbered) = statement::numbered(&text) {
            prop_assert_eq!(statement::parse(&numbered).is_ok(), statement::parse(&text).is_ok(), "{}", numbered);
        }
    }
}
