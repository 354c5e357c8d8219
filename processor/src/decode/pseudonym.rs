//! Identifiers that must be matched within a day, and by nobody afterwards.

use std::{collections::BTreeMap, fmt};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::model::Time;

/// Microseconds of a day; days are UTC, so that every city of a region turns at once.
const DAY: i64 = 86_400_000_000;

/// The keys of some days. A day whose key is gone has no pseudonyms any more.
#[derive(Clone, Default)]
pub struct Pseudonyms {
    /// By days since 1970.
    keys: BTreeMap<i64, [u8; 32]>,
}

impl Pseudonyms {
    /// Days since 1970 (UTC).
    pub fn day(time: Time) -> i64 {
        time.micros().div_euclid(DAY)
    }

    pub fn insert(&mut self, day: i64, key: [u8; 32]) {
        self.keys.insert(day, key);
    }

    /// HMAC-SHA-256 of an identifier under the key of the day in which it was seen, the first 16 bytes in hexadecimal;
    /// `None` where there is no key.
    pub fn of(&self, identifier: &str, seen: Time) -> Option<String> {
        let key = self.keys.get(&Self::day(seen))?;
        let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?; // any length is allowed
        mac.update(identifier.trim().as_bytes());
        let hash = mac.finalize().into_bytes();
        Some(hash[..16].iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keys of {} days", self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_the_same_within_its_day_only() {
        let mut keys = Pseudonyms::default();
        let at = |micros| Time::from_micros(micros);
        assert_eq!(keys.of("B-XY 123", at(5)), None);
        keys.insert(0, [1; 32]);
        keys.insert(1, [2; 32]);
        assert_eq!(keys.of("B-XY 123", at(5)), keys.of("B-XY 123", at(DAY - 1)));
        assert_ne!(keys.of("B-XY 123", at(5)), keys.of("B-XY 123", at(DAY)));
        assert_ne!(keys.of("B-XY 123", at(5)), keys.of("B-XY 124", at(5)));
        assert_eq!(keys.of("B-XY 123", at(5)).unwrap().len(), 32);
        assert!(!format!("{keys:?}").contains('['));
    }
}
