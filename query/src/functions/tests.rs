//! What SQL answers, against the measures of the processor.

use super::*;
use crate::{
    error::QueryError,
    functions::aggregate::{Columns, float},
};
use datafusion::{
    arrow::{
        array::{
            Array, ArrayRef, AsArray, BinaryArray, Float64Array, Int64Array, RecordBatch,
            TimestampNanosecondArray,
        },
        datatypes::{Field, Float64Type, Schema},
    },
    datasource::MemTable,
    logical_expr::EmitTo,
    prelude::SessionConfig,
    scalar::ScalarValue,
};
use jiff::tz::TimeZone;
use processor::{
    measure::{settle, traffic, utility, zone},
    model::{
        Arithmetic, Kind, Passage, Quality, State as Bucket, Time as Instant,
        arithmetic::Meter,
        bucket::FIVE_MINUTES,
        state::{Detail, Inside},
    },
};
use proptest::{collection::vec, prelude::*, sample::select};
use std::{ops::Range, sync::LazyLock};
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

type Outcome = std::result::Result<(), TestCaseError>;

/// Readings of one series: seconds since the one before, and a value; `known` tells what else was measured.
fn reading() -> impl Strategy<Value = (i64, f64, u8)> {
    (1..400i64, prop_oneof![0.0..160.0f64, Just(0.0)], 0..8u8)
}

fn arithmetic(kind: Kind, metric: &str) -> Arithmetic {
    let meter = Meter { modulus: Some(20_000.0), ..Meter::default() };
    Arithmetic::new(kind, Some(60), None, meter).of(metric, "km/h")
}

/// States of five minutes, as the roller makes them.
fn buckets(readings: &[(i64, f64, u8)], arithmetic: &Arithmetic) -> Vec<(Range<Instant>, Bucket)> {
    let mut buckets: Vec<(Range<Instant>, Bucket)> = Vec::new();
    let (mut second, mut register) = (0, 15_000.0);
    for (step, value, known) in readings {
        second += step;
        register = (register + value) % 20_000.0;
        let time = Instant::from_micros(second * 1_000_000);
        let start = time.floor(FIVE_MINUTES);
        if buckets.last().is_none_or(|(span, _)| span.start != start) {
            let end = Instant::from_micros(start.micros() + FIVE_MINUTES);
            buckets.push((start..end, Bucket::default()));
        }
        let passage = Passage {
            id: second,
            speed_kmh: (known % 3 != 0).then_some(*value),
            length_m: (known % 2 == 0).then_some(4.0 + value / 100.0),
            on_time_s: Some(0.4),
            class: (*known < 5).then(|| format!("class {known}").into()),
            tags: None,
        };
        let of = |value: f64| Inside {
            time,
            value,
            quality: if *known == 7 { Quality::OUT_OF_RANGE } else { Quality::GOOD },
            passage: Some(&passage),
            volume: (known % 4 < 2).then_some(f64::from(*known)),
        };
        let inside = match arithmetic.kind {
            Kind::Event => of(1.0),
            Kind::Counter => of(register),
            _ => of(*value),
        };
        let (span, state) = buckets.last_mut().unwrap();
        state.add(&inside, span.end, arithmetic);
    }
    buckets
}

/// The rows of a rollup.
fn rows(buckets: &[(Range<Instant>, Bucket)]) -> RecordBatch {
    let states: Vec<_> =
        buckets.iter().map(|(_, b)| b.detail.as_ref().map(|detail| detail.encode())).collect();
    let time = |micros: i64| micros * 1_000;
    let columns: [(&str, ArrayRef); 5] = [
        (
            "time",
            Arc::new(
                TimestampNanosecondArray::from_iter_values(
                    buckets.iter().map(|(b, _)| time(b.start.micros())),
                )
                .with_timezone("UTC"),
            ),
        ),
        ("state", Arc::new(states.iter().map(Option::as_deref).collect::<BinaryArray>())),
        ("sum", Arc::new(buckets.iter().map(|(_, b)| b.values.map(|v| v.total())).collect::<Float64Array>())),
        ("count", Arc::new(buckets.iter().map(|(_, b)| Some(b.count)).collect::<Int64Array>())),
        ("modulus", Arc::new(Float64Array::from(vec![20_000.0; buckets.len()]))),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.map(|(_, array)| array).to_vec()).unwrap()
}

