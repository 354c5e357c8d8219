//! The city's registry as `screenline registry import` takes it: zones, segments, sensors and series, in CSV.

use std::fmt::Write;

use super::road::{LANES, SEGMENT_M, SEGMENTS};
use super::role::{DISTRICT, Role};
use super::{City, series};
use crate::speech::Stored;

/// Rows in one file at most: what an import takes.
const ROWS: usize = 100_000;

/// A file of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub name: String,
    pub text: String,
}

/// Where the first district lies, in degrees of longitude and latitude, and how wide and high each is: about 4.5 km.
const ORIGIN: (f64, f64) = (9.9, 53.5);
const SPACING: (f64, f64) = (0.07, 0.04);
/// From the first node of a road to its last, in degrees of longitude: the 4 km of its segments.
const ROAD: f64 = 0.06;
/// How far the middle of a road lies north of its ends, and each direction beside the middle line, in degrees.
const BEND: f64 = 0.003;
const BESIDE: f64 = 0.000_1;

/// Owners whose sensors are of a net: its zone has their name.
const NETS: [&str; 3] = ["power", "water", "warmth"];

/// The directions of a road.
pub const DIRECTIONS: [&str; 2] = ["EB", "WB"];

/// Every file, in the order in which they are imported. `stored` names a sensor and a metric as they come to stand in the
/// tables, which depends on the format that a sensor speaks; `None` where nothing of a metric is said.
pub fn files(city: &City, stored: impl Fn(u32, &str) -> Option<Stored>) -> Vec<File> {
    let mut zones = Table::new("zones", "id,name,parent,geometry");
    let mut segments = Table::new(
        "segments",
        "id,direction,from_node,to_node,length_m,speed_limit_kmh,free_flow_speed_kmh,lanes,capacity_pcu_h,\
         from_lon,from_lat,to_lon,to_lat",
    );
    let mut sensors =
        Table::new("sensors", "id,kind,owner,lon,lat,segment,direction,lane,offset_m,zone,role,privacy");
    let mut all =
        Table::new("series", "sensor,metric,unit,kind,interval_s,modulus,resolution,min,max,max_gap_s");
    let side = (city.districts().len() as f64).sqrt().ceil().max(1.0) as usize;
    for (number, district) in city.districts().iter().enumerate() {
        let zone = zone(city, number);
        let corner = corner(number, side);
        let area = area(corner);
        zones.row(format_args!("{zone},district {number},,{area}"));
        // Each net has a balance of its own.
        for net in NETS {
            zones.row(format_args!("{zone}-{net},{net} of district {number},{zone},{area}"));
        }
        for (way, (direction, road)) in DIRECTIONS.iter().zip(&district.roads).enumerate() {
            let (kmh, capacity) = (road.free_mps * 3.6, road.capacity() * 3_600.0 * f64::from(LANES));
            for at in 0..SEGMENTS {
                // A road's nodes are numbered along its own direction.
                let (from, to) = (format!("{zone}-{direction}{at}"), format!("{zone}-{direction}{}", at + 1));
                let [begin, end] = [at, at + 1].map(|node| node_place(corner, way, node));
                segments.row(format_args!(
                    "{from}-{},{direction},{from},{to},{SEGMENT_M},{:.0},{kmh:.1},{LANES},{capacity:.0},\
                     {:.6},{:.6},{:.6},{:.6}",
                    at + 1,
                    (kmh / 10.0).ceil() * 10.0,
                    begin.0,
                    begin.1,
                    end.0,
                    end.1
                ));
            }
        }
    }
    for sensor in 0..city.sensors() {
        let (number, role) = (sensor as usize / DISTRICT, city.role(sensor));
        let zone = zone(city, number);
        let corner = corner(number, side);
        let ((lon, lat), stand) = match role {
            Role::Loop | Role::QuickLoop | Role::Passages | Role::Radar => {
                let (way, lane, at_m) = city.stand(sensor);
                let direction = DIRECTIONS[way];
                let segment = (at_m / SEGMENT_M) as u8;
                let offset = at_m - f64::from(segment) * SEGMENT_M;
                let [from, to] = [segment, segment + 1].map(|node| node_place(corner, way, node));
                let part = offset / SEGMENT_M;
                let place = (from.0 + part * (to.0 - from.0), from.1 + part * (to.1 - from.1));
                (place, format!("{zone}-{direction}{segment}-{},{direction},{lane},{offset}", segment + 1))
            }
            _ => {
                let place = sensor as usize % DISTRICT;
                let part = |step: usize| (step as f64 + 1.5) / 12.0;
                let lon = corner.0 + part(place % 10) * SPACING.0;
                ((lon, corner.1 + part(place / 10) * SPACING.1), ",,,".to_owned())
            }
        };
        let (is, privacy) = part(role);
        let net =
            if NETS.contains(&role.owner()) { format!("{zone}-{}", role.owner()) } else { zone.clone() };
        let mut named: Vec<String> = Vec::new(); // some formats have a sensor for each series
        for series in series::of(role) {
            let Some(Stored { sensor: id, metric, unit, .. }) = stored(sensor, series.metric) else {
                continue;
            };
            if !named.contains(&id) {
                let (kind, owner) = (role.kind(), role.owner());
                sensors
                    .row(format_args!("{id},{kind},{owner},{lon:.6},{lat:.6},{stand},{net},{is},{privacy}"));
                named.push(id.clone());
            }
            let is_event = series.kind == "event";
            let interval = if is_event { String::new() } else { role.interval_s().to_string() };
            let modulus = series.modulus.map_or_else(String::new, |modulus| modulus.to_string());
            let resolution = 10f64.powi(-i32::from(series.places));
            let (min, max) = series.range;
            let range = if is_event { ",".to_owned() } else { format!("{min},{max}") };
            let gap = if is_event { "" } else { "600" };
            all.row(format_args!(
                "{id},{metric},{unit},{},{interval},{modulus},{resolution},{range},{gap}",
                series.kind
            ));
        }
    }
    [zones, segments, sensors, all].into_iter().flat_map(|table| table.files).collect()
}

