//! Telegrams of smart meters (DSMR 5, P1 port), as the ready mapping `dsmr` reads them. Meters are known by the bytes of
//! their names in hexadecimal digits; of what hangs on M-Bus, `G` and `W` stand before the name.

use crc::{CRC_16_ARC, Crc};

use super::{
    Speaker, Stored, metric,
    moment::{SECOND, cut, local, timestamp, zone},
    speaker::value,
};
use crate::observation::{Decimal, Reading, Utterance};

const CHECKSUM: Crc<u16> = Crc::<u16>::new(&CRC_16_ARC);
const ZONE: &str = "Europe/Amsterdam";
/// A kilowatt, as a number of the watts that are kept.
const KILOWATT: f64 = 1_000.0;

/// A telegram has no sign: power that is given has a line of its own, and nothing else is said below zero.
pub(super) fn says(metric: &str, interval_s: u32) -> bool {
    const SAID: [&str; 6] =
        [metric::IMPORT, metric::EXPORT, metric::POWER, metric::VOLTAGE, metric::GAS, metric::WATER];
    interval_s == 0 && SAID.contains(&metric)
}

fn can(reading: &Reading<'_>) -> bool {
    says(reading.metric, reading.interval_s)
        && metric::is_in_unit(reading)
        && (reading.metric == metric::POWER || 0 <= reading.value.digits)
}

pub(super) fn say(speaker: Speaker<'_>, readings: &[Reading<'_>]) -> Vec<Utterance> {
    let said = speaker.messages(readings, can).map(|(Speaker { sensor, .. }, group)| Utterance {
        topic: format!("dsmr/{sensor}"),
        payload: telegram(sensor, &group).into_bytes(),
    });
    said.collect()
}

