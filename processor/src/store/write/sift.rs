use crate::{
    model::Time,
    store::{recent::Recent, rows::Fact},
};

/// The facts of a batch, sorted by key, told apart by what is known without the database.
pub(super) struct Sifted<'f, F> {
    /// One a key; not known to be stored.
    pub fresh: Vec<&'f F>,
    pub duplicates: Vec<&'f F>,
    /// Another value than the kept one, or than an earlier one of this batch.
    pub conflicts: Vec<&'f F>,
}

impl<'f, F: Fact> Sifted<'f, F> {
    pub fn new(facts: impl Iterator<Item = &'f F>, recent: &Recent) -> Self {
        let mut sorted: Vec<&F> = facts.collect();
        sorted.sort_by_key(|fact| (fact.key(), fact.message())); // stable: the first to arrive stays
        let mut sifted: Sifted<'f, F> =
            Sifted { fresh: Vec::with_capacity(sorted.len()), duplicates: Vec::new(), conflicts: Vec::new() };
        for fact in sorted {
            let key = fact.key();
            let before =
                sifted.fresh.last().filter(|before| before.key() == key).map(|before| before.fingerprint());
            match before.or_else(|| recent.get(&key)) {
                None => sifted.fresh.push(fact),
                Some(kept) if kept == fact.fingerprint() => sifted.duplicates.push(fact),
                Some(_) => sifted.conflicts.push(fact),
            }
        }
        sifted
    }

    pub fn times(&self) -> impl Iterator<Item = Time> {
        self.fresh.iter().map(|fact| fact.key().time)
    }
}
