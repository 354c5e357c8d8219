use super::*;

const LIMITS: Limits = Limits {
    budget_bytes: 100,
    shed_bytes: 80,
    return_bytes: 50,
    blocked: Duration::from_secs(20),
    batch_messages: 4,
    batch_bytes: 60,
    linger: Duration::from_millis(50),
    batches: 3,
};
const START: Moment = Duration::ZERO;
const NONE: [u16; 0] = [];

fn subscribed() -> Core<u32> {
    let mut core = Core::new(LIMITS);
    reconnected(&mut core);
    core
}

fn reconnected(core: &mut Core<u32>) {
    core.connecting();
    assert!(core.connected(true).subscribe);
    core.subscribed();
}

fn message(number: u16, bytes: usize) -> Arrival<u32> {
    Arrival { message: number.into(), packet: Some(number), bytes }
}

fn take_in(core: &mut Core<u32>, numbers: impl IntoIterator<Item = u16>, bytes: usize) {
    for number in numbers {
        assert!(matches!(core.offer(message(number, bytes), START), Offer::Taken { .. }));
    }
}

fn gathered(core: &mut Core<u32>, id: i64) -> Gathered<u32> {
    match core.next_batch(BatchId(id), START) {
        Next::Batch(gathered) => gathered,
        Next::At(close) => match core.next_batch(BatchId(id), close) {
            Next::Batch(gathered) => gathered,
            other => panic!("no batch but {other:?}"),
        },
        other => panic!("no batch but {other:?}"),
    }
}

fn batch(core: &mut Core<u32>, id: i64) -> Vec<u32> {
    gathered(core, id).messages
}

#[test]
fn a_batch_closes_when_it_is_full_or_has_waited() {
    let mut core = subscribed();
    assert!(matches!(core.next_batch(BatchId(1), START), Next::Wait));
    take_in(&mut core, 1..=5, 10);
    assert!(matches!(core.next_batch(BatchId(1), START), Next::Batch(_)));
    assert!(matches!(core.next_batch(BatchId(2), START), Next::At(close) if close == LIMITS.linger));
    assert_eq!(batch(&mut core, 2), [5]);
    take_in(&mut core, 6..=7, 24);
    take_in(&mut core, 8..=8, 1);
    core.committed(BatchId(1));
    assert!(matches!(core.next_batch(BatchId(3), START), Next::At(_)), "49 of 60 bytes");
    take_in(&mut core, 9..=10, 11);
    assert_eq!(batch(&mut core, 3), [6, 7, 8, 9], "closed by the message that reached 60 bytes");
}