fn telegram(sensor: &str, group: &[&Reading<'_>]) -> String {
    let time = clock(group[0].time_us);
    let mut lines = format!(
        "/SCR5\\2MT382-1000\r\n\r\n1-3:0.2.8(50)\r\n0-0:1.0.0({time})\r\n0-0:96.1.1({})\r\n",
        meter("", sensor)
    );
    let mut line = |text: String| lines.extend([text.as_str(), "\r\n"]);
    for (metric, code) in [(metric::IMPORT, "1.8"), (metric::EXPORT, "2.8")] {
        for (tariff, share) in
            value(group, metric).map(tariffs).into_iter().flat_map(|shares| (1..).zip(shares))
        {
            line(format!("1-0:{code}.{tariff}({}*kWh)", padded(share, 6)));
        }
    }
    if let Some(power) = value(group, metric::POWER) {
        for (code, power) in ["1.7.0", "2.7.0"].into_iter().zip(directions(power)) {
            line(format!("1-0:{code}({}*kW)", padded(power, 2)));
        }
    }
    if let Some(voltage) = value(group, metric::VOLTAGE) {
        line(format!("1-0:32.7.0({}*V)", padded(volts(voltage), 4)));
    }
    for (channel, metric, kind, mark) in [(1, metric::GAS, 3, "G"), (2, metric::WATER, 7, "W")] {
        if let Some(volume) = value(group, metric) {
            line(format!("0-{channel}:24.1.0({kind:03})"));
            line(format!("0-{channel}:96.1.0({})", meter(mark, sensor)));
            line(format!("0-{channel}:24.2.1({time})({}*m3)", padded(volume.cut(3), 5)));
        }
    }
    lines.push('!');
    let checksum = CHECKSUM.checksum(lines.as_bytes());
    lines + &format!("{checksum:04X}\r\n")
}

/// The register's shares of both tariffs, in thousandths: neither ever falls while the register does not.
fn tariffs(register: Decimal) -> [Decimal; 2] {
    let all = register.cut(3).digits;
    let low = (i128::from(all) * 3 / 5) as i64; // less than all
    [Decimal::new(low, 3), Decimal::new(all - low, 3)]
}

/// What is taken and what is given, in kilowatts, from watts.
fn directions(power: Decimal) -> [Decimal; 2] {
    let kilowatts = power.scaled(1, 1_000, 3);
    let only = |digits: i64| Decimal::new(digits.max(0), 3);
    [only(kilowatts.digits), only(kilowatts.digits.saturating_neg())]
}

fn volts(voltage: Decimal) -> Decimal {
    voltage.scaled(1, 1, 1)
}

/// With zeros before it, so that there are as many digits before the point as the standard asks for.
fn padded(value: Decimal, before: usize) -> String {
    let width = before + 1 + usize::from(value.places);
    format!("{:0>width$}", value.to_string())
}

/// Local time, and whether it is that of summer.
fn clock(time_us: i64) -> String {
    let zone = zone(ZONE);
    let summer = zone.to_offset_info(timestamp(time_us)).dst().is_dst();
    let season = if summer { 'S' } else { 'W' };
    format!("{}{season}", local(time_us, &zone).strftime("%y%m%d%H%M%S"))
}

fn meter(mark: &str, sensor: &str) -> String {
    mark.bytes().chain(sensor.bytes()).map(|byte| format!("{byte:02X}")).collect()
}

pub(super) fn stored(sensor: &str, readings: &[Reading<'_>]) -> Vec<Stored> {
    let (electricity, gas, water) = (meter("", sensor), meter("G", sensor), meter("W", sensor));
    let mut kept = Vec::new();
    for reading in readings.iter().filter(|reading| can(reading)) {
        let unit = reading.unit;
        let mut keep = |meter: &str, metric: &str, value: f64| {
            let (meter, time_us) = (format!("dsmr:{meter}"), cut(reading.time_us, SECOND));
            kept.push(Stored::instant(&meter, metric, time_us, value).kept_in(unit));
        };
        let value = reading.value;
        match reading.metric {
            metric::IMPORT => {
                let [low, high] = tariffs(value).map(Decimal::value);
                keep(&electricity, metric::IMPORT, low + high);
                keep(&electricity, "energy.active.import.tariff1", low);
                keep(&electricity, "energy.active.import.tariff2", high);
            }
            metric::EXPORT => {
                let [low, high] = tariffs(value).map(Decimal::value);
                keep(&electricity, metric::EXPORT, low + high);
            }
            metric::POWER => {
                let [taken, given] = directions(value).map(|power| power.value() * KILOWATT);
                keep(&electricity, metric::POWER, taken);
                keep(&electricity, "power.active.export", given);
            }
            metric::VOLTAGE => keep(&electricity, "voltage.phase1", volts(value).value()),
            metric::GAS => keep(&gas, metric::GAS, value.cut(3).value()),
            _ => keep(&water, metric::WATER, value.cut(3).value()),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_telegram_ends_in_its_checksum() {
        let reading = |metric, unit, value| Reading {
            metric,
            unit,
            time_us: 1_795_348_800_000_000,
            interval_s: 0,
            value,
        };
        let readings = [
            reading("energy.active.import", "kW.h", Decimal::new(6_825, 3)),
            reading("energy.active.export", "kW.h", Decimal::new(-1, 3)),
            reading("power.active", "W", Decimal::new(-244, 0)),
            reading("voltage", "V", Decimal::new(23_014, 2)),
            reading("gas.volume.total", "m3", Decimal::new(1_079, 4)),
        ];
        let said = say(Speaker { sensor: "h1", sequence: 0, member: "" }, &readings);
        let body = "/SCR5\\2MT382-1000\r\n\r\n1-3:0.2.8(50)\r\n0-0:1.0.0(261122130000W)\r\n0-0:96.1.1(6831)\r\n\
            1-0:1.8.1(000004.095*kWh)\r\n1-0:1.8.2(000002.730*kWh)\r\n1-0:1.7.0(00.000*kW)\r\n1-0:2.7.0(00.244*kW)\r\n\
            1-0:32.7.0(0230.1*V)\r\n0-1:24.1.0(003)\r\n0-1:96.1.0(476831)\r\n0-1:24.2.1(261122130000W)(00000.107*m3)\r\n!";
        let expected = format!("{body}{:04X}\r\n", CHECKSUM.checksum(body.as_bytes()));
        assert_eq!(String::from_utf8(said[0].payload.clone()).unwrap(), expected);
        let values: Vec<f64> = stored("h1", &readings).iter().map(|stored| stored.value).collect();
        assert_eq!(values, [4.095 + 2.73, 4.095, 2.73, 0.0, 244.0, 230.1, 0.107]);
    }

    #[test]
    fn the_clock_says_which_of_two_hours_it_is() {
        assert_eq!(clock(1_792_888_200_000_000), "261025023000S");
        assert_eq!(clock(1_792_891_800_000_000), "261025023000W");
        assert_eq!(clock(1_782_900_000_000_000), "260701120000S");
    }

    #[test]
    fn checksums_are_those_of_the_standard() {
        // The telegram that stands beside the ready mapping.
        let body = "/ABC5\\2MT382\n\n1-3:0.2.8(50)\n0-0:1.0.0(261122130000W)\n0-0:96.1.1(4B384547)\n\
            1-0:1.8.1(000004.426*kWh)\n1-0:1.8.2(000002.399*kWh)\n1-0:1.7.0(00.244*kW)\n1-0:32.7.0(0230.0*V)\n\
            0-1:24.1.0(003)\n0-1:96.1.0(32323232)\n0-1:24.2.1(261122125500W)(00000.107*m3)\n!";
        let sums =
            [body.to_owned(), body.replace('\n', "\r\n")].map(|body| CHECKSUM.checksum(body.as_bytes()));
        assert!(sums.contains(&0xCCE1), "{sums:04X?}");
    }
}
