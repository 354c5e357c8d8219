use std::fs::{self, OpenOptions};
use std::io::Write;
use std::sync::{Arc, Mutex};

use jiff::SignedDuration;
use proptest::{collection::vec, option, prelude::*, sample::Index};
use xxhash_rust::xxh3::xxh3_64;

use super::block::{HEAD_BYTES, MAGIC};
use super::*;

fn header() -> Header {
    Header {
        times: vec!["a/+=rfc3339:/time".parse().unwrap(), "s/#=senml".parse().unwrap()],
        broker: Some("mqtt://127.0.0.1:1883".to_owned()),
        ..Header::named("test")
    }
}

fn message(second: i64, topic: &str) -> Message {
    Message::new(Timestamp::from_second(second).unwrap(), topic.to_owned(), format!("{second}").into_bytes())
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[a-z]{0,300}"]
}

prop_compose! {
    fn properties()(
        format in option::of(0..2u8),
        expiry_s in option::of(any::<u32>()),
        content_type in option::of(text()),
        response_topic in option::of(text()),
        correlation in option::of(vec(any::<u8>(), 0..50)),
        user in vec((text(), text()), 0..4),
    ) -> Properties {
        Properties { format, expiry_s, content_type, response_topic, correlation, user }
    }
}

prop_compose! {
    fn any_message()(
        ns in any::<i64>(),
        topic in prop_oneof!["[a-c](/[a-c]){0,2}", "[^+#\0]{1,40}"],
        payload in vec(any::<u8>(), 0..200),
        qos in 0..3u8,
        retain in any::<bool>(),
        properties in prop_oneof![Just(Properties::default()), properties()],
    ) -> Message {
        let t = Timestamp::from_nanosecond(i128::from(ns)).unwrap();
        Message { t, topic, payload, qos, retain, properties }
    }
}

/// Blocks of these messages each.
fn write(path: &Path, blocks: &[&[Message]]) -> Summary {
    let mut writer = Writer::create(path, &header()).unwrap();
    for block in blocks {
        block.iter().for_each(|message| writer.write(message).unwrap());
        writer.flush().unwrap();
    }
    writer.finish().unwrap()
}

fn read(path: &Path) -> Result<(Vec<Message>, u64), RecordingError> {
    let mut reader = Recording::open(path)?.read()?;
    let messages = reader.by_ref().collect::<Result<_, _>>()?;
    Ok((messages, reader.cut_bytes()))
}

fn bytes_of(blocks: &[&[Message]]) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    write(file.path(), blocks);
    fs::read(file.path()).unwrap()
}