#[test]
fn acknowledgements_leave_in_order_of_arrival_whatever_commits_first() {
    let mut core = subscribed();
    take_in(&mut core, 1..=8, 10);
    batch(&mut core, 1);
    batch(&mut core, 2);
    core.committed(BatchId(2));
    assert_eq!(core.acknowledgements(), NONE);
    core.committed(BatchId(1));
    assert_eq!(core.acknowledgements(), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(core.held(), Held::default());
}

#[test]
fn an_acknowledgement_belongs_to_the_connection_its_message_came_over() {
    let mut core = subscribed();
    take_in(&mut core, 1..=3, 10);
    batch(&mut core, 1);
    core.lost();
    core.committed(BatchId(1));
    assert_eq!(core.acknowledgements(), NONE);
    reconnected(&mut core);
    take_in(&mut core, 1..=4, 10);
    batch(&mut core, 2);
    assert_eq!(core.acknowledgements(), NONE);
    core.committed(BatchId(2));
    assert_eq!(core.acknowledgements(), [1, 2, 3, 4]);
}

#[test]
fn messages_of_a_lost_connection_are_still_written() {
    let mut core = subscribed();
    take_in(&mut core, 1..=3, 10);
    core.lost();
    assert_eq!(core.held().queued, 3, "the broker may have forgotten them");
}

#[test]
fn qos_0_is_shed_first_and_counted() {
    let mut core = subscribed();
    take_in(&mut core, 1..=3, 25);
    let unpromised = || Arrival { message: 9, packet: None, bytes: 10 };
    assert!(matches!(core.offer(unpromised(), START), Offer::Shed { wake: false }));
    take_in(&mut core, 4..=4, 25);
    assert!(matches!(core.offer(message(5, 25), START), Offer::Full { .. }));
    let first = gathered(&mut core, 1);
    assert_eq!((first.messages.len(), first.shed), (3, 1));
    let second = gathered(&mut core, 2);
    assert_eq!((second.messages.len(), second.shed), (1, 0));
    // With nothing else to write, what was shed makes a batch of its own.
    assert!(matches!(core.offer(unpromised(), START), Offer::Shed { wake: true }));
    let third = gathered(&mut core, 3);
    assert_eq!((third.messages.len(), third.shed), (0, 1));
    assert_eq!(core.held().shed, 2);
}

#[test]
fn a_message_larger_than_the_budget_has_it_alone() {
    let mut core = subscribed();
    take_in(&mut core, [1], 1_000);
    assert_eq!(core.held().bytes, LIMITS.budget_bytes);
    assert!(matches!(core.offer(message(2, 1), START), Offer::Full { .. }));
    batch(&mut core, 1);
    core.committed(BatchId(1));
    take_in(&mut core, [2], 1);
}

#[test]
fn a_connection_blocked_for_too_long_is_let_go_until_the_writers_move() {
    let mut core = subscribed();
    take_in(&mut core, 1..=4, 25);
    let late = START + LIMITS.blocked;
    assert!(
        matches!(core.offer(message(5, 25), START), Offer::Full { until, .. } if until == late),
        "it waits first"
    );
    assert!(matches!(core.offer(message(5, 25), late), Offer::LetGo));
    core.lost();
    assert!(!core.may_connect());
    batch(&mut core, 1);
    core.committed(BatchId(1));
    assert!(core.may_connect());
    reconnected(&mut core);
    assert!(matches!(core.offer(message(1, 25), late), Offer::Taken { .. }));
}

#[test]
fn a_drain_hands_out_what_was_taken_in_and_takes_in_no_more() {
    let mut core = subscribed();
    take_in(&mut core, 1..=5, 10);
    core.drain();
    assert!(!core.ready());
    assert!(matches!(core.offer(message(6, 10), START), Offer::Refused));
    assert_eq!(batch(&mut core, 1), [1, 2, 3, 4]);
    assert_eq!(batch(&mut core, 2), [5]);
    assert!(matches!(core.next_batch(BatchId(3), START), Next::Drained));
    assert_eq!(core.failed(BatchId(1)), Retry::GiveUp);
    core.committed(BatchId(2));
    assert_eq!(core.acknowledgements(), NONE, "the batch before is not written");
}

#[test]
fn no_more_batches_are_handed_out_than_may_be_in_flight() {
    let mut core = subscribed();
    take_in(&mut core, 1..=16, 5);
    for id in 1..=3 {
        batch(&mut core, id);
    }
    assert!(matches!(core.next_batch(BatchId(4), START), Next::Wait));
    core.committed(BatchId(2));
    assert!(matches!(core.next_batch(BatchId(4), START), Next::Wait), "the first is still held");
    core.committed(BatchId(1));
    assert_eq!(batch(&mut core, 4), [13, 14, 15, 16]);
}

#[test]
fn ready_while_subscribed_and_the_database_takes_batches() {
    let mut core = subscribed();
    take_in(&mut core, [1], 10);
    batch(&mut core, 1);
    assert!(core.ready());
    assert_eq!(core.failed(BatchId(1)), Retry::Again);
    assert!(!core.ready());
    core.committed(BatchId(1));
    assert!(core.ready());
    core.lost();
    assert!(!core.ready());
}
