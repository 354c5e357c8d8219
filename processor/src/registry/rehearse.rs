//! What a registry would be after an import, without importing: so that rollups can be computed by new rules beside those
//! that hold.

use std::collections::BTreeSet;

use super::{Plan, Registry, Table, load::BEGINNING, plan::Change};
use crate::model::{Arithmetic, Calibration, SeriesId, Time, arithmetic::Meter};

impl Registry {
    /// Takes over what a plan says of the readings of known series: their ranges, their meters and their calibrations.
    /// Returns every series of their sensors, in order: a speed is weighted by the volume of its detector.
    ///
    /// # Errors
    /// The plan holds a text that its table cannot.
    pub fn rehearse(&mut self, plan: &Plan) -> Result<Vec<SeriesId>, String> {
        for change in &plan.changes {
            match change.table {
                Table::Series => self.see_series(change)?,
                Table::Calibration => self.see_calibration(change)?,
                Table::Zone | Table::Segment | Table::Sensor => {}
            }
        }
        let known = plan.touches.iter().filter(|touch| self.find(&touch.sensor, &touch.metric).is_some());
        let sensors: BTreeSet<&str> = known.map(|touch| touch.sensor.as_str()).collect();
        let series = sensors.into_iter().filter_map(|sensor| self.sensors.get(sensor));
        let mut touched: Vec<SeriesId> =
            series.flat_map(|sensor| &sensor.series).map(|known| known.id).collect();
        touched.sort_unstable();
        Ok(touched)
    }

    fn see_series(&mut self, change: &Change) -> Result<(), String> {
        let (Some(sensor), Some(metric)) = (change.cell("sensor"), change.cell("metric")) else {
            return Ok(());
        };
        let Some(mut series) = self.find(sensor, metric).cloned() else { return Ok(()) };
        let number = |name: &str| number(change, name);
        series.view.min = number("min")?;
        series.view.max = number("max")?;
        let meter = Meter {
            modulus: number("modulus")?,
            resolution: number("resolution")?,
            max_rate: number("max_rate")?,
        };
        let max_gap_s = number("max_gap_s")?.map(|seconds| seconds as u32); // a whole number, as its form says
        series.arithmetic = Arithmetic::new(series.kind, series.interval_s, max_gap_s, meter);
        self.add_series(sensor, metric, series);
        Ok(())
    }

    fn see_calibration(&mut self, change: &Change) -> Result<(), String> {
        let (Some(sensor), Some(metric)) = (change.cell("sensor"), change.cell("metric")) else {
            return Ok(());
        };
        let Some(mut series) = self.find(sensor, metric).cloned() else { return Ok(()) };
        let from = match change.cell("valid_from") {
            None | Some("") => BEGINNING,
            Some(text) => Time::from(text.parse::<jiff::Timestamp>().map_err(|error| error.to_string())?),
        };
        let scale = number(change, "scale")?.unwrap_or(1.0);
        let offset = number(change, "offset")?.unwrap_or(0.0);
        let mut calibrations = series.view.calibrations.to_vec();
        calibrations.retain(|calibration| calibration.from != from);
        calibrations.push(Calibration { from, scale, offset });
        calibrations.sort_unstable_by_key(|calibration| calibration.from);
        series.view.calibrations = calibrations.into();
        self.add_series(sensor, metric, series);
        Ok(())
    }
}

fn number(change: &Change, name: &str) -> Result<Option<f64>, String> {
    let cell = change.cell(name).filter(|cell| !cell.is_empty());
    cell.map(|text| text.parse().map_err(|_| format!("{name}: {text:?} is no number"))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Kind, Quality, Series},
        registry::{Admission, File, given, plan::Known},
    };

    #[test]
    fn a_plan_is_seen_without_being_imported() {
        let mut known = Known::default();
        let mut registry = Registry::new(Admission::Closed);
        registry.add_series("a", "x", Series::new(SeriesId(7), Kind::Counter, "m3", Some(900)));
        registry.add_series("a", "y", Series::new(SeriesId(5), Kind::Gauge, "bar", Some(900)));
        registry.add_series("b", "x", Series::new(SeriesId(6), Kind::Counter, "m3", Some(900)));
        let mut plan = |text: &str| {
            let plan = Plan::make(&known, &given::read(&[File::new("f", text)]).unwrap()).unwrap();
            plan.changes.iter().for_each(|change| known.insert(change.table, change.new.clone()));
            plan
        };
        plan("id,lon,lat\na,1,2\n");
        plan("sensor,metric,unit,kind,interval_s\na,x,m3,counter,900\n");
        let touched = plan("sensor,metric,unit,kind,modulus,max,max_gap_s\na,x,m3,counter,1000,90,7200\n");
        assert_eq!(registry.rehearse(&touched).unwrap(), [SeriesId(5), SeriesId(7)]);
        let series = registry.find("a", "x").unwrap();
        assert_eq!((series.view.max, series.arithmetic.meter.modulus), (Some(90.0), Some(1_000.0)));
        assert_eq!(series.arithmetic.max_gap, 7_200_000_000);

        let later = plan("sensor,metric,valid_from,scale\na,x,2026-03-01T00:00:00Z,2\n");
        assert_eq!(registry.rehearse(&later).unwrap(), [SeriesId(5), SeriesId(7)]);
        registry.rehearse(&plan("sensor,metric,scale\na,x,0.5\n")).unwrap();
        let seen = |text: &str| {
            let time = Time::from(text.parse::<jiff::Timestamp>().unwrap());
            registry.find("a", "x").unwrap().view(time, 10.0, Quality::GOOD).0
        };
        assert_eq!((seen("2026-02-01T00:00:00Z"), seen("2026-04-01T00:00:00Z")), (5.0, 20.0));
    }
}
