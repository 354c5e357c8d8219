//! Who speaks: a gateway for some sensors of a district, or a sensor for itself. A voice keeps its order.

use crate::city::City;
use crate::city::chance::Chance;
use crate::city::role::{DISTRICT, Role};
use crate::city::series;
use crate::speech::Format;

/// One voice; its sensors stand in [`Voices`].
#[derive(Debug, Clone, Copy)]
pub struct Voice {
    pub district: u32,
    pub format: Format,
    /// Reports each twenty seconds, not each minute.
    pub is_quick: bool,
    /// Reports single vehicles.
    pub is_passages: bool,
    first: u32,
    count: u16,
}

/// Every voice of a city.
#[derive(Debug, Clone)]
pub struct Voices {
    all: Vec<Voice>,
    /// Places in their districts, voice by voice.
    places: Vec<u8>,
}

impl Voices {
    /// `pack` is the number of readings that a gateway puts into one message.
    pub fn new(city: &City, pack: usize, formats: &[Format]) -> Voices {
        let mut voices = Voices { all: Vec::new(), places: Vec::new() };
        for district in 0..city.districts().len() as u32 {
            voices.district(city, district, pack, formats);
        }
        voices
    }

    fn district(&mut self, city: &City, district: u32, pack: usize, formats: &[Format]) {
        let from = district * DISTRICT as u32;
        let to = (from + DISTRICT as u32).min(city.sensors());
        // Gateways: of one owner, and of one interval.
        let mut gateways: Vec<(&'static str, bool, Vec<u8>)> = Vec::new();
        for sensor in from..to {
            let (role, place) = (city.role(sensor), (sensor - from) as u8);
            let is_quick = role.interval_s() == super::TICK_S;
            let format = spoken(city, sensor, formats);
            if format != Format::Senml {
                self.push(district, format, is_quick, role == Role::Passages, &[place]);
                continue;
            }
            let found =
                gateways.iter_mut().find(|(owner, quick, _)| *owner == role.owner() && *quick == is_quick);
            match found {
                Some((.., places)) => places.push(place),
                None => gateways.push((role.owner(), is_quick, vec![place])),
            }
        }
        for (_, is_quick, places) in gateways {
            let readings = |place: &u8| city.role(from + u32::from(*place)).readings();
            let mut pending: Vec<u8> = Vec::new();
            for place in &places {
                let held: usize = pending.iter().map(readings).sum();
                if !pending.is_empty() && pack < held + readings(place) {
                    self.push(district, Format::Senml, is_quick, false, &pending);
                    pending.clear();
                }
                pending.push(*place);
            }
            self.push(district, Format::Senml, is_quick, false, &pending);
        }
    }

    fn push(&mut self, district: u32, format: Format, is_quick: bool, is_passages: bool, places: &[u8]) {
        let (first, count) = (self.places.len() as u32, places.len() as u16);
        self.places.extend_from_slice(places);
        self.all.push(Voice { district, format, is_quick, is_passages, first, count });
    }

    pub fn count(&self) -> u32 {
        self.all.len() as u32
    }

    pub fn get(&self, voice: u32) -> Voice {
        self.all[voice as usize]
    }

    /// The sensors of a voice.
    pub fn sensors(&self, voice: u32) -> impl Iterator<Item = u32> + Clone {
        let Voice { district, first, count, .. } = self.get(voice);
        let places = &self.places[first as usize..first as usize + usize::from(count)];
        places.iter().map(move |place| district * DISTRICT as u32 + u32::from(*place))
    }
}

/// The format in which a sensor speaks: of those that can say something of what it measures, one by its number.
pub fn spoken(city: &City, sensor: u32, formats: &[Format]) -> Format {
    let role = city.role(sensor);
    let says = |format: &&Format| {
        let all = series::of(role).iter();
        all.clone().any(|series| {
            let interval_s = if series.is_interval() { role.interval_s() as u32 } else { 0 };
            format.says(series.metric, interval_s)
        })
    };
    let able: Vec<Format> = formats.iter().filter(says).copied().collect();
    match (able.len(), role) {
        (0, Role::Passages) => Format::TrafficPassages,
        (0, _) => Format::Senml,
        (n, _) => able[Chance::new(u64::from(sensor)).below(n as u64) as usize],
    }
}
