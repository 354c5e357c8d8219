//! What an import would change. Pure: rows that are known and rows that are given become the rows that shall be, and the
//! difference.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    Table,
    given::{Given, Place, Wrong},
};
use crate::model::{Time, plausible, unit};

/// A row, by the fields of its table.
pub type Cells = Vec<Option<String>>;

/// The fields of a row that tell it apart; an instant that is not given is before all others.
pub type Key = Vec<String>;

/// Rows that are known, by table and key.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Known {
    rows: BTreeMap<Table, BTreeMap<Key, Cells>>,
    /// The unit of each metric, of the series that came first.
    units: BTreeMap<String, String>,
}

/// One row that would be another.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    pub table: Table,
    pub key: Key,
    /// Where it was asked for; absent where another row asks for it, as by closing the one before.
    pub place: Option<Place>,
    /// What it was; absent where it is new.
    pub old: Option<Cells>,
    pub new: Cells,
}

/// What rows that are given would change.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Plan {
    pub changes: Vec<Change>,
    /// Rows given that are known as they are, by table.
    pub unchanged: BTreeMap<Table, usize>,
    /// Every row that was given, with its place.
    pub given: HashMap<(Table, Key), Place>,
    /// Whose readings are seen otherwise.
    pub touches: Vec<Touch>,
}

/// Readings of a series that are seen otherwise than before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Touch {
    pub sensor: String,
    pub metric: String,
    /// From this time on; absent: from the beginning.
    pub from: Option<Time>,
    /// Before this time.
    pub to: Option<Time>,
}

impl Known {
    pub fn insert(&mut self, table: Table, cells: Cells) {
        self.rows.entry(table).or_default().insert(key(table, &cells), cells);
    }

    /// A series of a metric in a unit; the first one of a metric says how the metric is kept.
    pub fn insert_unit(&mut self, metric: &str, unit: &str) {
        self.units.entry(metric.to_owned()).or_insert_with(|| unit.to_owned());
    }

    pub fn row(&self, table: Table, key: &[String]) -> Option<&Cells> {
        self.rows.get(&table)?.get(key)
    }

    pub fn rows(&self, table: Table) -> impl Iterator<Item = (&Key, &Cells)> {
        self.rows.get(&table).into_iter().flatten()
    }

    /// The rows whose key begins so: those of a sensor.
    fn rows_of(&self, table: Table, first: &str) -> impl Iterator<Item = (&Key, &Cells)> {
        let rows = self.rows.get(&table).into_iter();
        let rows = rows.flat_map(move |rows| rows.range(vec![first.to_owned()]..));
        rows.take_while(move |(key, _)| key[0] == first)
    }

    fn has(&self, table: Table, id: &str) -> bool {
        self.rows_of(table, id).next().is_some()
    }
}

impl Change {
    pub fn is_new(&self) -> bool {
        self.old.is_none()
    }

    /// The fields that differ: name, before, after.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, Option<&str>, Option<&str>)> {
        self.table.fields().iter().enumerate().filter_map(|(at, field)| {
            let old = self.old.as_ref().and_then(|old| old[at].as_deref());
            let new = self.new[at].as_deref();
            (old != new).then_some((field.name, old, new))
        })
    }

    /// Whether one of these fields of a known row would be another.
    pub fn alters(&self, names: &[&str]) -> bool {
        self.old.is_some() && self.fields().any(|(name, ..)| names.contains(&name))
    }

    pub fn cell(&self, name: &str) -> Option<&str> {
        cell(self.table, &self.new, name)
    }
}

impl Plan {
    /// # Errors
    /// A row that contradicts another, or names what is not there.
    pub fn make(known: &Known, given: &[Given]) -> Result<Plan, Wrong> {
        let mut plan = Plan::default();
        let mut rows = known.clone();
        let mut given: Vec<&Given> = given.iter().collect();
        // What is named before what names it; rows of one sensor as they stand in the file.
        given.sort_by_key(|row| row.table);
        for row in &given {
            let wrong = |message: String| row.place.clone().wrong(message);
            let key = key_of(&rows, row);
            let cells = merged(&rows, row, &key).map_err(wrong)?;
            check(row.table, &cells).map_err(wrong)?;
            if let Some(before) = plan.given.insert((row.table, key.clone()), row.place.clone()) {
                return Err(wrong(format!("{} {} stands in {before} already", row.table, name(&key))));
            }
            rows.rows.entry(row.table).or_default().insert(key, cells);
        }
        plan.close(&mut rows)?;
        for ((table, key), place) in plan.in_order() {
            let cells = rows.row(*table, key).cloned().unwrap_or_default();
            refer(&rows, *table, &cells).map_err(|message| place.clone().wrong(message))?;
        }
        plan.compare(known, &rows);
        plan.touches = plan.changes.iter().filter_map(|change| touch(&rows, change)).collect();
        plan.check_units(&mut rows.units)?;
        Ok(plan)
    }

