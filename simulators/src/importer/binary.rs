//! EPANET's binary output file, as its manual describes it (Rossman 2000, appendix C.4): a prolog with the names, energy,
//! a block of floats for each period, and an epilog with the number of periods. Read a period at a time.

use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use anyhow::{Context, bail, ensure};

use super::{
    found::Kind,
    input::{AtomicProgress, Counted},
    network::Quantity,
    number,
    sink::{Sink, Value},
};
use crate::observation::Decimal;

const MAGIC: i32 = 516_114_521;
/// The largest networks that are simulated have some 100,000 nodes.
const NAMES_MAX: usize = 200_000;
/// A year of minutes.
const PERIODS_MAX: usize = 530_000;
/// Titles, file names, and the chemical with its units.
const TEXT_BYTES: usize = 3 * 80 + 2 * 260 + 2 * 32;
const NAME_BYTES: usize = 32;
/// Of a pump: its index, and six floats; and the peak cost of all.
const PUMP_BYTES: u64 = 28;
const PEAK_BYTES: u64 = 4;
/// Four floats, the number of periods, the warnings, and the magic number.
const EPILOG_BYTES: u64 = 28;
/// Demand, head, pressure and quality of a node; flow, velocity and six more of a link.
const OF_NODE: usize = 4;
const OF_LINK: usize = 8;

/// m3/h of each flow unit, by its number: cfs, gpm, mgd, Imgd, acre-ft/day, L/s, L/min, ML/d, m3/h, m3/d.
const FLOWS: [f64; 10] = [
    101.940_647_731_2,
    0.227_124_707_04,
    157.725_491,
    189.420_416_666_666_67,
    51.395_076_564_48,
    3.6,
    0.06,
    41.666_666_666_666_664,
    1.0,
    0.041_666_666_666_666_664,
];
/// Flow units below are of the US: lengths in feet.
const FIRST_METRIC: usize = 5;
const FOOT_M: f64 = 0.3048;
const PSI_KPA: f64 = 6.894_757_293_168_361;

/// Whether a file is one, by its first bytes.
///
/// # Errors
/// It cannot be read.
pub fn is_one(file: &Path) -> anyhow::Result<bool> {
    let mut first = Vec::new();
    File::open(file).context("open it")?.take(4).read_to_end(&mut first).context("read it")?;
    Ok(first == MAGIC.to_le_bytes())
}

struct Source<R> {
    inner: R,
}

