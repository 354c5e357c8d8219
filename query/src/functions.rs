//! What SQL can ask of the states of rollups, and the grid of buckets to ask it on.
//!
//! - [`quantile`], [`speed`], [`mean`], [`volume`], [`coverage`], [`demand`], [`merge`]: what each function keeps of a
//!   group, and its answer; formulas are those of processor/MEASURES.md
//! - [`register`], [`exact`]: registers in time order; sums that are the same in any order
//! - [`aggregate`], [`accumulate`]: the functions as DataFusion calls them
//! - [`gapfill`]: a table function
//!
//! The column `state` says what the kind of a series keeps beside the plain numbers of its row: where those are needed
//! they are arguments. It says nothing of the series itself, so registers are grouped by sensor and metric.

mod accumulate;
mod aggregate;
mod coverage;
mod demand;
mod exact;
mod gapfill;
mod mean;
mod merge;
mod quantile;
mod register;
mod speed;
#[cfg(test)]
mod tests;
mod volume;

pub use aggregate::unreadable;
use aggregate::{
    Aggregate, Answer,
    Argument::{Number, Share, State, Time},
    Call, Kept,
};
use datafusion::{arrow::datatypes::DataType, logical_expr::AggregateUDF, prelude::SessionContext};
use jiff::tz::TimeZone;
use std::sync::Arc;

/// Name, signature and meaning of each function: unit, source in processor/MEASURES.md, and when it is null.
pub const FUNCTIONS: &[(&str, &str, &str)] = &[
    (
        "v85",
        "v85(state)",
        "the speed in km/h that 85 % of the vehicles do not exceed, relative error 0.5 % (Traffic: `speed_quantile`); of \
         means of intervals a quantile of means; null where no value was measured, or where the series keeps no quantiles",
    ),
    (
        "quantile",
        "quantile(state, share)",
        "the value that a share from 0 to 1 of all values does not exceed, in the unit of the series, relative error \
         0.5 %; kept for speeds, travel times, noise and air (Traffic: `speed_quantile`); null as v85",
    ),
    (
        "space_mean_speed",
        "space_mean_speed(state)",
        "n / Σ(1/v) in km/h (Wardrop 1952; Traffic: `space_mean_speed`), weighted by vehicles where they are known; null \
         where no speed was measured",
    ),
    (
        "time_mean_speed",
        "time_mean_speed(state)",
        "Σv / n in km/h (Traffic: `time_mean_speed`), weighted by vehicles where they are known; null where no speed was \
         measured",
    ),
    (
        "mean_value",
        "mean_value(state, sum, count)",
        "the mean in the unit of the series: of gauges over the time that values were held inside their buckets, else of \
         the readings; null for registers and passages, and where nothing was measured",
    ),
    (
        "volume",
        "volume(state, sum [, modulus, resolution, max_rate])",
        "what was counted, in the unit of the series (Traffic: `volume`; Utilities: `settle`): passages, totals and deltas \
         added, a register from its first reading to its last. Registers: GROUP BY sensor, metric, and give the last three \
         from the table series where one can roll over. Null where nothing was counted, a register was read once, or \
         values are levels",
    ),
    (
        "coverage",
        "coverage(state, seconds)",
        "the share of the rows' seconds that was observed, from 0 to 1 (`coverage` of `Settled`); a row whose state is null \
         was not observed. What lies between the last reading of a bucket and the first of the next is not counted: of \
         series without an interval take sum(count) / sum(expected). Null without seconds",
    ),
    (
        "peak_demand",
        "peak_demand(state, sum, time, seconds [, modulus, resolution, max_rate])",
        "the highest amount of a bucket an hour, amount * 3600 / seconds, in the unit of the series an hour: kW of kWh \
         (Utilities: `peak_demand`). A register is read between its neighbours; buckets in a gap do not count. Registers: \
         GROUP BY sensor, metric. Null where nothing was counted",
    ),
    (
        "merge_state",
        "merge_state(state, count, sum)",
        "the states of a group as one state, in bytes, as series beside each other are put together (`beside` of \
         `Settled`): integrals are added too, and a register whose states follow each other is joined. Null without states",
    ),
    (
        "gapfill",
        "gapfill(width, from, to)",
        "a table of the buckets that touch [from, to), with time and ends: width is text such as 15m, 1h, or 1d for local \
         days, from and to are dates in the city or times in RFC 3339; at most 100,000 rows. With a LEFT JOIN what is missing is \
         null and not zero: SELECT grid.time, volume(state, sum) FROM gapfill('5m', '2026-03-01', '2026-03-02') AS grid LEFT \
         JOIN rollup_5m AS r ON r.time = grid.time AND sensor = 'loop-17' GROUP BY grid.time",
    ),
];

/// Makes the functions known. `zone` cuts the city's days.
pub fn register(context: &SessionContext, zone: TimeZone) {
    let float = DataType::Float64;
    let call = |name, arguments| Call { name, arguments, optional: 0 };
    let of_meter = |name, arguments| Call { name, arguments, optional: 3 };
    context.register_udaf(AggregateUDF::new_from_impl(
        Aggregate::new(call("v85", &[State]), float.clone(), quantile::answer).with_share(0.85),
    ));
    add(context, call("quantile", &[State, Share]), float.clone(), quantile::answer);
    add(context, call("space_mean_speed", &[State]), float.clone(), speed::space_mean);
    add(context, call("time_mean_speed", &[State]), float.clone(), speed::time_mean);
    add(context, call("mean_value", &[State, Number, Number]), float.clone(), mean::answer);
    let counted = &[State, Number, Number, Number, Number];
    add(context, of_meter("volume", counted), float.clone(), volume::answer);
    add(context, call("coverage", &[State, Number]), float.clone(), coverage::answer);
    let demanded = &[State, Number, Time, Number, Number, Number, Number];
    add(context, of_meter("peak_demand", demanded), float, demand::answer);
    add(context, call("merge_state", &[State, Number, Number]), DataType::Binary, merge::answer);
    context.register_udtf("gapfill", Arc::new(gapfill::Gapfill { zone }));
}

fn add<K: Kept>(context: &SessionContext, call: Call, returns: DataType, answer: Answer<K>) {
    context.register_udaf(AggregateUDF::new_from_impl(Aggregate::new(call, returns, answer)));
}
