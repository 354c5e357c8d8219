use std::sync::LazyLock;

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::feed;
use crate::recording::{Recording, TimeForm, Window};

fn header(messages: u64) -> Head {
    let rfc3339 =
        PayloadTime { topic: "a/+".to_owned(), form: TimeForm::Rfc3339 { path: "/time".to_owned() } };
    let senml = PayloadTime { topic: "s/#".to_owned(), form: TimeForm::Senml };
    let times = vec![rfc3339, senml];
    Head { screenline_recording: VERSION, name: "test".to_owned(), messages, period_s: 60, times }
}

fn message(second: i64, payload: &[u8]) -> Message {
    let t = Timestamp::from_second(second).unwrap();
    Message::new(t, "a/b".to_owned(), payload.to_owned())
}

fn recording(lines: &[&str]) -> Result<Vec<Message>, RecordingError> {
    let text = lines.join("\n");
    let bytes = zstd::encode_all(text.as_bytes(), 1).unwrap();
    let recording = Recording::embedded(bytes.leak())?;
    recording.read()?.collect()
}

#[test]
fn what_is_written_is_read_again_bytes_and_all() {
    let messages = [message(1, b"{\"x\": 1.10}\n"), message(1, b"\xff\x00"), message(3, b"")];
    let mut writer = Writer::new(Vec::new(), &header(3), 3).unwrap();
    for message in &messages {
        writer.write(message).unwrap();
    }
    let recording = Recording::embedded(writer.finish().unwrap().leak()).unwrap();
    assert_eq!(recording.header(), &header(3).header());
    let read: Vec<Message> = recording.read().unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(read, messages);
    let extent = recording.extent(Window::default()).unwrap().unwrap();
    assert_eq!((extent.messages, extent.first, extent.last), (3, messages[0].t, messages[2].t));
}

#[test]
fn the_header_reads_as_documented() {
    let text = serde_json::to_string(&header(2)).unwrap();
    let expected = concat!(
        r#"{"screenline_recording":1,"name":"test","messages":2,"period_s":60,"#,
        r#""times":[{"topic":"a/+","as":"rfc3339","path":"/time"},{"topic":"s/#","as":"senml"}]}"#
    );
    assert_eq!(text, expected);
}

