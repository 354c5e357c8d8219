//! Every role at every door of the query service.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Context, bail, ensure};
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{CommandPreparedStatementQuery, ProstMessageExt};
use arrow_flight::utils::flight_data_to_batches;
use arrow_flight::{FlightClient, FlightData, FlightDescriptor, Ticket};
use datafusion::arrow::array::{AsArray, RecordBatch};
use futures::TryStreamExt;
use prost::Message;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};

use crate::aging::quarter;
use crate::flight::Tail;
use crate::process::Workplace;
use crate::{City, Plan, Storage, command};

/// Through which a question comes in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    /// A JSON ticket.
    Ticket,
    /// GetFlightInfo by a path, then its ticket.
    Path,
    /// A statement of Flight SQL.
    Statement,
    /// A prepared statement.
    Prepared,
    /// DoGet by gRPC-web over HTTP/1.1.
    Web,
    /// A download.
    Export,
    /// A download of a statement, in the body and in the URL.
    Answer,
    /// What came since the city was empty, by an answer without an end.
    Live,
}

pub const DOORS: [Door; 8] = [
    Door::Ticket,
    Door::Path,
    Door::Statement,
    Door::Prepared,
    Door::Web,
    Door::Export,
    Door::Answer,
    Door::Live,
];
/// Each with a token of the same name.
pub const ROLES: [&str; 4] = ["operator", "planner", "analyst", "public"];

/// What one cell of the matrix says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cell {
    /// The sensors whose rows were answered.
    Sees(BTreeSet<String>),
    Refused(String),
}

/// The sensors of each privacy class.
const SENSORS: [(&str, &str); 3] = [("open-1", "public"), ("inner-1", "internal"), ("home-1", "personal")];

/// A city with a token for each role.
#[derive(Debug)]
pub struct Guarded {
    pub city: City,
    secrets: Vec<(String, String)>,
    /// Where a tail begins that sees everything.
    empty: Value,
}

impl Guarded {
    /// Starts a city that asks who is there, with readings of a sensor of each privacy class.
    ///
    /// # Errors
    /// When it does not start, or does not take the readings.
    pub async fn start(storage: Storage, plan: impl Fn(Plan) -> Plan) -> anyhow::Result<Guarded> {
        let workplace = Workplace::new()?;
        let mut secrets = Vec::new();
        for role in ROLES {
            let said = command::run(&workplace, &["token", "create", role, "--role", role])?;
            ensure!(said.status.success(), "{}", said.err);
            secrets.push((role.to_owned(), said.out.trim().to_owned()));
        }
        let city = plan(Plan::up(storage)).on(workplace).start().await?;
        let everything = json!({"dataset": "reading", "live": true});
        let mut tail = Tail::open(city.flight_url(), Some(&secrets[0].1), &everything).await?;
        let empty = tail.next().await?.about["resume"].clone();
        for (sensor, _) in SENSORS {
            city.publish_all(quarter(sensor, "level", 2)?).await?;
        }
        city.settled().await?;
        for (sensor, class) in SENSORS {
            let classed = "UPDATE sensor SET privacy = $2, reviewed = true WHERE id = $1";
            ensure!(
                city.database().execute(classed, &[&sensor, &class]).await? == 1,
                "{sensor} is not there"
            );
        }
        let changed = "UPDATE city SET registry_version = registry_version + 1";
        city.database().execute(changed, &[]).await?;
        Ok(Guarded { city, secrets, empty })
    }

    /// The secret of a role's token.
    ///
    /// # Errors
    /// There is no such role.
    pub fn secret(&self, role: &str) -> anyhow::Result<&str> {
        let found = self.secrets.iter().find(|(name, _)| name == role);
        Ok(&found.with_context(|| format!("no token of {role}"))?.1)
    }

    /// What a caller gets of a table through a door; without a role it sends no credentials.
    pub async fn ask(&self, door: Door, role: Option<&str>, table: &str) -> Cell {
        match self.sensors(door, role, table).await {
            Ok(sensors) => Cell::Sees(sensors),
            Err(error) => Cell::Refused(format!("{error:#}")),
        }
    }