/// A context whose table `rollup` has these parts, on two threads; small batches make for many of them.
fn context(parts: Vec<Vec<RecordBatch>>, two_phases: bool) -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(2).with_batch_size(3);
    config.options_mut().execution.skip_partial_aggregation_probe_rows_threshold =
        if two_phases { usize::MAX } else { 0 };
    let context = SessionContext::new_with_config(config);
    super::register(&context, TimeZone::UTC);
    let schema = parts.iter().flatten().next().unwrap().schema();
    let table = MemTable::try_new(schema, parts).unwrap();
    context.register_table("rollup", Arc::new(table)).unwrap();
    context
}

fn ask(context: &SessionContext, select: &str) -> Result<Vec<ScalarValue>, QueryError> {
    let batches = RUNTIME.block_on(async {
        let frame = context.sql(select).await?;
        frame.collect().await
    });
    let batches = batches.map_err(QueryError::from)?;
    let batch = batches.iter().find(|batch| 0 < batch.num_rows()).unwrap();
    Ok(batch.columns().iter().map(|column| ScalarValue::try_from_array(column, 0).unwrap()).collect())
}

fn number(value: &ScalarValue) -> Option<f64> {
    match value {
        ScalarValue::Float64(number) => *number,
        other => panic!("{other:?}"),
    }
}

fn near(got: Option<f64>, expected: Option<f64>) -> Outcome {
    let is_near = match (got, expected) {
        (Some(got), Some(expected)) => (got - expected).abs() <= 1e-13 * expected.abs(),
        (got, expected) => got == expected,
    };
    prop_assert!(is_near, "{:?} is not {:?}", got, expected);
    Ok(())
}

const ALL: &str = "v85(state), quantile(state, 0.15), space_mean_speed(state), time_mean_speed(state), \
     mean_value(state, sum, count), volume(state, sum, modulus, NULL, NULL), coverage(state, 300), \
     peak_demand(state, sum, time, 300, modulus, NULL, NULL), merge_state(state, count, sum)";

/// The rows in parts of so many, in the order of their keys.
fn shuffled(batch: &RecordBatch, keys: &[u32], parts: usize) -> Vec<Vec<RecordBatch>> {
    let mut order: Vec<usize> = (0..batch.num_rows()).collect();
    order.sort_by_key(|row| keys[row % keys.len()].rotate_left(*row as u32));
    let mut shuffled: Vec<Vec<RecordBatch>> = vec![Vec::new(); parts];
    for (place, row) in order.into_iter().enumerate() {
        shuffled[place % parts].push(batch.slice(row, 1));
    }
    shuffled
}

