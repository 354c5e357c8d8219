//! What a sensor of the city is. A district has a hundred, of which any first few are as good a sample as can be.

/// A sensor's role in its district.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// A loop in one lane that reports each minute, or every twenty seconds.
    Loop,
    QuickLoop,
    /// A loop that reports each vehicle.
    Passages,
    /// A radar over all lanes of one direction.
    Radar,
    Parking,
    HomePower,
    WorkPower,
    /// A home with a roof that feeds in.
    Solar,
    /// What comes into a district's net of low voltage.
    Feeder,
    WaterCustomer,
    WaterInlet,
    Tank,
    WaterPressure,
    Gas,
    Heat,
    Air,
    Weather,
    Noise,
}

/// Sensors of a full district.
pub const DISTRICT: usize = 100;

const FIRST: [Role; 18] = [
    Role::Loop,
    Role::HomePower,
    Role::WaterCustomer,
    Role::WaterInlet,
    Role::Passages,
    Role::QuickLoop,
    Role::Tank,
    Role::Gas,
    Role::Heat,
    Role::Air,
    Role::Feeder,
    Role::Weather,
    Role::Parking,
    Role::Radar,
    Role::Noise,
    Role::WaterPressure,
    Role::WorkPower,
    Role::Solar,
];

/// How many a full district has of each that has more than one.
const MORE: [(Role, usize); 10] = [
    (Role::Loop, 26),
    (Role::QuickLoop, 4),
    (Role::Passages, 2),
    (Role::Radar, 2),
    (Role::Parking, 2),
    (Role::HomePower, 30),
    (Role::WaterCustomer, 14),
    (Role::Gas, 5),
    (Role::Heat, 4),
    (Role::Air, 3),
];

/// The roles of a district in the order of its sensors.
pub fn of_district() -> [Role; DISTRICT] {
    let mut roles = [Role::HomePower; DISTRICT];
    roles[..FIRST.len()].copy_from_slice(&FIRST);
    let mut at = FIRST.len();
    for (role, count) in MORE {
        for _ in 1..count {
            roles[at] = role;
            at += 1;
        }
    }
    roles
}

impl Role {
    /// In the names of its sensors and in the column `kind` of the registry.
    pub fn kind(self) -> &'static str {
        match self {
            Role::Loop | Role::QuickLoop | Role::Passages => "loop",
            Role::Radar => "radar",
            Role::Parking => "parking",
            Role::HomePower | Role::WorkPower | Role::Solar | Role::Feeder => "e-meter",
            Role::WaterCustomer | Role::WaterInlet => "w-meter",
            Role::Tank => "tank",
            Role::WaterPressure => "pressure",
            Role::Gas => "g-meter",
            Role::Heat => "h-meter",
            Role::Air => "air",
            Role::Weather => "weather",
            Role::Noise => "noise",
        }
    }

    /// Short, for the sensor's name.
    pub fn name(self) -> &'static str {
        match self {
            Role::Loop => "loop",
            Role::QuickLoop => "quick",
            Role::Passages => "lane",
            Role::Radar => "radar",
            Role::Parking => "park",
            Role::HomePower => "home",
            Role::WorkPower => "work",
            Role::Solar => "solar",
            Role::Feeder => "feeder",
            Role::WaterCustomer => "water",
            Role::WaterInlet => "inlet",
            Role::Tank => "tank",
            Role::WaterPressure => "pressure",
            Role::Gas => "gas",
            Role::Heat => "heat",
            Role::Air => "air",
            Role::Weather => "weather",
            Role::Noise => "noise",
        }
    }

    /// Who owns it, and whose gateway it speaks through.
    pub fn owner(self) -> &'static str {
        match self {
            Role::Loop | Role::QuickLoop | Role::Passages | Role::Radar | Role::Parking => "traffic",
            Role::HomePower | Role::WorkPower | Role::Solar | Role::Feeder => "power",
            Role::WaterCustomer | Role::WaterInlet | Role::Tank | Role::WaterPressure => "water",
            Role::Gas | Role::Heat => "warmth",
            Role::Air | Role::Weather | Role::Noise => "environment",
        }
    }

    /// Seconds between two of its reports; of one that reports each vehicle, between two deliveries of its passages.
    pub fn interval_s(self) -> i64 {
        match self {
            Role::QuickLoop | Role::Passages => 20,
            _ => 60,
        }
    }

    /// Readings in a report, at most.
    pub fn readings(self) -> usize {
        match self {
            Role::Loop | Role::QuickLoop | Role::Solar => 3,
            Role::Air => 4,
            Role::Weather => 4,
            Role::Radar
            | Role::HomePower
            | Role::WorkPower
            | Role::Feeder
            | Role::WaterInlet
            | Role::Tank
            | Role::Heat => 2,
            Role::Parking
            | Role::WaterCustomer
            | Role::WaterPressure
            | Role::Gas
            | Role::Noise
            | Role::Passages => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_district_is_full() {
        let roles = of_district();
        let count = |role| roles.iter().filter(|other| **other == role).count();
        assert!(MORE.iter().all(|(role, due)| count(*role) == *due));
        assert_eq!(FIRST.map(count).iter().sum::<usize>(), DISTRICT);
    }
}