/// Also through a pipe, which says the same.
fn read_bytes(bytes: &[u8]) -> Result<(Vec<Message>, u64), RecordingError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    let from_file = read(file.path());
    let from_stream =
        Recording::stream(Box::new(io::Cursor::new(bytes.to_vec())), "test").and_then(|stream| {
            let mut reader = stream.read()?;
            let messages: Vec<Message> = reader.by_ref().collect::<Result<_, _>>()?;
            Ok((messages, reader.cut_bytes()))
        });
    assert_eq!(from_file.as_ref().ok(), from_stream.as_ref().ok());
    from_file
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(messages in vec(any_message(), 0..30), cut in any::<Index>()) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let cut = cut.index(messages.len() + 1);
        let summary = write(file.path(), &[&messages[..cut], &messages[cut..]]);
        prop_assert_eq!(summary.messages, messages.len() as u64);
        prop_assert_eq!(summary.bytes, fs::metadata(file.path()).unwrap().len());
        let recording = Recording::open(file.path()).unwrap();
        prop_assert_eq!(recording.header(), &header());
        let extent = recording.extent(Window::default()).unwrap();
        prop_assert_eq!(extent.map_or(0, |extent| extent.messages), messages.len() as u64);
        prop_assert_eq!(extent.map(|extent| extent.first), messages.iter().map(|message| message.t).min());
        prop_assert_eq!(extent.map(|extent| extent.last), messages.iter().map(|message| message.t).max());
        let (found, cut_bytes) = read(file.path()).unwrap();
        prop_assert!(found == messages && cut_bytes == 0);
    }

    #[test]
    fn flipped_bits_never_make_another_message(
        messages in vec(any_message(), 3..12),
        flips in vec((any::<Index>(), 0..8u8), 1..4),
    ) {
        let mut bytes = bytes_of(&[&messages[..2], &messages[2..]]);
        for (at, bit) in flips {
            *at.get_mut(&mut bytes) ^= 1 << bit;
        }
        if let Ok((found, cut_bytes)) = read_bytes(&bytes) {
            prop_assert!(messages.starts_with(&found));
            prop_assert!(found.len() == messages.len() || 0 < cut_bytes);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_a_torn_tail(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert!(read_bytes(&bytes).is_err());
        let mut whole = bytes_of(&[&[message(1, "a")]]);
        whole.extend(&bytes);
        if let Ok((found, cut_bytes)) = read_bytes(&whole) {
            prop_assert_eq!((found.len(), cut_bytes), (1, bytes.len() as u64));
        }
    }

    /// A content that was never written, under checks that are right.
    #[test]
    fn any_content_is_read_or_refused(content in vec(any::<u8>(), 0..200), messages in 0..5u32) {
        let mut decoder = content::Decoder::new(content, messages);
        for _ in 0..messages {
            match decoder.next() {
                Ok(Some(message)) => prop_assert!(problem(&message.topic, &message.payload).is_none()),
                _ => break,
            }
        }
    }
}

#[test]
fn a_file_cut_anywhere_has_the_messages_of_its_whole_blocks() {
    let messages: Vec<Message> = (0..9).map(|second| message(second, "a/b")).collect();
    let blocks = [&messages[..3], &messages[3..5], &messages[5..]];
    let bytes = bytes_of(&blocks);
    let ends: Vec<usize> = (0..=3).map(|blocks_there| bytes_of(&blocks[..blocks_there]).len()).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    for cut in 0..bytes.len() {
        let whole = ends.iter().filter(|end| **end <= cut).count();
        let Some(whole) = whole.checked_sub(1) else {
            let error = read_bytes(&bytes[..cut]).unwrap_err();
            assert!(matches!(error, RecordingError::Empty(_)), "{cut}: {error}");
            continue;
        };
        let expected: Vec<Message> = blocks[..whole].concat();
        let (found, cut_bytes) = read_bytes(&bytes[..cut]).unwrap();
        assert!(found == expected && cut_bytes == (cut - ends[whole]) as u64, "{cut}");
        // And a recorder goes on behind them.
        fs::write(file.path(), &bytes[..cut]).unwrap();
        let mut writer = Writer::append(file.path(), &header()).unwrap();
        assert_eq!(writer.summary().cut_bytes, cut_bytes);
        writer.write(&message(100, "a/b")).unwrap();
        writer.finish().unwrap();
        let (found, cut_bytes) = read(file.path()).unwrap();
        assert!(found == [expected, vec![message(100, "a/b")]].concat() && cut_bytes == 0, "{cut}");
    }
}

#[test]
fn a_tail_of_zeros_or_a_last_block_half_written_is_torn() {
    let messages = [message(1, "a"), message(2, "a")];
    let whole = bytes_of(&[&messages[..1], &messages[1..]]);
    let first = bytes_of(&[&messages[..1]]);
    let zeros = [&first[..], &[0; 4_096]].concat();
    assert_eq!(read_bytes(&zeros).unwrap(), (messages[..1].to_vec(), 4_096));
    let mut holed = whole;
    let end = holed.len();
    holed[end - 6..].fill(0);
    let torn = (end - first.len()) as u64;
    assert_eq!(read_bytes(&holed).unwrap(), (messages[..1].to_vec(), torn));
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &holed).unwrap();
    assert_eq!(Writer::append(file.path(), &header()).unwrap().summary().cut_bytes, torn);
    assert_eq!(read(file.path()).unwrap(), (messages[..1].to_vec(), 0));
}