const SERIES: [(Kind, &str); 6] = [
    (Kind::Event, "traffic.vehicle"),
    (Kind::Rate, "traffic.speed.mean"),
    (Kind::Total, "traffic.volume"),
    (Kind::Counter, "water.volume.total"),
    (Kind::Gauge, "water.level"),
    (Kind::Gauge, "air.no2"),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn in_any_order_and_parts_the_answer_is_that_of_the_measures(
        readings in vec(reading(), 1..120),
        (kind, metric) in select(SERIES.to_vec()),
        keys in vec(any::<u32>(), 1..40),
        parts in 1..4usize,
        two_phases in any::<bool>(),
    ) {
        let arithmetic = arithmetic(kind, metric);
        let buckets = buckets(&readings, &arithmetic);
        let batch = rows(&buckets);
        let plain = ask(&context(vec![vec![batch.clone()]], true), &format!("SELECT {ALL} FROM rollup")).unwrap();
        let shuffled = shuffled(&batch, &keys, parts);
        let context = context(shuffled, two_phases);
        for group in ["'all'", "sum IS NULL AND false"] {
            let sql = format!("SELECT {ALL} FROM rollup GROUP BY {group}");
            prop_assert_eq!(&plain, &ask(&context, &sql).unwrap(), "{}", sql);
        }
        check(&plain, &buckets, &arithmetic)?;
    }

    #[test]
    fn groups_are_kept_apart(readings in vec(reading(), 40..120), two_phases in any::<bool>()) {
        let arithmetic = arithmetic(Kind::Event, "traffic.vehicle");
        let buckets = buckets(&readings, &arithmetic);
        let context = context(vec![vec![rows(&buckets)]], two_phases);
        for (span, state) in buckets.iter().take(8) {
            let time = span.start.timestamp();
            let sql = format!("SELECT v FROM (SELECT time, v85(state) AS v FROM rollup GROUP BY time) WHERE time = TIMESTAMPTZ '{time}'");
            prop_assert_eq!(number(&ask(&context, &sql).unwrap()[0]), traffic::speed_quantile(state, 0.85));
        }
    }

    #[test]
    fn no_bytes_panic(
        readings in vec(reading(), 1..20),
        (kind, metric) in select(SERIES.to_vec()),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        any in vec(any::<u8>(), 0..60),
    ) {
        let buckets = buckets(&readings, &arithmetic(kind, metric));
        let Some(detail) = &buckets[0].1.detail else { return Ok(()) };
        let mut spoiled = detail.encode();
        let place = at.index(spoiled.len());
        spoiled[place] = byte;
        for bytes in [&spoiled[..], &spoiled[..place], &any] {
            let literal: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let context = context(vec![vec![rows(&buckets)]], true);
            let sql = format!(
                "SELECT {ALL} FROM (SELECT arrow_cast(X'{literal}', 'Binary') AS state, 2.0 AS sum, 2 AS count, \
                 TIMESTAMPTZ '2026-01-01T00:00:00Z' AS time, CAST(NULL AS double) AS modulus)"
            );
            match ask(&context, &sql) {
                Ok(_) | Err(QueryError::Invalid(_)) => {}
                Err(other) => prop_assert!(false, "{:?}", other),
            }
        }
    }
}

/// Against the processor: one series, its states joined in time order.
fn check(answers: &[ScalarValue], buckets: &[(Range<Instant>, Bucket)], arithmetic: &Arithmetic) -> Outcome {
    let states = || buckets.iter().map(|(_, state)| state.clone());
    let joined = states().reduce(|all, later| all.join(later, arithmetic)).unwrap();
    let beside = states().reduce(Bucket::beside).unwrap();
    let numbers: Vec<Option<f64>> = answers[..8].iter().map(number).collect();
    let bits = |number: Option<f64>| number.map(f64::to_bits);
    prop_assert_eq!(bits(numbers[0]), bits(traffic::speed_quantile(&joined, 0.85)));
    prop_assert_eq!(bits(numbers[1]), bits(traffic::speed_quantile(&joined, 0.15)));
    let kind = arithmetic.kind;
    if arithmetic.is_speed {
        near(numbers[2], traffic::space_mean_speed(&joined, kind))?;
        near(numbers[3], traffic::time_mean_speed(&joined, kind))?;
    } else {
        prop_assert_eq!(&numbers[2..4], [None, None]);
    }
    let inside: f64 = states().filter_map(|state| Some(state.detail?.integral?.total())).sum();
    let covered: i64 = states().filter_map(|state| Some(state.detail?.covered)).sum();
    let held_s: f64 = states()
        .filter_map(|state| state.detail.filter(|detail| detail.integral.is_some()))
        .map(|detail| detail.covered as f64 / 1e6)
        .sum();
    let plain = joined.values.map(|values| values.total() / joined.count as f64);
    let mean = if 0.0 < held_s { Some(inside / held_s) } else { plain };
    near(numbers[4], mean.filter(|_| !matches!(kind, Kind::Counter | Kind::Event)))?;
    let values = joined.values.map(|values| values.total());
    let counter = joined.detail.as_ref().and_then(|detail| detail.counter.as_deref());
    match kind {
        Kind::Event | Kind::Total => near(numbers[5], values)?,
        Kind::Counter => {
            let total = counter.filter(|counter| counter.first.0 < counter.last.0);
            prop_assert_eq!(numbers[5], total.map(|counter| counter.total().to_f64()));
        }
        _ if arithmetic.has_quantiles
            || 0.0 < held_s && states().all(|s| s.detail.is_none_or(|d| d.integral.is_some())) =>
        {
            prop_assert_eq!(numbers[5], None);
        }
        _ => {}
    }
    let whole = 300.0 * buckets.len() as f64;
    prop_assert_eq!(numbers[6], Some((covered as f64 / 1e6 / whole).min(1.0)));
    check_demand(numbers[7], buckets, arithmetic)?;
    let ScalarValue::Binary(merged) = &answers[8] else { panic!("{:?}", answers[8]) };
    let merged = merged.as_ref().map(|bytes| Detail::decode(bytes).unwrap());
    prop_assert_eq!(merged.is_some(), beside.detail.is_some());
    let (Some(merged), Some(beside)) = (merged, beside.detail) else { return Ok(()) };
    prop_assert_eq!(merged.covered, beside.covered);
    prop_assert_eq!(
        merged.spread.sketch.as_ref().and_then(|sketch| sketch.quantile(0.5)),
        beside.spread.sketch.as_ref().and_then(|sketch| sketch.quantile(0.5))
    );
    let classes =
        |detail: &Detail| detail.passages.as_ref().map(|passages| (passages.classes.clone(), passages.on));
    prop_assert_eq!(classes(&merged), classes(&beside));
    prop_assert!((merged.spread.m2 - beside.spread.m2).abs() <= 1e-9 * beside.spread.m2.abs() + 1e-9);
    prop_assert_eq!(merged.integral.is_some(), 0.0 < held_s);
    if let (Some(merged), Some(counter)) = (merged.counter, counter) {
        prop_assert_eq!((merged.first, merged.last), (counter.first, counter.last));
    } else {
        prop_assert!(counter.is_none());
    }
    Ok(())
}

