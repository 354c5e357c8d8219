use std::{fmt, str::FromStr};

/// A set of whole numbers as ranges [from, to): PostgreSQL's `int8multirange`. Sorted, apart from each other.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Ranges(Vec<(i64, i64)>);

impl Ranges {
    pub fn contains(&self, number: i64) -> bool {
        let after = self.0.partition_point(|(from, _)| *from <= number);
        after.checked_sub(1).is_some_and(|last| number < self.0[last].1)
    }

    /// Takes a number in, unless that would make more than `most` ranges. Says whether it is in now.
    pub fn insert(&mut self, number: i64, most: usize) -> bool {
        let after = self.0.partition_point(|(from, _)| *from <= number);
        let joins_left = after.checked_sub(1).filter(|left| number <= self.0[*left].1);
        let joins_right = (after < self.0.len() && self.0[after].0 == number + 1).then_some(after);
        match (joins_left, joins_right) {
            (Some(left), _) if number < self.0[left].1 => {}
            (Some(left), Some(right)) => {
                self.0[left].1 = self.0[right].1;
                self.0.remove(right);
            }
            (Some(left), None) => self.0[left].1 = number + 1,
            (None, Some(right)) => self.0[right].0 = number,
            (None, None) if self.0.len() < most => self.0.insert(after, (number, number + 1)),
            (None, None) => return false,
        }
        true
    }

    /// The highest number up to which none is missing, from 1 on; 0 where 1 is missing.
    pub fn contiguous(&self) -> i64 {
        self.0.first().filter(|(from, _)| *from <= 1).map_or(0, |(_, to)| to - 1)
    }

    /// The highest number; 0 where there is none.
    pub fn last(&self) -> i64 {
        self.0.last().map_or(0, |(_, to)| to - 1)
    }

    /// How many of 1 to the highest are missing.
    pub fn missing(&self) -> i64 {
        self.last() - self.0.iter().map(|(from, to)| to - from).sum::<i64>()
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (from, to)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}[{from},{to})")?;
        }
        f.write_str("}")
    }
}

impl FromStr for Ranges {
    type Err = String;

    /// Reads what the server writes: always [from, to), sorted and apart.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no int8multirange");
        let inside = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).ok_or_else(wrong)?;
        let range = |range: &str| {
            let (from, to) = range.strip_prefix('[')?.split_once(',')?;
            Some((from.parse().ok()?, to.parse().ok()?))
        };
        inside
            .split_terminator(')')
            .map(|part| range(part.trim_start_matches(',')).ok_or_else(wrong))
            .collect::<Result<_, _>>()
            .map(Ranges)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_are_the_set_of_what_was_inserted(numbers in proptest::collection::vec(1..60i64, 0..80)) {
            let mut ranges = Ranges::default();
            let mut set = BTreeSet::new();
            for number in numbers {
                prop_assert!(ranges.insert(number, usize::MAX));
                set.insert(number);
            }
            for number in 0..61 {
                prop_assert_eq!(ranges.contains(number), set.contains(&number));
            }
            prop_assert!(ranges.0.windows(2).all(|pair| pair[0].1 < pair[1].0));
            prop_assert_eq!(ranges.to_string().parse::<Ranges>().unwrap(), ranges.clone());
            let last = set.last().copied().unwrap_or(0);
            prop_assert_eq!(ranges.last(), last);
            prop_assert_eq!(ranges.missing(), last - set.len() as i64);
            prop_assert_eq!(ranges.contiguous(), (1..).find(|n| !set.contains(n)).unwrap() - 1);
        }
    }

    #[test]
    fn the_number_of_ranges_is_bounded_and_gaps_can_still_be_filled() {
        let mut ranges = Ranges::default();
        assert!(ranges.insert(1, 2) && ranges.insert(5, 2));
        assert!(!ranges.insert(9, 2) && !ranges.contains(9));
        assert!(ranges.insert(2, 2) && ranges.insert(3, 2) && ranges.insert(4, 2) && ranges.insert(9, 2));
        assert_eq!(ranges.to_string(), "{[1,6),[9,10)}");
    }
}