#[test]
fn damage_in_the_middle_is_an_error_behind_what_is_whole() {
    let messages: Vec<Message> = (0..3).map(|second| message(second, "a")).collect();
    let mut bytes = bytes_of(&[&messages[..1], &messages[1..2], &messages[2..]]);
    let second = bytes_of(&[&messages[..1]]).len();
    bytes[second + HEAD_BYTES] ^= 1;
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &bytes).unwrap();
    let found: Vec<_> = Recording::open(file.path()).unwrap().read().unwrap().collect();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].as_ref().unwrap(), &messages[0]);
    let error = found[1].as_ref().unwrap_err().to_string();
    assert!(error.contains("block 2: its content is damaged"), "{error}");
}

/// A head whose checks are right.
fn hostile(stored: u32, content: u32, messages: u32) -> Vec<u8> {
    let first = bytes_of(&[]);
    let mut head = [0; HEAD_BYTES];
    head[..4].copy_from_slice(b"MSGS");
    head[4..8].copy_from_slice(&stored.to_le_bytes());
    head[8..16].copy_from_slice(&1u64.to_le_bytes());
    head[16..20].copy_from_slice(&content.to_le_bytes());
    head[20..24].copy_from_slice(&messages.to_le_bytes());
    head[40..48].copy_from_slice(&xxh3_64(&[]).to_le_bytes());
    let check = xxh3_64(&head[..48]);
    head[48..].copy_from_slice(&check.to_le_bytes());
    [&first[..], &head].concat()
}

#[test]
fn hostile_lengths_are_refused() {
    for (stored, content) in [(u32::MAX, 1), (1, u32::MAX), ((17 << 20) + 1, 1), (1, (16 << 20) + 1)] {
        let error = read_bytes(&hostile(stored, content, 1)).unwrap_err().to_string();
        assert!(error.contains("block 1: it would have"), "{error}");
    }
    // Within bounds, but not there: nothing is allocated for it.
    assert_eq!(read_bytes(&hostile(17 << 20, 16 << 20, 1)).unwrap().1, HEAD_BYTES as u64);
    assert!(read_bytes(&hostile(0, 0, u32::MAX)).is_err());
    // Messages that claim more than their block has.
    for content in [&[0, 1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0, 1, 9], &[0xff; 11], &[0, 3], &[0, 16]]
    {
        assert!(content::Decoder::new(content.to_vec(), 1).next().is_err(), "{content:?}");
    }
    let many = [&[0, 8 + 1, 0, 1, b'a', 0, 32][..], &[0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
    assert!(content::Decoder::new(many, 1).next().is_err());
}

#[test]
fn other_files_are_told_from_recordings() {
    let later = [&MAGIC[..7], &[3], &[0; 100]].concat();
    assert!(matches!(read_bytes(&later), Err(RecordingError::Later(_))));
    assert!(matches!(read_bytes(b"PAR1 and more"), Err(RecordingError::Stranger(_))));
    assert!(matches!(read_bytes(b""), Err(RecordingError::Empty(_))));
}

#[test]
fn what_no_broker_takes_is_refused_and_the_rest_is_written() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = Writer::create(file.path(), &header()).unwrap();
    let good = message(1, "a");
    let large = vec![0; PAYLOAD_BYTES_MAX + 1];
    let long = Properties { content_type: Some("x".repeat(65_536)), ..Properties::default() };
    for wrong in [
        Message { topic: "a/#".to_owned(), ..good.clone() },
        Message { payload: large, ..good.clone() },
        Message { qos: 3, ..good.clone() },
        Message { t: Timestamp::MAX, ..good.clone() },
        Message { properties: long, ..good.clone() },
    ] {
        assert!(matches!(writer.write(&wrong), Err(RecordingError::Refused(_))));
    }
    writer.write(&good).unwrap();
    assert_eq!(writer.finish().unwrap().messages, 1);
    assert_eq!(read(file.path()).unwrap().0, [good]);
}

#[test]
fn a_window_passes_over_the_blocks_of_other_times() {
    let messages: Vec<Message> = (0..100).map(|second| message(second, "a")).collect();
    let blocks: Vec<&[Message]> = messages.chunks(10).collect();
    let mut bytes = bytes_of(&blocks);
    // The content of the first block of messages is damaged: nobody looks at it.
    let second = bytes_of(&[]).len();
    bytes[second + HEAD_BYTES] ^= 1;
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &bytes).unwrap();
    let window = Window { from: Some(messages[34].t), to: Some(messages[51].t) };
    let recording = Recording::open(file.path()).unwrap();
    let found: Vec<Message> = recording.read_within(window).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(found, messages[34..=51]);
    let extent = recording.extent(window).unwrap().unwrap();
    assert_eq!((extent.messages, extent.first, extent.last), (30, messages[34].t, messages[51].t));
    let none = Window { from: Some(messages[99].t + SignedDuration::from_secs(1)), to: None };
    assert_eq!(recording.extent(none).unwrap(), None);
}