fn check_demand(got: Option<f64>, buckets: &[(Range<Instant>, Bucket)], arithmetic: &Arithmetic) -> Outcome {
    let heard: Vec<(Range<Instant>, Bucket)> =
        buckets.iter().filter(|(_, state)| state.values.is_some()).cloned().collect();
    let spans: Vec<Range<Instant>> = heard.iter().map(|(span, _)| span.clone()).collect();
    match arithmetic.kind {
        Kind::Counter => {
            let arithmetic = Arithmetic { max_gap: 3_600_000_000, ..*arithmetic };
            let settled = settle(&spans, &heard, &arithmetic);
            let amounts = settled
                .iter()
                .map(|settled| zone::observed(settled, Kind::Counter).filter(|_| 0 < settled.covered));
            let amounts: Vec<Option<f64>> = amounts.collect();
            near(got, utility::peak_demand(&amounts, 300.0, 1, 1).map(|peak| peak.demand))
        }
        Kind::Total | Kind::Event => {
            let amounts: Vec<Option<f64>> =
                heard.iter().map(|(_, state)| state.values.map(|values| values.total())).collect();
            near(got, utility::peak_demand(&amounts, 300.0, 1, 1).map(|peak| peak.demand))
        }
        _ => Ok(()),
    }
}

#[test]
fn nothing_is_missing_and_not_zero() {
    let quiet = (Instant::from_micros(0)..Instant::from_micros(FIVE_MINUTES), Bucket::default());
    let context = context(vec![vec![rows(&[quiet.clone(), quiet])]], true);
    let answers = ask(&context, &format!("SELECT {ALL} FROM rollup")).unwrap();
    let mut expected = vec![float(None); 9];
    expected[6] = float(Some(0.0)); // nothing of ten minutes was observed
    expected[8] = ScalarValue::Binary(None);
    assert_eq!(answers, expected);
    expected[6] = float(None);
    assert_eq!(ask(&context, &format!("SELECT {ALL} FROM rollup WHERE false")).unwrap(), expected);
    let once = buckets(&[(10, 5.0, 1)], &arithmetic(Kind::Counter, "water.volume.total"));
    let context = super::tests::context(vec![vec![rows(&once)]], true);
    let answers = ask(&context, &format!("SELECT {ALL} FROM rollup")).unwrap();
    assert_eq!((&answers[5], &answers[7]), (&float(None), &float(None)));
}