#[test]
fn a_wrong_line_is_named_by_its_number() {
    let head = serde_json::to_string(&header(2)).unwrap();
    let good = r#"{"t":"2024-01-01T00:00:03Z","topic":"a/b","payload":"x"}"#;
    let early = r#"{"t":"2024-01-01T00:00:02Z","topic":"a/b","payload":"x"}"#;
    let wildcard = r#"{"t":"2024-01-01T00:00:03Z","topic":"a/#","payload":"x"}"#;
    let bare = r#"{"t":"2024-01-01T00:00:03Z","topic":"a/b"}"#;
    for (lines, expected) in [
        (vec![head.as_str(), good, "{"], "line 3"),
        (vec![&head, good, early], "line 3: 2024-01-01T00:00:02Z is before"),
        (vec![&head, wildcard], "line 2: \"a/#\" is not a topic"),
        (vec![&head, bare], "line 2: needs either"),
        (vec![&head, good], "holds 1 messages, its header says 2"),
        (vec![good], "line 1: this is not the header"),
        (vec![], "line 1: the recording is empty"),
    ] {
        let error = recording(&lines).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_recording_of_a_later_version_is_refused() {
    let head = serde_json::to_string(&Head { screenline_recording: 2, ..header(0) }).unwrap();
    let error = recording(&[&head]).unwrap_err().to_string();
    assert!(error.contains("version 2, and lines can be read of version 1 only"), "{error}");
}

#[test]
fn a_damaged_stream_is_an_error_and_not_an_end() {
    let mut writer = Writer::new(Vec::new(), &header(1), 3).unwrap();
    writer.write(&message(1, b"0123456789")).unwrap();
    let mut bytes = writer.finish().unwrap();
    bytes.truncate(bytes.len() - 6);
    let recording = Recording::embedded(bytes.leak());
    assert!(recording.and_then(|recording| recording.read()?.collect::<Result<Vec<_>, _>>()).is_err());
}

/// The beginnings of the bundled feeds, as recordings of their own, and their messages.
static BUNDLED: LazyLock<Vec<(Vec<u8>, Vec<Message>)>> = LazyLock::new(|| {
    let begin = |feed: &feed::Feed| {
        let feed = feed.recording().unwrap();
        let messages: Vec<Message> = feed.read().unwrap().take(300).collect::<Result<_, _>>().unwrap();
        let feed = feed.header().clone();
        let (name, times, period_s) = (feed.name, feed.times, feed.period_s.unwrap());
        let messages_stated = messages.len() as u64;
        let header = Head { screenline_recording: VERSION, name, messages: messages_stated, period_s, times };
        let mut writer = Writer::new(Vec::new(), &header, 3).unwrap();
        messages.iter().for_each(|message| writer.write(message).unwrap());
        (writer.finish().unwrap(), messages)
    };
    feed::ALL.iter().map(begin).collect()
});

fn read(bytes: &[u8]) -> Result<Vec<Message>, RecordingError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    Recording::open(file.path())?.read()?.collect()
}

proptest! {
    #[test]
    fn a_recording_cut_short_is_an_error(end in any::<Index>(), feed in 0..feed::ALL.len()) {
        let mut bytes = BUNDLED[feed].0.clone();
        bytes.truncate(end.index(bytes.len()));
        prop_assert!(read(&bytes).is_err());
    }

    /// The checksum is of the content: a bit of the frame's header may be one that no reader looks at.
    #[test]
    fn a_recording_with_wrong_bits_is_an_error_or_what_it_was(
        flips in vec((any::<Index>(), 0..8u8), 1..4),
        feed in 0..feed::ALL.len(),
    ) {
        let (mut bytes, messages) = BUNDLED[feed].clone();
        for (at, bit) in flips {
            *at.get_mut(&mut bytes) ^= 1 << bit;
        }
        if let Ok(found) = read(&bytes) {
            prop_assert!(found == messages);
        }
    }

    #[test]
    fn any_bytes_are_no_recording(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(read(&bytes).is_err());
        prop_assert!(read(&[&[0x28, 0xb5, 0x2f, 0xfd][..], &bytes].concat()).is_err());
    }

    #[test]
    fn any_lines_are_messages_or_refused(
        lines in vec(prop_oneof![
            4 => Just(r#"{"t":"2024-01-01T00:00:03Z","topic":"a/b","payload":"x"}"#.to_owned()),
            1 => any::<String>(),
            2 => "\\{\"t\":\"2024-01-0[0-9]T00:00:03Z\",\"topic\":\"[a+#/]{0,4}\",\"payload(_base64)?\":\"[A-Za-z0-9=]{0,6}\"\\}",
        ], 0..5),
        stated in 0..5u64,
    ) {
        let head = serde_json::to_string(&header(stated)).unwrap();
        let lines: Vec<&str> = [head.as_str()].into_iter().chain(lines.iter().map(String::as_str)).collect();
        if let Ok(messages) = recording(&lines) {
            prop_assert_eq!(messages.len() as u64, stated);
            prop_assert!(messages.is_sorted_by_key(|message| message.t));
            prop_assert!(messages.iter().all(|message| problem(&message.topic, &message.payload).is_none()));
        }
    }
}

/// What a stranger's file makes us hold: not what it would hold unpacked.
#[test]
fn a_small_file_with_a_huge_line_is_refused() {
    let head = serde_json::to_string(&header(1)).unwrap() + "\n";
    for begin in [head.as_str(), ""] {
        let huge = io::repeat(b'x').take(LINE_BYTES_MAX * 8);
        let bytes = zstd::encode_all(begin.as_bytes().chain(huge), 1).unwrap();
        assert!(bytes.len() < 100_000, "{} bytes", bytes.len());
        let error = read(&bytes).unwrap_err().to_string();
        assert!(error.contains(&format!("longer than {LINE_BYTES_MAX} bytes")), "{error}");
    }
}

/// A window of 2 GiB, which a frame may ask a reader to have.
#[test]
fn a_frame_that_asks_for_a_huge_window_is_refused() {
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0b0000_0000, 0b1010_1000, 0x01, 0x00, 0x00];
    let error = read(&frame).unwrap_err().to_string();
    assert!(error.contains("memory"), "{error}");
}