    async fn sensors(&self, door: Door, role: Option<&str>, table: &str) -> anyhow::Result<BTreeSet<String>> {
        let secret = role.map(|role| self.secret(role)).transpose()?;
        let sql = format!("SELECT DISTINCT sensor FROM {table}");
        let ticket = format!(r#"{{"dataset": "{table}", "columns": ["sensor"]}}"#);
        let batches = match door {
            Door::Ticket => {
                self.flight(secret).await?.do_get(Ticket::new(ticket)).await?.try_collect().await?
            }
            Door::Path => {
                let mut client = self.flight(secret).await?;
                let descriptor = FlightDescriptor::new_path(vec![table.to_owned()]);
                let info = client.get_flight_info(descriptor).await?;
                let ticket = info.endpoint.into_iter().next().and_then(|endpoint| endpoint.ticket);
                client.do_get(ticket.context("an endpoint")?).await?.try_collect().await?
            }
            Door::Statement => {
                let mut client = self.flight_sql(secret).await?;
                let info = client.execute(sql, None).await?;
                let ticket = info.endpoint.into_iter().next().and_then(|endpoint| endpoint.ticket);
                client.do_get(ticket.context("an endpoint")?).await?.try_collect().await?
            }
            Door::Prepared => {
                let mut client = self.flight_sql(secret).await?;
                let mut prepared = client.prepare(sql, None).await?;
                let info = prepared.execute().await?;
                let ticket = info.endpoint.into_iter().next().and_then(|endpoint| endpoint.ticket);
                client.do_get(ticket.context("an endpoint")?).await?.try_collect().await?
            }
            Door::Web => self.web(secret, &ticket).await?,
            Door::Export => {
                return self.export(secret, &format!("GET /export/{table}.csv?columns=sensor"), "").await;
            }
            Door::Answer => return self.answer(secret, &sql).await,
            Door::Live => self.live(secret, table).await?,
        };
        let mut sensors = BTreeSet::new();
        for batch in &batches {
            let column = batch.column_by_name("sensor").context("a column sensor")?;
            sensors.extend(column.as_string::<i32>().iter().flatten().map(String::from));
        }
        Ok(sensors)
    }

    async fn channel(&self) -> anyhow::Result<Channel> {
        let url = self.city.flight_url().replacen("grpc://", "http://", 1);
        Ok(Endpoint::from_shared(url)?.connect().await?)
    }

    async fn flight(&self, secret: Option<&str>) -> anyhow::Result<FlightClient> {
        let mut client = FlightClient::new(self.channel().await?);
        if let Some(secret) = secret {
            client.add_header("authorization", &format!("Bearer {secret}"))?;
        }
        Ok(client)
    }

    async fn flight_sql(&self, secret: Option<&str>) -> anyhow::Result<FlightSqlServiceClient<Channel>> {
        let mut client = FlightSqlServiceClient::new(self.channel().await?);
        if let Some(secret) = secret {
            client.set_token(secret.to_owned());
        }
        Ok(client)
    }

    /// As a browser asks: one frame of a message, answered with frames, the last of them trailers.
    async fn web(&self, secret: Option<&str>, ticket: &str) -> anyhow::Result<Vec<RecordBatch>> {
        let message = Ticket::new(ticket.to_owned()).encode_to_vec();
        let length = u32::try_from(message.len())?.to_be_bytes();
        let body = [&[0][..], &length, &message].concat();
        let kind = "application/grpc-web+proto";
        let path = "/arrow.flight.protocol.FlightService/DoGet";
        let head =
            format!("POST {path} HTTP/1.0\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
        let (head, answer) = self.http(secret, &head, &body).await?;
        if let Some(status) = header(&head, "grpc-status").filter(|status| status != "0") {
            bail!(
                "grpc-status {status}: {}",
                header(&head, "grpc-message").unwrap_or_default().replace("%20", " ")
            );
        }
        let (mut data, mut rest) = (Vec::<FlightData>::new(), &answer[..]);
        while let Some((frame, after)) = rest.split_first_chunk::<5>() {
            let length = u32::from_be_bytes([frame[1], frame[2], frame[3], frame[4]]) as usize;
            let message = after.get(..length).context("a frame that is cut")?;
            rest = &after[length..];
            match frame[0] {
                0 => data.push(FlightData::decode(message)?),
                _ => {
                    let trailers = String::from_utf8_lossy(message).into_owned();
                    ensure!(header(&trailers, "grpc-status").as_deref() == Some("0"), "{trailers}");
                }
            }
        }
        Ok(flight_data_to_batches(&data)?)
    }

    /// All that came since the city was empty.
    async fn live(&self, secret: Option<&str>, table: &str) -> anyhow::Result<Vec<RecordBatch>> {
        let ticket = json!({"dataset": table, "columns": ["sensor"], "resume": self.empty});
        let mut tail = Tail::open(self.city.flight_url(), secret, &ticket).await?;
        let mut rows = Vec::new();
        loop {
            let piece = tail.next().await?;
            rows.extend(piece.rows);
            // Only the last piece of what was missed has another place.
            if piece.about["resume"] != self.empty {
                return Ok(rows);
            }
        }
    }

    /// A statement goes in the body, of its media type.
    async fn export(
        &self,
        secret: Option<&str>,
        request: &str,
        statement: &str,
    ) -> anyhow::Result<BTreeSet<String>> {
        let kind = format!("Content-Type: application/sql\r\nContent-Length: {}\r\n", statement.len());
        let head = format!("{request} HTTP/1.0\r\n{kind}");
        let (head, body) = self.http(secret, &head, statement.as_bytes()).await?;
        let text = String::from_utf8(body)?;
        ensure!(head.starts_with("HTTP/1.0 200") || head.starts_with("HTTP/1.1 200"), "{text}");
        ensure!(header(&head, "screenline-complete-until").is_some(), "{head}");
        Ok(text.lines().skip(1).map(String::from).collect())
    }

    async fn answer(&self, secret: Option<&str>, sql: &str) -> anyhow::Result<BTreeSet<String>> {
        let stated = self.export(secret, "POST /export/answer.csv", sql).await;
        let asked = format!("GET /export/answer.csv?sql={}", sql.replace(' ', "+"));
        let asked = self.export(secret, &asked, "").await;
        let said = |answer: &anyhow::Result<BTreeSet<String>>| format!("{answer:?}");
        ensure!(asked.is_ok() == stated.is_ok(), "{} and {}", said(&asked), said(&stated));
        ensure!(stated.as_ref().ok() == asked.as_ref().ok(), "{} and {}", said(&asked), said(&stated));
        stated
    }

    /// Whether a page of another origin makes the browser of a caller download a statement.
    ///
    /// # Errors
    /// The service does not answer.
    pub async fn serves_other_pages(&self, role: &str) -> anyhow::Result<bool> {
        let secret = Some(self.secret(role)?);
        let ours = "Content-Type: text/plain\r\nContent-Length: 8\r\n";
        for theirs in ["Origin: https://page.example", "Sec-Fetch-Site: cross-site"] {
            let head = format!("POST /export/answer.csv HTTP/1.0\r\n{ours}{theirs}\r\n");
            let (head, body) = self.http(secret, &head, b"SELECT 1").await?;
            if !head.contains(" 403 ") || !String::from_utf8_lossy(&body).contains("another origin") {
                return Ok(true);
            }
        }
        let (head, _) =
            self.http(secret, &format!("POST /export/a.csv HTTP/1.0\r\n{ours}"), b"SELECT 1").await?;
        ensure!(head.contains(" 200 ") && head.contains("filename=\"a.csv\""), "{head}");
        Ok(false)
    }

    /// Head and body of the answer to a request of HTTP/1.0.
    async fn http(&self, secret: Option<&str>, head: &str, body: &[u8]) -> anyhow::Result<(String, Vec<u8>)> {
        let host = self.city.flight_url().trim_start_matches("grpc://");
        let mut stream = TcpStream::connect(host).await?;
        let bearer = secret.map(|secret| format!("Authorization: Bearer {secret}\r\n")).unwrap_or_default();
        stream.write_all(format!("{head}Host: {host}\r\n{bearer}\r\n").as_bytes()).await?;
        stream.write_all(body).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").context("an answer of HTTP")?;
        Ok((String::from_utf8_lossy(&answer[..end]).into_owned(), answer[end + 4..].to_vec()))
    }

    /// Whether a statement that `owner` prepared answers `thief`, who has its handle.
    ///
    /// # Errors
    /// The owner cannot prepare it.
    pub async fn steals(&self, owner: &str, thief: &str) -> anyhow::Result<bool> {
        let mut client = self.flight_sql(Some(self.secret(owner)?)).await?;
        let mut prepared = client.prepare("SELECT sensor FROM rollup_1h".to_owned(), None).await?;
        let info = prepared.execute().await?;
        let ticket = info.endpoint.into_iter().next().and_then(|endpoint| endpoint.ticket);
        let any = arrow_flight::sql::Any::decode(&*ticket.context("an endpoint")?.ticket)?;
        let command: CommandPreparedStatementQuery = any.unpack()?.context("a prepared statement")?;
        let stolen = Ticket::new(command.as_any().encode_to_vec());
        let mut client = self.flight(Some(self.secret(thief)?)).await?;
        let answer: Result<Vec<RecordBatch>, _> = match client.do_get(stolen).await {
            Ok(answer) => answer.try_collect().await,
            Err(error) => Err(error),
        };
        Ok(answer.is_ok())
    }
}

/// A header or trailer.
fn header(head: &str, name: &str) -> Option<String> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines
        .into_iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().to_owned())
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cell::Sees(sensors) => write!(f, "sees {sensors:?}"),
            Cell::Refused(why) => write!(f, "is refused: {why}"),
        }
    }
}

