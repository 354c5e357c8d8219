//! Messages as they stand in a block.

use std::collections::HashMap;

use jiff::Timestamp;

use super::{Message, PAYLOAD_BYTES_MAX, Properties, problem};

/// All properties of a message together, in bytes: far above what a broker's packet leaves beside a topic, and small
/// against a block.
pub(super) const PROPERTIES_BYTES_MAX: usize = 1 << 20;
const TEXT_BYTES_MAX: usize = u16::MAX as usize;

const RETAIN: u8 = 1 << 2;
const HAS_PROPERTIES: u8 = 1 << 3;

const FORMAT: u8 = 1;
const EXPIRY: u8 = 1 << 1;
const CONTENT_TYPE: u8 = 1 << 2;
const RESPONSE_TOPIC: u8 = 1 << 3;
const CORRELATION: u8 = 1 << 4;
const USER: u8 = 1 << 5;

/// A block that is being filled.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    pub(super) content: Vec<u8>,
    pub(super) messages: u32,
    pub(super) earliest: i64,
    pub(super) latest: i64,
    before: i64,
    /// Number by topic, from 1.
    topics: HashMap<String, u64>,
}

impl Encoder {
    pub(super) fn clear(&mut self) {
        self.content.clear();
        self.topics.clear();
        (self.messages, self.before) = (0, 0);
    }

    /// # Errors
    /// No recording can hold it; nothing of it was added.
    pub(super) fn add(&mut self, message: &Message) -> Result<(), String> {
        if let Some(problem) = problem(&message.topic, &message.payload) {
            return Err(problem);
        }
        if 2 < message.qos {
            return Err(format!("QoS {} on {}: give 0, 1 or 2", message.qos, message.topic));
        }
        message.properties.check().map_err(|problem| format!("{problem}, on {}", message.topic))?;
        let t = i64::try_from(message.t.as_nanosecond())
            .map_err(|_| format!("{} is not between the years 1678 and 2261", message.t))?;
        let to = &mut self.content;
        signed(to, t.wrapping_sub(self.before));
        let properties = message.properties != Properties::default();
        to.push(
            message.qos
                | if message.retain { RETAIN } else { 0 }
                | if properties { HAS_PROPERTIES } else { 0 },
        );
        if let Some(number) = self.topics.get(&message.topic) {
            varint(to, *number);
        } else {
            varint(to, 0);
            bytes(to, message.topic.as_bytes());
            self.topics.insert(message.topic.clone(), self.topics.len() as u64 + 1);
        }
        bytes(to, &message.payload);
        if properties {
            encode_properties(to, &message.properties);
        }
        let first = self.messages == 0;
        self.earliest = if first { t } else { self.earliest.min(t) };
        self.latest = if first { t } else { self.latest.max(t) };
        self.before = t;
        self.messages += 1;
        Ok(())
    }
}

impl Properties {
    /// The bytes that its texts take.
    fn bytes(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let user: usize = self.user.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        length(&self.content_type)
            + length(&self.response_topic)
            + self.correlation.as_ref().map_or(0, Vec::len)
            + user
    }

    /// Whether MQTT and a recording can hold them.
    pub(super) fn check(&self) -> Result<(), String> {
        let texts = self.user.iter().flat_map(|(name, value)| [name.len(), value.len()]);
        let one = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let others = [
            one(&self.content_type),
            one(&self.response_topic),
            self.correlation.as_ref().map_or(0, Vec::len),
        ];
        if texts.chain(others).any(|length| TEXT_BYTES_MAX < length) {
            return Err(format!("a property of more than {TEXT_BYTES_MAX} bytes"));
        }
        if PROPERTIES_BYTES_MAX < self.bytes() {
            return Err(format!("properties of more than {PROPERTIES_BYTES_MAX} bytes"));
        }
        Ok(())
    }
}

fn encode_properties(to: &mut Vec<u8>, properties: &Properties) {
    let Properties { format, expiry_s, content_type, response_topic, correlation, user } = properties;
    let mut mask = 0;
    for (there, bit) in [
        (format.is_some(), FORMAT),
        (expiry_s.is_some(), EXPIRY),
        (content_type.is_some(), CONTENT_TYPE),
        (response_topic.is_some(), RESPONSE_TOPIC),
        (correlation.is_some(), CORRELATION),
        (!user.is_empty(), USER),
    ] {
        mask |= if there { bit } else { 0 };
    }
    to.push(mask);
    to.extend(format);
    if let Some(expiry_s) = expiry_s {
        varint(to, u64::from(*expiry_s));
    }
    for text in [content_type, response_topic].into_iter().flatten() {
        bytes(to, text.as_bytes());
    }
    if let Some(correlation) = correlation {
        bytes(to, correlation);
    }
    if !user.is_empty() {
        varint(to, user.len() as u64);
        for (name, value) in user {
            bytes(to, name.as_bytes());
            bytes(to, value.as_bytes());
        }
    }
}