/// What a meter is to its zone, and whom its readings concern.
fn part(role: Role) -> (&'static str, &'static str) {
    match role {
        Role::HomePower | Role::Solar | Role::WaterCustomer | Role::Gas | Role::Heat => {
            ("customer", "personal")
        }
        Role::WorkPower => ("customer", "internal"),
        Role::Feeder | Role::WaterInlet => ("inlet", "internal"),
        Role::Tank => ("storage", "internal"),
        Role::WaterPressure => ("", "internal"),
        _ => ("", "public"),
    }
}

/// The south-western corner of a district: districts lie in rows of so many.
fn corner(district: usize, side: usize) -> (f64, f64) {
    let (column, row) = ((district % side) as f64, (district / side) as f64);
    (ORIGIN.0 + column * SPACING.0, ORIGIN.1 + row * SPACING.1)
}

/// A district as GeoJSON, as it stands in CSV.
fn area((west, south): (f64, f64)) -> String {
    let (east, north) = (west + SPACING.0, south + SPACING.1);
    let ring = [(west, south), (east, south), (east, north), (west, north), (west, south)];
    let ring = ring.map(|(lon, lat)| format!("[{lon:.6},{lat:.6}]")).join(",");
    format!(r#""{{""type"":""Polygon"",""coordinates"":[[{ring}]]}}""#)
}

/// A node of the road through the middle of a district, by its number along a direction. The road bends gently to the
/// north; one drives on the right.
fn node_place((west, south): (f64, f64), way: usize, node: u8) -> (f64, f64) {
    let along = f64::from(node) / f64::from(SEGMENTS);
    let (from_west, beside) = if way == 0 { (along, -BESIDE) } else { (1.0 - along, BESIDE) };
    let lon = west + (SPACING.0 - ROAD) / 2.0 + from_west * ROAD;
    (lon, south + SPACING.1 / 2.0 + 4.0 * along * (1.0 - along) * BEND + beside)
}

/// The zone of a district.
pub fn zone(city: &City, district: usize) -> String {
    format!("{}_{district:05}", city.plan.prefix)
}

struct Table {
    name: &'static str,
    head: &'static str,
    rows: usize,
    files: Vec<File>,
}

impl Table {
    fn new(name: &'static str, head: &'static str) -> Table {
        Table { name, head, rows: 0, files: Vec::new() }
    }

    fn row(&mut self, row: std::fmt::Arguments<'_>) {
        if self.rows.is_multiple_of(ROWS) {
            let name = match self.files.len() {
                0 => format!("{}.csv", self.name),
                n => format!("{}-{}.csv", self.name, n + 1),
            };
            self.files.push(File { name, text: format!("{}\n", self.head) });
        }
        self.rows += 1;
        if let Some(file) = self.files.last_mut() {
            let _ = writeln!(file.text, "{row}"); // a String takes everything
        }
    }
}
