//! Reads MQTT 5 as it passes a proxy: which message was delivered under which packet id, and when it was acknowledged.

use std::collections::HashMap;

use crate::proxy::Passed;

/// A delivery that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    pub topic: String,
    pub payload: Vec<u8>,
    /// When the acknowledgement came to the proxy, in microseconds since 1970.
    pub at_us: i64,
}

const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;

/// The deliveries from the server that the client acknowledged, in the order of the acknowledgements.
pub fn acknowledged(passed: impl IntoIterator<Item = Passed>) -> Vec<Acknowledged> {
    let mut streams: HashMap<(u64, bool), Vec<u8>> = HashMap::new();
    let mut in_flight: HashMap<(u64, u16), (String, Vec<u8>)> = HashMap::new();
    let mut acknowledged = Vec::new();
    for Passed { connection, to_server, at_us, bytes } in passed {
        let stream = streams.entry((connection, to_server)).or_default();
        stream.extend(bytes);
        let mut done = 0;
        while let Some((header, body, length)) = packet(&stream[done..]) {
            done += length;
            match (header >> 4, to_server) {
                (PUBLISH, false) => {
                    if let Some((id, topic, payload)) = delivery(header, body) {
                        in_flight.insert((connection, id), (topic, payload));
                    }
                }
                (PUBACK, true) => {
                    let id = u16::from_be_bytes([body[0], body[1]]);
                    if let Some((topic, payload)) = in_flight.remove(&(connection, id)) {
                        acknowledged.push(Acknowledged { topic, payload, at_us });
                    }
                }
                _ => {}
            }
        }
        stream.drain(..done);
    }
    acknowledged
}

/// The first packet, if all of it is there: its first byte, its body, and how long it is.
fn packet(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (length, width) = varint(bytes.get(1..)?)?;
    let end = 1 + width + length;
    Some((bytes[0], bytes.get(1 + width..end)?, end))
}

fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (i, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, i + 1));
        }
    }
    None
}

/// The packet id, topic and payload of a delivery at QoS 1.
fn delivery(header: u8, body: &[u8]) -> Option<(u16, String, Vec<u8>)> {
    if header >> 1 & 3 == 0 {
        return None;
    }
    let topic_length = usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?]));
    let topic = String::from_utf8_lossy(body.get(2..2 + topic_length)?).into_owned();
    let rest = body.get(2 + topic_length..)?;
    let id = u16::from_be_bytes([*rest.first()?, *rest.get(1)?]);
    let (properties, width) = varint(rest.get(2..)?)?;
    Some((id, topic, rest.get(2 + width + properties..)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_finds_its_delivery_over_any_cut() {
        let publish = [0x32, 9, 0, 1, b'a', 0, 7, 0, b'x', b'y', b'z'];
        let puback = [0x40, 2, 0, 7];
        let passed = |to_server, at_us, bytes: &[u8]| Passed {
            connection: 1,
            to_server,
            at_us,
            bytes: bytes.to_vec(),
        };
        for cut in 0..publish.len() {
            let found = acknowledged([
                passed(false, 1, &publish[..cut]),
                passed(false, 2, &publish[cut..]),
                passed(true, 3, &puback[..1]),
                passed(true, 4, &puback[1..]),
            ]);
            let wanted = Acknowledged { topic: "a".to_owned(), payload: b"xyz".to_vec(), at_us: 4 };
            assert_eq!(found, [wanted]);
        }
    }
}
