//! Answers without an end: readings and passages as they are committed.

use super::{
    AHEAD, Engine, Inner, Listed,
    answer::{Logged, ended},
    left,
};
use crate::{
    caller::Caller,
    error::{QueryError, Result},
    live::{self, Facts, Piece, Wanted},
    metrics::Measured,
    output,
    ticket::{self, Ticket},
};
use datafusion::{
    arrow::{array::AsArray, datatypes::SchemaRef},
    prelude::DataFrame,
};
use futures::{Stream, stream};
use std::{collections::HashSet, pin::Pin, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// A tail ends after so long, so that who may see what is looked at anew.
const LIFE: Duration = Duration::from_secs(3600);

/// Pieces of a tail; the last item is why it ended.
pub type Pieces = Pin<Box<dyn Stream<Item = Result<Piece>> + Send>>;

impl Engine {
    /// Follows what a ticket asks for.
    ///
    /// # Errors
    /// There is no such dataset, nothing of it is told live, or too many follow already.
    pub async fn follow(&self, caller: &Caller, ticket: Ticket) -> Result<(SchemaRef, Pieces)> {
        let id = ticket.id.clone().unwrap_or_else(ticket::new_id);
        self.inner.log.asked(&id, caller, &ticket.to_json()?)?;
        let measured = Measured::start(caller.door);
        let mut logged =
            Logged { measured, inner: self.inner.clone(), id: id.clone(), caller: caller.clone() };
        let started = async {
            self.rules(caller)?;
            let permits = self.inner.tails.try_enter(caller).ok_or_else(|| {
                QueryError::Exhausted(format!(
                    "{} tails are followed already (--query-tails), or half of them by you: end one, or follow more sensors \
                     by one ticket",
                    self.inner.limits.tails
                ))
            })?;
            let asked = caller.clone();
            let wanted =
                self.on_workers(caller, async move |inner| inner.wanted(&asked, &ticket).await).await?;
            let schema = output::schema(&wanted.schema)?;
            let (to, pieces) = mpsc::channel(AHEAD);
            let (to_outcome, outcome) = oneshot::channel();
            let (inner, caller) = (self.inner.clone(), caller.clone());
            self.workers.spawn(async move {
                let ended = inner.tail(id, &caller, wanted, to).await;
                drop(permits);
                let _ = to_outcome.send(ended); // the client has left
            });
            Ok((schema, pieces, outcome))
        };
        match started.await {
            Ok((schema, pieces, outcome)) => {
                Ok((schema.clone(), self::pieces(logged, schema, pieces, outcome)))
            }
            Err(error) => {
                logged.measured.failed(&error);
                Err(error)
            }
        }
    }
}

fn pieces(
    logged: Logged,
    schema: SchemaRef,
    pieces: mpsc::Receiver<Piece>,
    outcome: oneshot::Receiver<Result<()>>,
) -> Pieces {
    Box::pin(stream::unfold(Some((logged, pieces, outcome)), move |state| {
        let schema = schema.clone();
        async move {
            let (mut logged, mut pieces, outcome) = state?;
            let item = match pieces.recv().await {
                Some(piece) => conform(piece, &schema),
                None => {
                    let error = ended(outcome).await.err().unwrap_or_else(left);
                    logged.measured.failed(&error);
                    return Some((Err(error), None));
                }
            };
            match item {
                Ok(piece) => {
                    if let Some(rows) = &piece.rows {
                        logged.measured.batch(rows.num_rows(), output::bytes(rows));
                    }
                    Some((Ok(piece), Some((logged, pieces, outcome))))
                }
                Err(error) => {
                    logged.measured.failed(&error);
                    Some((Err(error), None))
                }
            }
        }
    }))
}

fn conform(piece: Piece, schema: &SchemaRef) -> Result<Piece> {
    let rows = piece.rows.map(|rows| output::conform(&rows, schema)).transpose()?;
    Ok(Piece { rows, ..piece })
}

impl Inner {
    async fn tail(
        self: &Arc<Self>,
        id: String,
        caller: &Caller,
        wanted: Wanted,
        to: mpsc::Sender<Piece>,
    ) -> Result<()> {
        let listed = Listed::new(self, id, caller);
        let listener = to.clone();
        let followed = timeout(LIFE, live::follow(&self.tables, wanted, to, self.limits.stall));
        let over = || QueryError::Busy(format!("a tail ends after {LIFE:?}: go on with `resume`"));
        tokio::select! {
            result = followed => result.unwrap_or_else(|_| Err(over())),
            () = listed.token.cancelled() => Err(QueryError::Cancelled("the tail was cancelled".into())),
            () = listener.closed() => Err(left()),
        }
    }

    /// What a ticket is about, and what of it this caller sees: as if it had an end.
    async fn wanted(&self, caller: &Caller, ticket: &Ticket) -> Result<Wanted> {
        let rules = self.policy.rules(&caller.identity.role)?.clone();
        let frame = ticket.frame(&self.context(caller)?, &self.session(caller)?.source).await?;
        let Some(facts) = Facts::named(&ticket.dataset) else {
            let text = format!("{} is not told live: only reading and event are", ticket.dataset);
            return Err(QueryError::Invalid(text));
        };
        let has_bounds =
            ticket.from.is_some() || ticket.to.is_some() || ticket.width.is_some() || ticket.limit.is_some();
        if has_bounds {
            let text = "a live answer takes neither from, to, width nor limit: it has what is committed from now, or from \
                        `resume`, on";
            return Err(QueryError::Invalid(text.into()));
        }
        let schema = frame.schema().inner().clone();
        let dataset = facts.dataset()?;
        let columns = schema.fields().iter().filter_map(|field| dataset.column(field.name())).collect();
        let mut sensors = ticket.sensor.clone().map(HashSet::from_iter);
        if ticket.segment.is_some() || ticket.zone.is_some() {
            let there = self.sensors_at(caller, ticket).await?;
            sensors = Some(match sensors {
                Some(named) => &named & &there,
                None => there,
            });
        }
        let metrics = ticket.metric.clone().map(HashSet::from_iter);
        let resume = ticket.resume.as_deref().map(str::parse).transpose()?;
        Ok(Wanted { facts, columns, schema, rules, sensors, metrics, resume })
    }

    /// The sensors that are now where a ticket says.
    async fn sensors_at(&self, caller: &Caller, ticket: &Ticket) -> Result<HashSet<String>> {
        let there = Ticket {
            segment: ticket.segment.clone(),
            zone: ticket.zone.clone(),
            columns: Some(vec!["id".into()]),
            ..Ticket::of("sensor")
        };
        let context = self.context(caller)?;
        let frame: DataFrame = there.frame(&context, &self.session(caller)?.source).await?;
        let mut names = HashSet::new();
        for rows in frame.collect().await? {
            names.extend(rows.column(0).as_string::<i32>().iter().flatten().map(str::to_owned));
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{caller::Door, hostile, identity::Identity};

    /// The columns that a role follows.
    fn followed(engine: &Engine, role: &str, ticket: &str) -> Result<Vec<String>> {
        let Caller { identity, .. } = hostile::caller();
        let caller = Caller::new(Identity { role: role.into(), ..identity }, Door::Live);
        let asked = caller.clone();
        let ticket = Ticket::parse(ticket)?;
        let wanted = engine.on_workers(&asked, async move |inner| inner.wanted(&caller, &ticket).await);
        let wanted = engine.workers.0.as_ref().unwrap().block_on(wanted)?;
        assert_eq!(wanted.columns.len(), wanted.schema.fields().len());
        Ok(wanted.columns.iter().map(|column| column.name.to_owned()).collect())
    }

    #[test]
    fn a_tail_shows_what_an_answer_with_an_end_shows() {
        let engine = hostile::engine();
        let passages = r#"{"dataset":"event","live":true}"#;
        assert!(followed(&engine, "operator", passages).unwrap().contains(&"tags".to_owned()));
        assert!(!followed(&engine, "planner", passages).unwrap().contains(&"tags".to_owned()));
        let some = r#"{"dataset":"event","live":true,"sensor":["a"],"columns":["speed","time"]}"#;
        assert_eq!(followed(&engine, "planner", some).unwrap(), ["speed", "time"]);
        for (role, ticket, word) in [
            ("public", passages, "no dataset"),
            ("planner", r#"{"dataset":"event","live":true,"columns":["tags"]}"#, "no column"),
            (
                "planner",
                r#"{"dataset":"event","live":true,"metric":["traffic.vehicle"]}"#,
                "no column metric",
            ),
            ("planner", r#"{"dataset":"event","live":true,"limit":1}"#, "nor limit"),
            ("planner", r#"{"dataset":"latest","live":true}"#, "only reading and event are"),
        ] {
            let error = followed(&engine, role, ticket).unwrap_err().to_string();
            assert!(error.contains(word), "{role} {ticket}: {error}");
        }
    }
}
