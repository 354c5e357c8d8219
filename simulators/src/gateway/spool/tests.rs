use proptest::prelude::*;

use super::*;

fn on_city_a(payload: Vec<u8>) -> Message {
    Message { topic: "city/a".to_owned(), payload }
}

const NOW: i64 = 1_700_000_000;

fn message() -> impl Strategy<Value = Message> {
    ("[a-z/]{1,20}", proptest::collection::vec(any::<u8>(), 0..200))
        .prop_map(|(topic, payload)| Message { topic, payload })
}

fn batch() -> impl Strategy<Value = Vec<Message>> {
    proptest::collection::vec(message(), 0..8)
}

fn open(folder: &Path) -> Spool {
    Spool::open(folder, "gate-1", NOW, 0).unwrap()
}

fn read(spool: &mut Spool, number: u64) -> Message {
    spool.read(number).unwrap().unwrap_or_else(|| panic!("message {number} is beyond the end"))
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Message>),
    /// A share of what is there, in percent.
    Forget(u64),
    Reopen,
    Read(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => batch().prop_map(Step::Append),
        1 => (0..=100_u64).prop_map(Step::Forget),
        1 => Just(Step::Reopen),
        2 => (0..=100_u64).prop_map(Step::Read),
    ]
}

proptest! {
    // Every case flushes to disk some dozens of times.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 8, ..ProptestConfig::default() })]

    #[test]
    fn a_spool_gives_back_what_it_numbered(steps in proptest::collection::vec(step(), 1..60)) {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = open(folder.path());
        let mut all: Vec<Message> = Vec::new();
        let mut committed = 0;
        for step in steps {
            let share = |percent: u64| committed + (all.len() as u64 - committed) * percent / 100;
            match step {
                Step::Append(messages) => {
                    let taken = spool.append(&messages).unwrap();
                    prop_assert!(taken == messages.len() || BYTES_MIN / 2 < spool.bytes(), "it takes while there is room");
                    all.extend(messages.into_iter().take(taken));
                }
                Step::Forget(percent) => {
                    committed = share(percent);
                    spool.forget(committed).unwrap();
                }
                Step::Reopen => {
                    drop(spool);
                    spool = open(folder.path());
                }
                Step::Read(percent) => {
                    let number = share(percent);
                    if committed < number {
                        prop_assert_eq!(&read(&mut spool, number), &all[number as usize - 1]);
                    }
                }
            }
            prop_assert_eq!(spool.last(), all.len() as u64);
            prop_assert_eq!(spool.epoch(), NOW);
            prop_assert!(spool.bytes() <= BYTES_MIN);
            prop_assert!(spool.committed() <= committed);
        }
        for number in committed + 1..=all.len() as u64 {
            prop_assert_eq!(&read(&mut spool, number), &all[number as usize - 1]);
        }
        prop_assert_eq!(spool.read(all.len() as u64 + 1).unwrap(), None);
    }

    /// A crash leaves any beginning of what was being written, and perhaps rubbish in its place.
    #[test]
    fn a_crash_at_any_byte_loses_nothing_that_was_numbered(
        before in proptest::collection::vec(batch(), 0..6),
        torn in batch(),
        share in 0.0..=1.0,
        rubbish in any::<Option<proptest::sample::Index>>(),
        after in batch(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = open(folder.path());
        let mut all: Vec<Message> = Vec::new();
        for messages in before {
            let taken = spool.append(&messages).unwrap();
            all.extend(messages.into_iter().take(taken));
        }
        let tail = path(folder.path(), spool.files.back().unwrap().first);
        drop(spool);
        let mut left = Vec::new();
        for (at, message) in torn.iter().enumerate() {
            write_record(&mut left, message, (all.len() + at + 1) as u64);
        }
        left.truncate((left.len() as f64 * share) as usize);
        if let (Some(index), false) = (rubbish, left.is_empty()) {
            let at = index.index(left.len());
            left[at] ^= 0x40;
        }
        OpenOptions::new().append(true).open(&tail).unwrap().write_all(&left).unwrap();

        let mut spool = open(folder.path());
        let found = spool.last() as usize;
        prop_assert!(all.len() <= found && found <= all.len() + torn.len());
        all.extend(torn.into_iter().take(found - all.len()));
        let taken = spool.append(&after).unwrap();
        all.extend(after.into_iter().take(taken));
        let mut spool = { drop(spool); open(folder.path()) };
        prop_assert_eq!(spool.last(), all.len() as u64);
        for (at, message) in all.iter().enumerate() {
            prop_assert_eq!(&read(&mut spool, at as u64 + 1), message);
        }
    }
}

#[test]
fn a_full_spool_takes_nothing_until_the_city_has_committed() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    let messages: Vec<Message> = (0..100).map(|i| on_city_a(vec![i; 100])).collect();
    let taken = spool.append(&messages).unwrap();
    assert!(0 < taken && taken < 100, "{taken} of 100");
    assert_eq!(spool.append(&messages).unwrap(), 0);
    spool.forget(spool.last()).unwrap();
    assert_eq!(spool.append(&messages).unwrap(), taken);
    assert_eq!(spool.last(), 2 * taken as u64);
    // The numbers go on where all was forgotten.
    spool.forget(spool.last()).unwrap();
    drop(spool);
    assert_eq!(open(folder.path()).last(), 2 * taken as u64);
}

#[test]
fn a_crash_between_two_files_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    let message = on_city_a(vec![7; 300]);
    assert_eq!(spool.append(&vec![message.clone(); 5]).unwrap(), 5);
    drop(spool);
    make(folder.path(), 6).unwrap(); // and no record in it yet
    let mut spool = open(folder.path());
    assert_eq!(spool.append(std::slice::from_ref(&message)).unwrap(), 1);
    for number in 1..=6 {
        assert_eq!(read(&mut spool, number), message);
    }
}

#[test]
fn a_folder_is_one_gateways_and_one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    assert!(matches!(Spool::open(folder.path(), "gate-1", NOW, 0), Err(SpoolError::InUse(_))));
    drop(spool);
    let stranger = Spool::open(folder.path(), "gate-2", NOW + 1, 0).unwrap_err();
    assert!(stranger.to_string().contains("gate-1"), "{stranger}");
    assert_eq!(Spool::open(folder.path(), "gate-1", NOW + 1, 0).unwrap().epoch(), NOW);
}

#[test]
fn a_damaged_record_is_named_and_not_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    let message = on_city_a(vec![7; 600]);
    for _ in 0..3 {
        assert_eq!(spool.append(std::slice::from_ref(&message)).unwrap(), 1);
    }
    drop(spool);
    let first = path(folder.path(), 1);
    let mut bytes = fs::read(&first).unwrap();
    bytes[40] ^= 1;
    fs::write(&first, bytes).unwrap();
    let mut spool = open(folder.path());
    assert_eq!(spool.last(), 3);
    let error = spool.read(1).unwrap_err().to_string();
    assert!(error.contains("message 1") && error.contains("damaged"), "{error}");
}
