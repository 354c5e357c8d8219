use crate::observation::{Decimal, Reading};

/// Who speaks, and which of its messages comes next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speaker<'a> {
    pub sensor: &'a str,
    /// Of the message, among the sensor's.
    pub sequence: u64,
    /// First in the message's object, with a comma after it, or empty.
    pub member: &'a str,
}

impl<'a> Speaker<'a> {
    /// As many messages as the times of what is said ask for: each has one time and one interval, and no metric twice.
    pub fn messages<'r>(
        self,
        readings: &'r [Reading<'r>],
        says: impl Fn(&Reading<'_>) -> bool,
    ) -> impl Iterator<Item = (Speaker<'a>, Vec<&'r Reading<'r>>)> {
        let said = groups(readings, says);
        self.counted(said)
    }

    /// One message for each reading.
    pub fn single<'r>(
        self,
        readings: &'r [Reading<'r>],
        says: impl Fn(&Reading<'_>) -> bool,
    ) -> impl Iterator<Item = (Speaker<'a>, &'r Reading<'r>)> {
        self.counted(readings.iter().filter(move |reading| says(reading)))
    }

    /// A number stands in one message only: two that bear it would be taken for one.
    pub fn counted<T>(self, messages: impl IntoIterator<Item = T>) -> impl Iterator<Item = (Speaker<'a>, T)> {
        (self.sequence..).zip(messages).map(move |(sequence, message)| {
            let member = if sequence == self.sequence { self.member } else { "" };
            (Speaker { sequence, member, ..self }, message)
        })
    }
}

/// Readings of one time and one interval that follow each other, no metric twice among them.
pub(super) fn groups<'r>(
    readings: &'r [Reading<'r>],
    says: impl Fn(&Reading<'_>) -> bool,
) -> Vec<Vec<&'r Reading<'r>>> {
    let mut groups: Vec<Vec<&Reading<'_>>> = Vec::new();
    for reading in readings.iter().filter(|reading| says(reading)) {
        let fits = |group: &&mut Vec<&Reading<'_>>| {
            let first = group[0];
            (first.time_us, first.interval_s) == (reading.time_us, reading.interval_s)
                && group.iter().all(|other| other.metric != reading.metric)
        };
        match groups.last_mut().filter(fits) {
            Some(group) => group.push(reading),
            None => groups.push(vec![reading]),
        }
    }
    groups
}

/// The name that a payload has for a metric, of those that stand in its list.
pub(super) fn field(fields: &[(&str, &'static str)], metric: &str) -> Option<&'static str> {
    fields.iter().find(|(known, _)| *known == metric).map(|(_, field)| *field)
}

/// Of readings that stand beside each other: the number of one metric.
pub(super) fn value(group: &[&Reading<'_>], metric: &str) -> Option<Decimal> {
    group.iter().find(|reading| reading.metric == metric).map(|reading| reading.value)
}

/// The members of a JSON object: `"temperature":21.5,"humidity":40`.
pub(super) fn members(group: &[&Reading<'_>], fields: &[(&str, &'static str)]) -> String {
    let members = group.iter().filter_map(|reading| {
        let field = field(fields, reading.metric)?;
        Some(format!(r#""{field}":{}"#, reading.value))
    });
    members.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_one_time_and_no_metric_twice() {
        let reading = |metric, time_us| Reading {
            metric,
            unit: "",
            time_us,
            interval_s: 0,
            value: Decimal::whole(time_us),
        };
        let readings = [reading("a", 1), reading("b", 1), reading("a", 1), reading("x", 1), reading("b", 2)];
        let speaker = Speaker { sensor: "s", sequence: 7, member: "m," };
        let said: Vec<_> = speaker
            .messages(&readings, |reading| reading.metric != "x")
            .map(|(speaker, group)| {
                (speaker.sequence, speaker.member, members(&group, &[("a", "A"), ("b", "B")]))
            })
            .collect();
        let expected = [(7, "m,", r#""A":1,"B":1"#), (8, "", r#""A":1"#), (9, "", r#""B":2"#)];
        assert_eq!(said, expected.map(|(sequence, member, text)| (sequence, member, text.to_owned())));
    }
}