    /// Series of one metric can be added up: they are kept in one unit.
    fn check_units(&self, units: &mut BTreeMap<String, String>) -> Result<(), Wrong> {
        let series = self.changes.iter().filter(|change| change.table == Table::Series);
        for change in series.filter(|change| change.is_new() || change.alters(&["unit"])) {
            let (Some(metric), Some(unit), Some(place)) =
                (change.cell("metric"), change.cell("unit"), &change.place)
            else {
                continue;
            };
            // One that is recast may be the one that said so.
            let first = units.get(metric).filter(|_| change.is_new());
            let kept = unit::storage(metric).or(first.map(String::as_str));
            let wrong = match kept {
                Some(kept) if kept == unit => continue,
                Some(kept) => format!("unit: {metric} is kept in {kept}, not in {unit}; so are its limits"),
                None if unit::is_known(unit) => {
                    units.insert(metric.to_owned(), unit.to_owned());
                    continue;
                }
                None => format!("unit: {unit:?} is no unit of UCUM, such as km/h, m3/h or kW.h"),
            };
            return Err(place.clone().wrong(wrong));
        }
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Rows of a table that would be new, and others that would be changed.
    pub fn counts(&self, table: Table) -> (usize, usize) {
        let of = self.changes.iter().filter(|change| change.table == table);
        let (new, changed): (Vec<&Change>, Vec<&Change>) = of.partition(|change| change.is_new());
        (new.len(), changed.len())
    }

    fn in_order(&self) -> Vec<(&(Table, Key), &Place)> {
        let mut given: Vec<_> = self.given.iter().collect();
        given.sort_by(|a, b| (&a.1.file, a.1.line, a.0).cmp(&(&b.1.file, b.1.line, b.0)));
        given
    }

    /// A sensor's row without an end is over when the next one begins; with one it must be over by then.
    fn close(&self, rows: &mut Known) -> Result<(), Wrong> {
        let sensors: BTreeSet<&str> =
            self.given.keys().filter(|(table, _)| *table == Table::Sensor).map(|(_, key)| &*key[0]).collect();
        for sensor in sensors {
            let mut dated: Vec<(Key, Cells)> = rows
                .rows_of(Table::Sensor, sensor)
                .map(|(key, cells)| (key.clone(), cells.clone()))
                .collect();
            dated.sort_by_key(|(key, _)| instant(&key[1]));
            let to = Table::Sensor.position("valid_to").unwrap_or_default();
            for i in 0..dated.len() {
                let next = dated.get(i + 1).map(|(key, _)| key[1].clone());
                let place = || {
                    let place = |key: &Key| self.given.get(&(Table::Sensor, key.clone()));
                    let place =
                        dated.get(i + 1).and_then(|(key, _)| place(key)).or_else(|| place(&dated[i].0));
                    place.cloned().unwrap_or(Place { file: "the registry".into(), line: 0 })
                };
                match (&dated[i].1[to], next) {
                    (None, Some(next)) => {
                        let (key, cells) = &mut dated[i];
                        cells[to] = Some(next);
                        rows.rows.entry(Table::Sensor).or_default().insert(key.clone(), cells.clone());
                    }
                    (Some(ends), Some(next)) if instant(&next) < instant(ends) => {
                        let message =
                            format!("{sensor} is valid to {ends} in one row, and from {next} in the next");
                        return Err(place().wrong(message));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn compare(&mut self, known: &Known, rows: &Known) {
        for table in Table::ALL {
            for (key, new) in rows.rows(table) {
                let old = known.row(table, key);
                let place = self.given.get(&(table, key.clone())).cloned();
                if old == Some(new) {
                    *self.unchanged.entry(table).or_default() += usize::from(place.is_some());
                } else {
                    let (key, old, new) = (key.clone(), old.cloned(), new.clone());
                    self.changes.push(Change { table, key, place, old, new });
                }
            }
        }
    }
}

/// Fields of a series that say how its readings are judged and put together.
fn seen_by(kind: Option<&str>) -> &'static [&'static str] {
    match kind {
        Some("event") => &[],
        Some("counter") => &["min", "max", "modulus", "resolution", "max_rate", "max_gap_s"],
        Some("gauge" | "delta") => &["min", "max", "max_gap_s"],
        _ => &["min", "max"],
    }
}

/// A range judges all readings of a series, a calibration those up to the next one's time.
fn touch(rows: &Known, change: &Change) -> Option<Touch> {
    let (sensor, metric) = (change.cell("sensor")?, change.cell("metric")?);
    let time = |text: &str| (!text.is_empty()).then(|| Time::from_micros(instant(text)));
    let (from, to) = match change.table {
        Table::Series if change.alters(seen_by(change.cell("kind"))) => (None, None),
        Table::Calibration => {
            let others = rows.rows_of(Table::Calibration, sensor).filter(|(key, _)| key[1] == metric);
            let later = others.map(|(key, _)| instant(&key[2])).filter(|at| instant(&change.key[2]) < *at);
            (time(&change.key[2]), later.min().map(Time::from_micros))
        }
        _ => return None,
    };
    Some(Touch { sensor: sensor.to_owned(), metric: metric.to_owned(), from, to })
}

/// A row's name for people: its key without what is not given.
pub fn name(key: &[String]) -> String {
    let parts: Vec<&str> = key.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    parts.join(" ")
}

fn key(table: Table, cells: &Cells) -> Key {
    table.key().iter().map(|name| cell(table, cells, name).unwrap_or_default().to_owned()).collect()
}

fn cell<'c>(table: Table, cells: &'c Cells, name: &str) -> Option<&'c str> {
    cells.get(table.position(name)?)?.as_deref()
}

/// Microseconds; what is not given is before everything.
fn instant(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().map_or(i64::MIN, |at| at.as_microsecond())
}

/// A sensor's row that does not say from when on it holds is the last one there is.
fn key_of(rows: &Known, given: &Given) -> Key {
    let said = |name: &str| given.cells[given.table.position(name).unwrap_or_default()].clone();
    let part = |name: &&str| said(name).flatten().unwrap_or_default();
    let mut key: Key = given.table.key().iter().map(part).collect();
    if given.table == Table::Sensor && said("valid_from").is_none() {
        let last = rows.rows_of(Table::Sensor, &key[0]).max_by_key(|(key, _)| instant(&key[1]));
        key = last.map_or(key, |(last, _)| last.clone());
    }
    key
}

/// What is given over what is known, over what a new row has by itself. A sensor's new row goes on from the one before.
fn merged(rows: &Known, given: &Given, key: &Key) -> Result<Cells, String> {
    let table = given.table;
    let before = || {
        let earlier = rows.rows_of(table, &key[0]).filter(|(other, _)| instant(&other[1]) < instant(&key[1]));
        earlier.max_by_key(|(other, _)| instant(&other[1])).map(|(_, cells)| cells.clone())
    };
    let default = |name| table.default(name).map(str::to_owned);
    let defaults = || table.fields().iter().map(|field| default(field.name)).collect();
    let dated = ["valid_from", "valid_to"];
    let mut cells: Cells = match rows.row(table, key) {
        Some(known) => known.clone(),
        None if table == Table::Sensor => {
            let mut cells = before().unwrap_or_else(defaults);
            dated.iter().filter_map(|name| table.position(name)).for_each(|at| cells[at] = None);
            cells
        }
        None => defaults(),
    };
    let range = ["min", "max"].map(|name| table.position(name));
    let silent = range.iter().flatten().all(|at| given.cells[*at].is_none());
    for (at, said) in given.cells.iter().enumerate() {
        if let Some(said) = said {
            let field = table.fields()[at];
            cells[at] = said.clone().or_else(|| field.required.then(|| default(field.name)).flatten());
        }
    }
    if table == Table::Series && rows.row(table, key).is_none() && silent {
        let number = |name| cell(table, &cells, name).and_then(|text| text.parse().ok());
        let kind = cell(table, &cells, "kind").and_then(|kind| kind.parse().ok());
        let metric = cell(table, &cells, "metric").zip(kind);
        let (least, most) = metric
            .map_or((None, None), |(metric, kind)| plausible::range(metric, kind, number("interval_s")));
        for (at, limit) in range.into_iter().flatten().zip([least, most]) {
            cells[at] = limit.map(|limit| limit.to_string());
        }
    }
    // Whoever imports a sensor has looked at it, unless the file says otherwise.
    if let Some(at) = table.position("reviewed")
        && given.cells[at].is_none()
    {
        cells[at] = Some("true".to_owned());
    }
    Ok(cells)
}

/// What a row says must fit together.
fn check(table: Table, cells: &Cells) -> Result<(), String> {
    let missing = table.fields().iter().zip(cells).find(|(field, cell)| field.required && cell.is_none());
    if let Some((field, _)) = missing {
        return Err(format!("{}: a new {table} needs one", field.name));
    }
    let number = |name: &str| cell(table, cells, name).and_then(|text| text.parse::<f64>().ok());
    let has = |name: &str| cell(table, cells, name).is_some();
    match table {
        Table::Sensor => {
            if has("lon") != has("lat") {
                return Err("lon and lat go together".to_owned());
            }
            if has("valid_to")
                && instant(cell(table, cells, "valid_to").unwrap_or_default())
                    <= instant(cell(table, cells, "valid_from").unwrap_or_default())
            {
                return Err("valid_to is not after valid_from".to_owned());
            }
            if has("offset_m") && !has("segment") {
                return Err("offset_m: along which segment?".to_owned());
            }
        }
        Table::Series => {
            if let (Some(min), Some(max)) = (number("min"), number("max"))
                && max < min
            {
                return Err(format!("max {max} is below min {min}"));
            }
        }
        Table::Zone | Table::Segment | Table::Calibration => {}
    }
    Ok(())
}

/// What a row names must be there.
fn refer(rows: &Known, table: Table, cells: &Cells) -> Result<(), String> {
    let of = |name: &str| cell(table, cells, name);
    let there = |name: &str, target: Table| match of(name) {
        Some(id) if !rows.has(target, id) => {
            Err(format!("{name}: there is no {target} {id:?}: import it first, or with this file"))
        }
        _ => Ok(()),
    };
    match table {
        Table::Zone => {
            there("parent", Table::Zone)?;
            let parent = |id: &str| {
                rows.row(Table::Zone, &[id.to_owned()]).and_then(|cells| cell(Table::Zone, cells, "parent"))
            };
            let id = of("id").unwrap_or_default();
            let mut above = of("parent");
            let mut seen = BTreeSet::new();
            while let Some(zone) = above {
                if zone == id {
                    return Err(format!("parent: zone {id:?} would be above itself"));
                }
                if !seen.insert(zone) {
                    break; // a circle that it is not in: the others are refused
                }
                above = parent(zone);
            }
        }
        Table::Segment => {}
        Table::Sensor => {
            there("segment", Table::Segment)?;
            there("zone", Table::Zone)?;
            let segment = of("segment").and_then(|id| rows.row(Table::Segment, &[id.to_owned()]));
            let along = |name: &str| {
                segment
                    .and_then(|cells| cell(Table::Segment, cells, name))
                    .and_then(|text| text.parse::<f64>().ok())
            };
            let number = |name: &str| of(name).and_then(|text| text.parse::<f64>().ok());
            for (name, limit) in [("offset_m", along("length_m")), ("lane", along("lanes"))] {
                if let (Some(said), Some(limit)) = (number(name), limit)
                    && limit < said
                {
                    return Err(format!("{name} {said} is beyond its segment's {limit}"));
                }
            }
        }
        Table::Series => there("sensor", Table::Sensor)?,
        Table::Calibration => {
            let (sensor, metric) = (of("sensor").unwrap_or_default(), of("metric").unwrap_or_default());
            let series = rows.row(Table::Series, &[sensor.to_owned(), metric.to_owned()]);
            match series.map(|cells| cell(Table::Series, cells, "kind")) {
                None => return Err(format!("there is no series {metric:?} of {sensor:?}: import it first")),
                Some(Some("event")) => {
                    return Err(format!("{metric} of {sensor} is of events, which have no value"));
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::registry::given::{File, read};

    fn given(text: &str) -> Vec<Given> {
        let file = File { name: "f".into(), text: text.into(), table: None, columns: None };
        read(&[file]).unwrap()
    }

    /// Takes in what a plan says, as the database would.
    fn after(known: &Known, plan: &Plan) -> Known {
        let mut known = known.clone();
        plan.changes.iter().for_each(|change| known.insert(change.table, change.new.clone()));
        known
    }

    fn import(known: &Known, text: &str) -> (Known, Vec<(String, bool)>) {
        let plan = Plan::make(known, &given(text)).unwrap();
        let changes = plan.changes.iter().map(|change| (name(&change.key), change.is_new())).collect();
        (after(known, &plan), changes)
    }

    fn wrong(known: &Known, text: &str) -> String {
        Plan::make(known, &given(text)).map(|plan| plan.changes).unwrap_err().to_string()
    }

    fn new(name: &str) -> (String, bool) {
        (name.to_owned(), true)
    }

    #[test]
    fn a_second_import_changes_nothing_and_absent_columns_stay() {
        let (known, changes) = import(&Known::default(), "id,lon,lat,kind\na,1,2,loop\nb,3,4,\n");
        assert_eq!(changes, [new("a"), new("b")]);
        assert_eq!(import(&known, "id,lon,lat,kind\na,1.0,2,loop\nb,3,4,\n").1, []);
        let plan = Plan::make(&known, &given("id,lon,lat\na,1,2.5\nb,3,4\n")).unwrap();
        let fields: Vec<_> = plan.changes[0].fields().collect();
        assert_eq!((plan.changes.len(), fields), (1, vec![("lat", Some("2"), Some("2.5"))]));
        assert_eq!(plan.unchanged[&Table::Sensor], 1);
        assert_eq!(plan.changes[0].cell("kind"), Some("loop"));
    }

    #[test]
    fn an_exchange_closes_one_row_and_opens_the_next() {
        let (known, _) = import(&Known::default(), "id,lon,lat,serial\nm,1,2,A\n");
        let (known, changes) = import(&known, "id,serial,valid_from\nm,B,2026-03-01T00:00:00Z\n");
        assert_eq!(changes, [("m".to_owned(), false), new("m 2026-03-01T00:00:00Z")]);
        let rows: Vec<&Cells> = known.rows(Table::Sensor).map(|(_, cells)| cells).collect();
        let of = |row: usize, name: &str| cell(Table::Sensor, rows[row], name);
        assert_eq!((of(0, "valid_to"), of(0, "serial")), (Some("2026-03-01T00:00:00Z"), Some("A")));
        assert_eq!((of(1, "valid_to"), of(1, "serial"), of(1, "lon")), (None, Some("B"), Some("1")));
        // Without a date the present row is meant.
        assert_eq!(import(&known, "id,serial\nm,C\n").1, [("m 2026-03-01T00:00:00Z".to_owned(), false)]);
        let overlap = "id,valid_from,valid_to\nm,2026-02-01T00:00:00Z,2026-04-01T00:00:00Z\n";
        assert!(wrong(&known, overlap).starts_with("f line 2: m is valid to"), "{}", wrong(&known, overlap));
    }

    #[test]
    fn what_names_nothing_or_contradicts_is_refused_with_its_line() {
        let (known, _) = import(&Known::default(), "id,length_m,lanes\ns,100,2\n");
        let (known, _) = import(&known, "id,parent\nz,\n");
        let (known, _) = import(&known, "id,lon,lat\na,1,2\n");
        let (known, _) = import(&known, "sensor,metric,unit,kind\na,x,m,gauge\na,e,1,event\n");
        for (text, said) in [
            ("id,lon,lat,segment\nb,,,s\nc,,,t\n", "f line 3: segment: there is no segment \"t\""),
            ("id,lon,lat,segment,offset_m\nb,,,s,101\n", "f line 2: offset_m 101"),
            ("id,lon,lat,segment,lane\nb,,,s,3\n", "f line 2: lane 3"),
            ("id,lon,lat\nb,1,\n", "f line 2: lon and lat"),
            ("id,lon,lat\nb,,\nb,,\n", "f line 3: sensor b stands in f line 2 already"),
            ("id,parent\ny,x\nx,y\n", "f line 2: parent: zone \"y\" would be above itself"),
            ("id,parent\nz,z\n", "f line 2: parent"),
            ("id,parent\ny,nowhere\n", "f line 2: parent: there is no zone"),
            ("sensor,metric,unit,kind\nb,x,m,gauge\n", "f line 2: sensor: there is no sensor \"b\""),
            ("sensor,metric,unit,kind,min,max\na,y,m,gauge,2,1\n", "f line 2: max 1 is below min 2"),
            ("sensor,metric,unit,kind\na,y,furlong,gauge\n", "f line 2: unit: \"furlong\" is no unit"),
            (
                "sensor,metric,unit,kind\na,y,m,gauge\na,traffic.speed,m/s,gauge\n",
                "f line 3: unit: traffic.speed is kept in km/h, not in m/s",
            ),
            ("sensor,metric,scale\na,y,2\n", "f line 2: there is no series \"y\""),
            ("sensor,metric,scale\na,e,2\n", "f line 2: e of a is of events"),
        ] {
            assert!(wrong(&known, text).starts_with(said), "{said}: {}", wrong(&known, text));
        }
    }

    #[test]
    fn a_change_touches_the_readings_that_are_seen_otherwise() {
        let (known, _) = import(&Known::default(), "id,lon,lat\na,1,2\n");
        let (known, _) = import(&known, "sensor,metric,unit,kind,max\na,x,m,gauge,5\n");
        let later = "sensor,metric,valid_from,scale\na,x,2026-03-01T00:00:00Z,2\n";
        let (known, _) = import(&known, later);
        let touched = |text: &str| {
            let touches = Plan::make(&known, &given(text)).unwrap().touches;
            touches.into_iter().map(|touch| (touch.from, touch.to)).collect::<Vec<_>>()
        };
        let time = |text: &str| Some(Time::from_micros(instant(text)));
        assert_eq!(touched(later), []);
        assert_eq!(touched("sensor,metric,unit,kind,max\na,x,m,gauge,6\n"), [(None, None)]);
        assert_eq!(touched("sensor,metric,unit,kind,resolution\na,x,m,gauge,0.1\n"), []);
        assert_eq!(touched("sensor,metric,unit,kind,max_gap_s\na,x,m,gauge,60\n"), [(None, None)]);
        let earlier = "sensor,metric,valid_from,scale\na,x,2026-01-01T00:00:00Z,3\n";
        assert_eq!(touched(earlier), [(time("2026-01-01T00:00:00Z"), time("2026-03-01T00:00:00Z"))]);
        assert_eq!(touched(&later.replace(",2\n", ",4\n")), [(time("2026-03-01T00:00:00Z"), None)]);
        assert_eq!(touched("sensor,metric,scale\na,x,3\n"), [(None, time("2026-03-01T00:00:00Z"))]);
    }

    proptest! {
        /// Rows of a sensor with any dates: taken in, a second time they change nothing, and no two hold at once.
        #[test]
        fn dated_rows_never_overlap(dates in prop::collection::btree_set((0..50i64, 0..60i64), 1..8)) {
            let day = |day: i64| jiff::Timestamp::from_second(1_700_000_000 + day * 86_400).unwrap().to_string();
            let row = |(from, to): &(i64, i64)| {
                let to = if from < to { day(*to) } else { String::new() };
                format!("m,{},{to}\n", if *from == 0 { String::new() } else { day(*from) })
            };
            let text: String = dates.iter().map(row).collect();
            let text = format!("id,valid_from,valid_to\n{text}");
            if let Ok(plan) = Plan::make(&Known::default(), &given(&text)) {
                let known = after(&Known::default(), &plan);
                prop_assert!(Plan::make(&known, &given(&text)).unwrap().is_empty());
                let mut spans: Vec<(i64, i64)> = known
                    .rows(Table::Sensor)
                    .map(|(key, cells)| {
                        let to = cell(Table::Sensor, cells, "valid_to").map_or(i64::MAX, instant);
                        (instant(&key[1]), to)
                    })
                    .collect();
                spans.sort_unstable();
                prop_assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{:?}", spans);
            }
        }
    }
}