/// What a role sees of a table, or the word in its refusal.
fn expected(role: Option<&str>, door: Door, table: &str) -> Result<&'static [&'static str], &'static str> {
    match (role, table) {
        (None, _) => Err("token create"),
        (Some(_), "rollup_1h") if door == Door::Live => Err("only reading and event are"),
        (Some("operator" | "planner" | "analyst"), "latest") if door == Door::Live => {
            Err("only reading and event are")
        }
        (Some("operator"), _) => Ok(&["home-1", "inner-1", "open-1"]),
        (Some("planner" | "analyst"), _) => Ok(&["inner-1", "open-1"]),
        (_, "rollup_1h") => Ok(&["open-1"]),
        (_, "latest") => Err("latest"),
        (_, _) => Err("reading"),
    }
}

/// The matrix, cell by cell; and nobody answers by another's handle. `plan` makes the plan of the city.
///
/// # Errors
/// Names the first cells that are wrong.
pub async fn every_role_sees_its_own(storage: Storage, plan: impl Fn(Plan) -> Plan) -> anyhow::Result<()> {
    let guarded = Guarded::start(storage, plan).await?;
    let mut wrong = Vec::new();
    for table in ["rollup_1h", "reading", "latest"] {
        for role in ROLES.map(Some).into_iter().chain([None]) {
            for door in DOORS {
                let cell = guarded.ask(door, role, table).await;
                let holds = match (expected(role, door, table), &cell) {
                    (Ok(sensors), Cell::Sees(seen)) => seen.iter().eq(sensors.iter()),
                    (Err(word), Cell::Refused(why)) => why.contains(word),
                    _ => false,
                };
                if !holds {
                    wrong.push(format!("{} at {door:?} of {table} {cell}", role.unwrap_or("nobody")));
                }
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(
        !guarded.steals("operator", "public").await?,
        "a prepared statement answers whoever has its handle"
    );
    ensure!(!guarded.serves_other_pages("operator").await?, "a page of another origin is answered");
    let verified = command::json(guarded.city.workplace(), &["access", "verify"])?;
    ensure!(verified["ok"] == true, "{verified}");
    let said = command::run(guarded.city.workplace(), &["access", "list", "--who", "public", "--json"])?;
    ensure!(said.out.contains("rollup_1h") && !said.out.contains("\"who\":\"operator\""), "{}", said.out);
    guarded.city.stop()?;
    Ok(())
}