#[test]
fn what_is_asked_wrongly_is_refused_with_what_to_do() {
    let readings: Vec<(i64, f64, u8)> = (0..9).map(|i| (100, f64::from(i), 1)).collect();
    let of = |kind, metric| rows(&buckets(&readings, &arithmetic(kind, metric)));
    let passages = context(vec![vec![of(Kind::Event, "traffic.vehicle")]], true);
    let register = of(Kind::Counter, "water.volume.total");
    let twice = context(vec![vec![register.clone()], vec![register]], true);
    let check = |context: &SessionContext, call: &str, words: &str| {
        let error = ask(context, &format!("SELECT {call} FROM rollup")).unwrap_err();
        assert!(
            matches!(error, QueryError::Invalid(_)) && error.to_string().contains(words),
            "{call}: {error}"
        );
    };
    check(&passages, "v85(arrow_cast('xx', 'Binary'))", "give the column state of rollup_5m");
    check(&passages, "v85(time)", "write v85(state)");
    check(&passages, "v85()", "write v85(state)");
    check(&passages, "volume(state)", "write volume(state, sum");
    check(&passages, "v85(DISTINCT state)", "two buckets may have the same state");
    for share in ["1.5", "sum", "NULL", "-1"] {
        check(&passages, &format!("quantile(state, {share})"), "a number from 0 to 1");
    }
    check(&passages, "coverage(state, 0)", "such as 3600 for rollup_1h");
    check(&passages, "merge_state(state, 0, sum)", "merge_state(state, count, sum)");
    check(&twice, "volume(state, sum)", "GROUP BY sensor, metric");
    check(&twice, "peak_demand(state, sum, time, 300)", "GROUP BY sensor, metric");
}

#[test]
fn every_function_is_documented_and_known() {
    let context =
        context(vec![vec![rows(&buckets(&[(1, 1.0, 1)], &arithmetic(Kind::Event, "pulse")))]], true);
    let state = context.state();
    for (name, signature, about) in FUNCTIONS {
        assert!(signature.starts_with(&format!("{name}(")) && about.len() < 600, "{name}");
        match state.aggregate_functions().get(*name) {
            Some(function) => assert!(function.documentation().is_some(), "{name}"),
            None => assert!(state.table_functions().contains_key(*name), "{name}"),
        }
    }
    assert!(ask(&context, "SELECT mean(count), v85(state) FILTER (WHERE count < 0) FROM rollup").is_ok());
    assert!(ask(&context, "SELECT v85(state) OVER (ORDER BY time) FROM rollup").is_ok());
}

#[test]
fn memory_is_told() {
    use datafusion::logical_expr::GroupsAccumulator;
    let passages = rows(&buckets(&[(1, 50.0, 1), (2, 90.0, 1)], &arithmetic(Kind::Event, "traffic.vehicle")));
    let values = [passages.column_by_name("state").unwrap().clone()];
    let mut groups = accumulate::Grouped::<quantile::Quantiles> {
        kept: Vec::new(),
        heap_bytes: 0,
        answer: quantile::answer,
        share: 0.85,
        returns: DataType::Float64,
    };
    let empty = groups.size();
    for group in 0..100 {
        groups.update_batch(&values, &[group], None, 100).unwrap();
    }
    let full = groups.size();
    assert!(empty + 100 * size_of::<u64>() < full);
    assert_eq!(groups.evaluate(EmitTo::First(40)).unwrap().as_primitive::<Float64Type>().len(), 40);
    let heap: usize = groups.kept.iter().map(Kept::heap_bytes).sum();
    assert_eq!((groups.kept.len(), groups.heap_bytes), (60, heap));
    groups.state(EmitTo::All).unwrap();
    assert_eq!(groups.heap_bytes, 0);
    assert_eq!(Columns::of(&values).unwrap().rows(), 1);
}