impl<R: Read> Source<R> {
    fn bytes(&mut self, count: usize) -> anyhow::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.inner.read_exact(&mut bytes).context("it ends before its time: did the simulation end?")?;
        Ok(bytes)
    }

    fn ints(&mut self, count: usize) -> anyhow::Result<Vec<i32>> {
        Ok(words(&self.bytes(4 * count)?).map(i32::from_le_bytes).collect())
    }

    fn floats(&mut self, count: usize) -> anyhow::Result<Vec<f32>> {
        Ok(words(&self.bytes(4 * count)?).map(f32::from_le_bytes).collect())
    }

    fn names(&mut self, count: usize) -> anyhow::Result<Vec<String>> {
        let bytes = self.bytes(NAME_BYTES * count)?;
        let name = |bytes: &[u8]| {
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            String::from_utf8_lossy(&bytes[..end]).trim().to_owned()
        };
        Ok(bytes.chunks(NAME_BYTES).map(name).collect())
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = [u8; 4]> {
    bytes.as_chunks::<4>().0.iter().copied()
}

/// # Errors
/// The file is none, not complete, or not a series of times.
pub fn read(
    file: &Path,
    quantities: &[Quantity],
    progress: &AtomicProgress,
    sink: &mut Sink<'_>,
) -> anyhow::Result<()> {
    let opened = File::open(file).context("open it")?;
    let length = opened.metadata().context("read it")?.len();
    let mut end = opened.try_clone().context("open it")?;
    end.seek(SeekFrom::Start(length.saturating_sub(12))).context("read it")?;
    let last = Source { inner: &mut end }.ints(3)?;
    ensure!(
        last[2] == MAGIC,
        "its last bytes are not those of a complete output file: did the simulation end?"
    );
    let periods = count(last[0], PERIODS_MAX, "periods")?;
    let mut opened = opened;
    opened.seek(SeekFrom::Start(0)).context("read it")?;
    let inner = BufReader::new(Counted { inner: opened, bytes: progress.clone() });
    let mut source = Source { inner };

    let head = source.ints(15)?;
    let nodes = count(head[2], NAMES_MAX, "nodes")?;
    let tanks = count(head[3], nodes, "tanks")?;
    let links = count(head[4], NAMES_MAX, "links")?;
    let pumps = count(head[5], links, "pumps")?;
    let flow_unit = count(head[9], FLOWS.len() - 1, "flow units")?;
    ensure!(head[11] == 0, "it holds statistics, not a series of times: say STATISTIC NONE in its network");
    let (first_s, step_s) = (head[12], head[13]);
    ensure!(0 <= first_s && 0 < step_s, "reports from {first_s} s, each {step_s} s: it is damaged");
    source.bytes(TEXT_BYTES)?;
    let (node_names, link_names) = (source.names(nodes)?, source.names(links)?);
    source.bytes(4 * (3 * links + 2 * tanks))?; // ends and types of links, tanks and their areas
    let elevations = source.floats(nodes)?;
    source.bytes(4 * 2 * links)?; // lengths and diameters

    let row = 4 * (OF_NODE * nodes + OF_LINK * links);
    let prolog =
        60 + TEXT_BYTES + NAME_BYTES * (nodes + links) + 4 * (3 * links + 2 * tanks + nodes + 2 * links);
    let due = prolog as u64 + PUMP_BYTES * pumps as u64 + PEAK_BYTES + (row * periods) as u64 + EPILOG_BYTES;
    ensure!(length == due, "it has {length} bytes where {periods} periods have {due}: it is damaged");
    source.bytes((PUMP_BYTES * pumps as u64 + PEAK_BYTES) as usize)?;

    let metre = if flow_unit < FIRST_METRIC { FOOT_M } else { 1.0 };
    let sensors = |quantity: Quantity, names: &[String]| -> Vec<String> {
        names.iter().map(|name| quantity.sensor(name)).collect()
    };
    let (of_nodes, of_links) = (sensors(Quantity::Head, &node_names), sensors(Quantity::Flow, &link_names));
    let mut pressure = None;
    for period in 0..periods {
        let values = source.floats(OF_NODE * nodes + OF_LINK * links)?;
        let seconds = i64::from(first_s) + i64::from(step_s) * period as i64;
        let time_us = sink.at(Decimal::whole(seconds))?;
        let block = |at: usize| &values[at * nodes..(at + 1) * nodes];
        let link_block = |at: usize| {
            let from = OF_NODE * nodes + at * links;
            &values[from..from + links]
        };
        let kpa =
            *pressure.get_or_insert_with(|| pressure_kpa(block(2), block(1), &elevations, metre, head[10]));
        let found = [
            (Quantity::Demand, block(0), &of_nodes, FLOWS[flow_unit]),
            (Quantity::Head, block(1), &of_nodes, metre),
            (Quantity::Pressure, block(2), &of_nodes, kpa),
            (Quantity::Flow, link_block(0), &of_links, FLOWS[flow_unit]),
            (Quantity::Velocity, link_block(1), &of_links, metre),
        ];
        for (quantity, values, sensors, scale) in found {
            if !quantities.is_empty() && !quantities.contains(&quantity) {
                continue;
            }
            let (metric, unit, _) = quantity.metric();
            for (value, sensor) in values.iter().zip(sensors) {
                let value = number::scaled(*value, scale)
                    .with_context(|| format!("{metric} of {sensor} after {seconds} s"))?;
                let value = Value { metric, unit, kind: Kind::Gauge, interval_s: 0, value };
                sink.reading(sensor, time_us, &value)?;
            }
        }
    }
    Ok(())
}

/// kPa of the file's unit of pressure. The manual numbers the units psi, m, kPa, the program psi, kPa, m; so the values
/// themselves are asked first: pressure is the head above the node.
fn pressure_kpa(pressures: &[f32], heads: &[f32], elevations: &[f32], metre: f64, said: i32) -> f64 {
    let (metres, psi) = (9.806_65, PSI_KPA);
    let above = heads.iter().zip(elevations).map(|(head, elevation)| f64::from(head - elevation) * metre);
    let told = pressures.iter().zip(above).find(|(pressure, above)| 1.0 < above.abs() && **pressure != 0.0);
    match told.map(|(pressure, above)| f64::from(*pressure) / above) {
        Some(per_metre) if 5.4 < per_metre => 1.0, // 9.8 of a metre
        Some(per_metre) if 1.2 < per_metre => psi, // 1.42
        Some(_) => metres,
        None if said == 0 => psi,
        None if said == 1 => 1.0,
        None => metres,
    }
}

fn count(number: i32, limit: usize, what: &str) -> anyhow::Result<usize> {
    match usize::try_from(number) {
        Ok(number) if number <= limit => Ok(number),
        _ => bail!("{number} {what}, of at most {limit}: it is damaged, or no output file"),
    }
}
