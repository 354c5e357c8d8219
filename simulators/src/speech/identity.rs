//! Identifiers that follow from a sensor's name, as its maker would have printed them on it.

/// FNV-1a, 64 bits: the same on every machine, and written down in three lines. The name's bytes, then a zero byte and the
/// number's eight in little endian, where there is one.
pub(super) fn hash(name: &str, number: Option<u64>) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(PRIME);
    let hash = name.bytes().fold(OFFSET, step);
    match number {
        None => hash,
        Some(number) => number.to_le_bytes().into_iter().fold(step(hash, 0), step),
    }
}

/// Sixteen hexadecimal digits: an EUI-64 of LoRaWAN, or the secondary address of a meter.
pub(super) fn eui(sensor: &str) -> String {
    format!("{:016X}", hash(sensor, None))
}

/// Of one of a sensor's messages: a UUID of version 8 (RFC 9562), whose bits are ours to choose.
pub(super) fn uuid(sensor: &str, number: u64) -> String {
    let (high, low) = (hash(sensor, None), hash(sensor, Some(number)));
    format!(
        "{:08x}-{:04x}-8{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_those_of_the_published_hash() {
        assert_eq!(hash("", None), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash("a", None), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(eui("a"), "AF63DC4C8601EC8C");
        let uuid = uuid("a", 0);
        assert_eq!((uuid.len(), &uuid[..19]), (36, "af63dc4c-8601-8c8c-"));
        assert_ne!(uuid, super::uuid("a", 1));
    }
}