fn varint(to: &mut Vec<u8>, mut number: u64) {
    while 0x7f < number {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

/// Zigzag: 0, -1, 1, -2 are 0, 1, 2, 3.
fn signed(to: &mut Vec<u8>, number: i64) {
    varint(to, (number << 1 ^ number >> 63).cast_unsigned());
}

fn bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    varint(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

/// A block that is being read.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    content: Vec<u8>,
    at: usize,
    /// Messages still to come.
    left: u32,
    before: i64,
    topics: Vec<String>,
}

impl Decoder {
    pub(super) fn new(content: Vec<u8>, messages: u32) -> Decoder {
        Decoder { content, at: 0, left: messages, before: 0, topics: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// The next message, and at last `None`.
    ///
    /// # Errors
    /// What stands there was not written by this format.
    pub(super) fn next(&mut self) -> Result<Option<Message>, String> {
        if self.left == 0 {
            return match self.at == self.content.len() {
                true => Ok(None),
                false => Err("bytes follow its last message".to_owned()),
            };
        }
        let t = self.before.wrapping_add(self.signed()?);
        let flags = self.byte()?;
        let qos = flags & 3;
        if qos == 3 || flags >> 4 != 0 {
            return Err(format!("flags of {flags:#04x}"));
        }
        let topic = match self.varint()? {
            0 => {
                let topic = self.text()?;
                self.topics.push(topic.clone());
                topic
            }
            number => usize::try_from(number - 1)
                .ok()
                .and_then(|at| self.topics.get(at).cloned())
                .ok_or_else(|| format!("topic {number} of {}", self.topics.len()))?,
        };
        let payload = self.bytes(PAYLOAD_BYTES_MAX)?.to_vec();
        let properties = if flags & HAS_PROPERTIES == 0 { Properties::default() } else { self.properties()? };
        if let Some(problem) = problem(&topic, &payload) {
            return Err(problem);
        }
        let t_ns = t;
        let t = Timestamp::from_nanosecond(i128::from(t_ns)).map_err(|error| error.to_string())?;
        (self.before, self.left) = (t_ns, self.left - 1);
        Ok(Some(Message { t, topic, payload, qos, retain: flags & RETAIN != 0, properties }))
    }

    fn properties(&mut self) -> Result<Properties, String> {
        let mask = self.byte()?;
        if mask >> 6 != 0 {
            return Err(format!("a mask of properties of {mask:#04x}"));
        }
        let has = |bit| mask & bit != 0;
        let mut properties = Properties::default();
        if has(FORMAT) {
            properties.format = Some(self.byte()?);
        }
        if has(EXPIRY) {
            let expiry = u32::try_from(self.varint()?).map_err(|_| "an expiry beyond 32 bits")?;
            properties.expiry_s = Some(expiry);
        }
        if has(CONTENT_TYPE) {
            properties.content_type = Some(self.text()?);
        }
        if has(RESPONSE_TOPIC) {
            properties.response_topic = Some(self.text()?);
        }
        if has(CORRELATION) {
            properties.correlation = Some(self.bytes(TEXT_BYTES_MAX)?.to_vec());
        }
        if has(USER) {
            let mut bytes = 0;
            for _ in 0..self.varint()? {
                let (name, value) = (self.text()?, self.text()?);
                bytes += name.len() + value.len() + 4;
                if PROPERTIES_BYTES_MAX < bytes {
                    break; // said below, before more is kept
                }
                properties.user.push((name, value));
            }
        }
        properties.check()?;
        Ok(properties)
    }

    fn byte(&mut self) -> Result<u8, String> {
        let byte = *self.content.get(self.at).ok_or("it ends within a message")?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && 1 < part {
                break;
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("a number of more than 64 bits".to_owned())
    }

    fn signed(&mut self) -> Result<i64, String> {
        let number = self.varint()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn bytes(&mut self, most: usize) -> Result<&[u8], String> {
        let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        if most < length {
            return Err(format!("{length} bytes where {most} are the most"));
        }
        let end = self.at + length;
        let bytes = self.content.get(self.at..end).ok_or("it ends within a message")?;
        self.at = end;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<String, String> {
        let bytes = self.bytes(TEXT_BYTES_MAX)?;
        Ok(str::from_utf8(bytes).map_err(|_| "a text that is not UTF-8")?.to_owned())
    }
}
