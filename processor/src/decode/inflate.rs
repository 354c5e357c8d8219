//! Compressed payloads, told by their first bytes: gzip, zlib, and gzip in Base64.

use std::{borrow::Cow, io::Read};

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::read::{MultiGzDecoder, ZlibDecoder};

use crate::model::{Reason, reason::Refusal};

/// The payload as it was before it was compressed, at most `limit` bytes.
///
/// # Errors
/// `TooLarge`, or `NotInflatable` where it begins as a compressed one and is none.
pub fn inflated(payload: &[u8], limit: usize) -> Result<Cow<'_, [u8]>, Refusal> {
    match payload {
        [0x1f, 0x8b, ..] => read(MultiGzDecoder::new(payload), limit).map(Cow::Owned),
        // A text may begin with these bytes, too (`x^`): it stays what it is.
        [0x78, flags, ..] if (0x7800 + u16::from(*flags)).is_multiple_of(31) => {
            match read(ZlibDecoder::new(payload), limit) {
                Err(refusal) if refusal.reason == Reason::NotInflatable && payload.is_ascii() => {
                    Ok(Cow::Borrowed(payload))
                }
                outcome => outcome.map(Cow::Owned),
            }
        }
        [b'H', b'4', b's', b'I', ..] => match STANDARD.decode(payload.trim_ascii_end()) {
            Ok(compressed) => read(MultiGzDecoder::new(compressed.as_slice()), limit).map(Cow::Owned),
            Err(_) => Ok(Cow::Borrowed(payload)),
        },
        _ => Ok(Cow::Borrowed(payload)),
    }
}

fn read(decoder: impl Read, limit: usize) -> Result<Vec<u8>, Refusal> {
    let mut inflated = Vec::new();
    let read = decoder.take(limit as u64 + 1).read_to_end(&mut inflated);
    read.map_err(|error| Refusal::new(Reason::NotInflatable, error.to_string()))?;
    if limit < inflated.len() {
        let detail = format!("more than {limit} bytes when inflated");
        return Err(Refusal::new(Reason::TooLarge, detail));
    }
    Ok(inflated)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{
        Compression,
        write::{GzEncoder, ZlibEncoder},
    };
    use proptest::prelude::*;

    use super::*;
    use crate::decode::PAYLOAD_BYTES_MAX;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_compressed_payload_is_what_was_compressed() {
        let text = br#"{"v":1}"#;
        for compressed in [gzip(text), zlib(text), STANDARD.encode(gzip(text)).into_bytes(), text.to_vec()] {
            assert_eq!(*inflated(&compressed, 100).unwrap(), *text);
        }
        assert_eq!(*inflated(b"x^2 value=1", 100).unwrap(), *b"x^2 value=1");
        assert_eq!(inflated(b"\x1f\x8bnonsense", 100).unwrap_err().reason, Reason::NotInflatable);
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit() {
        let bomb = gzip(&vec![0; 64 << 20]);
        assert!(bomb.len() < 100 << 10);
        assert_eq!(inflated(&bomb, PAYLOAD_BYTES_MAX).unwrap_err().reason, Reason::TooLarge);
        let nested = zlib(&vec![0; PAYLOAD_BYTES_MAX + 1]);
        assert_eq!(inflated(&nested, PAYLOAD_BYTES_MAX).unwrap_err().reason, Reason::TooLarge);
    }

    proptest! {
        #[test]
        fn any_bytes_are_inflated_or_refused(head in 0..3usize, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let head: &[u8] = [&b"\x1f\x8b\x08"[..], b"\x78\x9c", b"H4sI"][head];
            let _ = inflated(&[head, &bytes].concat(), 1_000);
        }
    }
}