#[test]
fn files_of_a_set_follow_one_another_and_gaps_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let messages: Vec<Message> = (0..4).map(|second| message(second, "a")).collect();
    for (file, part) in messages.chunks(2).enumerate() {
        write(&folder.path().join(format!("city.{:04}.rec", file + 1)), &[part]);
    }
    let second = folder.path().join("city.0002.rec");
    let mut writer = Writer::append(&second, &header()).unwrap();
    writer.gap(messages[3].t, messages[3].t + SignedDuration::from_secs(5)).unwrap();
    drop(writer);
    OpenOptions::new().append(true).open(&second).unwrap().write_all(b"MSGS").unwrap();
    fs::write(folder.path().join("city.0003.rec"), b"SCR").unwrap();
    fs::write(folder.path().join("notes.txt"), b"not a recording").unwrap();
    let mut reader = Recording::open(folder.path()).unwrap().read().unwrap();
    let found: Vec<Message> = reader.by_ref().collect::<Result<_, _>>().unwrap();
    assert_eq!((found, reader.gaps(), reader.cut_bytes()), (messages, 1, 4));
}

#[test]
fn one_process_at_a_time_writes_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let _writer = Writer::create(file.path(), &header()).unwrap();
    for second in [Writer::create(file.path(), &header()), Writer::append(file.path(), &header())] {
        assert!(matches!(second, Err(RecordingError::InUse(_))));
    }
}

#[derive(Clone, Default)]
struct Pipe(Arc<Mutex<Vec<u8>>>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_stream_is_written_and_read_once_without_seeking() {
    let pipe = Pipe::default();
    let mut writer = Writer::stream(Box::new(pipe.clone()), &header()).unwrap();
    let messages: Vec<Message> = (0..50).map(|second| message(second, "a")).collect();
    messages.iter().for_each(|message| writer.write(message).unwrap());
    writer.finish().unwrap();
    let bytes = pipe.0.lock().unwrap().clone();
    let recording = Recording::stream(Box::new(io::Cursor::new(bytes)), "pipe").unwrap();
    assert!(recording.is_stream() && recording.header() == &header());
    assert!(matches!(recording.extent(Window::default()), Err(RecordingError::Stream(_))));
    let found: Vec<Message> = recording.read().unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(found, messages);
    assert!(matches!(recording.read(), Err(RecordingError::Stream(_))));
}

#[test]
fn a_block_ends_when_it_is_full() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = Writer::create(file.path(), &header()).unwrap();
    let large = Message { payload: vec![7; PAYLOAD_BYTES_MAX], ..message(1, "a") };
    writer.write(&large).unwrap();
    assert_eq!((writer.summary().messages, writer.due()), (1, None));
    writer.write(&message(2, "a")).unwrap();
    assert!(writer.summary().messages == 1 && writer.due().is_some());
    writer.finish().unwrap();
    assert_eq!(read(file.path()).unwrap().0.len(), 2);
}

#[test]
fn a_payload_time_reads_as_its_option() {
    let time: PayloadTime = "city/+/register=rfc3339:/d/time".parse().unwrap();
    assert_eq!(time.topic, "city/+/register");
    assert_eq!(time.form, TimeForm::Rfc3339 { path: "/d/time".to_owned() });
    assert_eq!("city/senml/#=senml".parse::<PayloadTime>().unwrap().form, TimeForm::Senml);
    for wrong in ["city/#", "city/#=rfc3339:time", "city#=senml", "=senml", "a=cbor"] {
        assert!(wrong.parse::<PayloadTime>().is_err(), "{wrong}");
    }
}
