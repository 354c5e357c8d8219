//! How much was heard of each series.

use jiff::Timestamp;
use processor::store::coverage::{self, Coverage, Wanted};
use serde_json::json;
use tokio_postgres::Client;

use super::{AccountArgs, Sheet};
use crate::paper::{Table, bar, count, percent, printable, thousands};

pub async fn print(
    args: &AccountArgs,
    sheet: &Sheet<'_>,
    client: &Client,
    now: Timestamp,
) -> anyhow::Result<()> {
    let wanted = Wanted { sensor: args.sensor.clone(), limit: i64::from(args.limit) };
    let (from, to) = (sheet.period.from, sheet.period.to);
    let (listed, series) = coverage::by_series(client, from, to, now, &wanted).await?;
    if args.json {
        let of = |coverage: &Coverage| {
            let mut json = serde_json::to_value(coverage)?;
            json["share"] = coverage.share().into();
            Ok(json)
        };
        let listed: Vec<_> = listed.iter().map(of).collect::<serde_json::Result<_>>()?;
        let zone = sheet.city.time_zone.iana_name();
        println!(
            "{}",
            json!({ "from": from, "to": to, "time_zone": zone, "series": series, "coverage": listed })
        );
    } else {
        print!("{}", text(&listed, series, sheet));
    }
    Ok(())
}

fn text(listed: &[Coverage], series: i64, sheet: &Sheet<'_>) -> String {
    let paint = sheet.paint;
    let mut text = paint.bold(&format!("Series heard {}\n", sheet.period_text()));
    if listed.is_empty() {
        return text + "No series was heard in it, nor in the month before it.\n";
    }
    let mut table = Table::new(
        paint,
        &["sensor", "metric", ">every", ">due", ">heard", ">missing", ">late", "", ">covered", "last heard"],
    );
    for one in listed {
        let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), thousands);
        let missing = one.expected.map(|expected| expected - one.covered);
        let share = one.share();
        let colour = |text: &str| match share {
            Some(share) if 1.0 <= share => paint.good(text),
            Some(share) if 0.9 <= share => paint.warn(text),
            Some(_) => paint.bad(text),
            None => paint.dim(text),
        };
        table.row([
            printable(&one.sensor),
            one.metric.clone(),
            one.interval_s.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds} s")),
            number(one.expected),
            thousands(one.observed),
            number(missing),
            thousands(one.late),
            colour(&share.map_or_else(String::new, |share| bar(share, 12))),
            colour(&share.map_or_else(|| "-".to_owned(), percent)),
            one.last_heard.map_or_else(|| "not in it".to_owned(), |at| sheet.clock(at)),
        ]);
    }
    text += &table.text();
    let more = series - listed.len() as i64;
    if 0 < more {
        text += &paint.dim(&format!(
            "  and {} of which more was heard: --limit shows them\n",
            count(more, "series", "series")
        ));
    }
    text
}
