//! What is remembered of senders between their messages: input and output of [`process`](crate::process), committed with
//! the batch. Only for formats that cannot be read without it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{
    decode::{self, Births, Held, Node, Pseudonyms},
    mapping::{Format, Mapping, Source},
    model::Time,
};

/// Senders remembered: more edge nodes and devices that report only changes than a city has.
pub const SENDERS_MAX: usize = 100_000;

/// What is known when a batch begins.
#[derive(Clone, Default, Debug)]
pub struct Memory {
    senders: HashMap<Sender, Remembered>,
    pub pseudonyms: Arc<Pseudonyms>,
}

/// A sender as one source of the mapping sees it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Sender {
    pub source: Arc<str>,
    pub name: Arc<str>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Remembered {
    /// Grows with every batch that changes it.
    pub version: i64,
    pub state: Arc<State>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum State {
    Node(Node),
    Held(Held),
}

/// What a batch changed of a sender.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    pub sender: Sender,
    /// What it was when the batch began; version 0: nothing.
    pub before: Option<Remembered>,
    pub after: Remembered,
}

/// A message for a sender.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    pub topic: String,
    pub payload: Vec<u8>,
}

impl State {
    fn new(source: &Source) -> State {
        match source.format {
            Format::Sparkplug(_) => State::Node(Node::default()),
            _ => State::Held(Held::default()),
        }
    }

    pub fn node(&mut self) -> Option<&mut Node> {
        match self {
            State::Node(node) => Some(node),
            State::Held(_) => None,
        }
    }

    pub fn held(&mut self) -> Option<&mut Held> {
        match self {
            State::Held(held) => Some(held),
            State::Node(_) => None,
        }
    }

    /// The large part that seldom changes, apart from the rest.
    pub fn births(&self) -> Option<&Arc<Births>> {
        match self {
            State::Node(node) => Some(&node.births),
            State::Held(_) => None,
        }
    }
}

impl Memory {
    pub fn get(&self, sender: &Sender) -> Option<&Remembered> {
        self.senders.get(sender)
    }

    pub fn len(&self) -> usize {
        self.senders.len()
    }

    pub fn is_empty(&self) -> bool {
        self.senders.is_empty()
    }

    pub fn insert(&mut self, sender: Sender, remembered: Remembered) {
        self.senders.insert(sender, remembered);
    }

    /// Goes on from a batch.
    pub fn advance(&mut self, changes: &[Change]) {
        for Change { sender, after, .. } in changes {
            self.senders.insert(sender.clone(), after.clone());
        }
    }

    /// The memory with which a batch was read, as far as it changed it.
    pub fn before(&self, changes: &[Change]) -> Memory {
        let mut memory = Memory { senders: HashMap::new(), pseudonyms: self.pseudonyms.clone() };
        for Change { sender, before, .. } in changes {
            if let Some(before) = before {
                memory.senders.insert(sender.clone(), before.clone());
            }
        }
        memory
    }

    /// What to ask of edge nodes whose messages were missed and did not come later.
    pub fn overdue(&mut self, now: Time) -> Vec<Request> {
        let mut requests = Vec::new();
        for (sender, remembered) in &mut self.senders {
            let State::Node(node) = &*remembered.state else { continue };
            if node.is_overdue(now) {
                let mut node = node.clone();
                requests.extend(node.ask(&sender.name, now));
                remembered.state = Arc::new(State::Node(node));
            }
        }
        requests
    }
}

/// The memory of one batch at work: what its messages find and leave.
#[derive(Debug)]
pub struct Recall<'m> {
    memory: &'m Memory,
    mapping: &'m Mapping,
    touched: BTreeMap<(usize, String), State>,
}

impl<'m> Recall<'m> {
    pub fn new(memory: &'m Memory, mapping: &'m Mapping) -> Self {
        Recall { memory, mapping, touched: BTreeMap::new() }
    }

    /// What is known of a sender, to be read and changed.
    pub fn state(&mut self, index: usize, source: &Source, sender: impl AsRef<str>) -> &mut State {
        let sender = sender.as_ref();
        self.touched.entry((index, sender.to_owned())).or_insert_with(|| {
            let key = Sender { source: source.name.clone(), name: sender.into() };
            let fits = |state: &State| {
                matches!(
                    (state, &source.format),
                    (State::Node(_), Format::Sparkplug(_)) | (State::Held(_), Format::Mapped(_))
                )
            };
            let known = self.memory.get(&key).map(|known| (*known.state).clone());
            known.filter(fits).unwrap_or_else(|| State::new(source))
        })
    }

    pub fn changes(self) -> Vec<Change> {
        let Recall { memory, mapping, touched } = self;
        let changes = touched.into_iter().filter_map(|((index, name), state)| {
            let source = mapping.sources()[index].name.clone();
            let sender = Sender { source, name: name.into() };
            let before = memory.get(&sender).cloned();
            let same = before.as_ref().is_some_and(|before| *before.state == state);
            let full = before.is_none() && SENDERS_MAX <= memory.len();
            let version = before.as_ref().map_or(0, |before| before.version) + 1;
            let after = Remembered { version, state: Arc::new(state) };
            (!same && !full).then_some(Change { sender, before, after })
        });
        changes.collect()
    }
}

/// Which messages share a sender, so that they must be read in order: `None` for those that stand alone.
pub fn sender_of<'t>(mapping: &Mapping, topic: &'t str) -> Option<Cow<'t, str>> {
    let (_, topic) = decode::gateway(topic);
    let source = mapping.stateful(topic)?;
    Some(decode::sender(source, topic))
}
