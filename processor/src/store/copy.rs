//! PostgreSQL's binary COPY, encoded by hand: a third of the cost of the driver's row writer.

use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, TryStreamExt, pin_mut};
use tokio_postgres::Client;

use super::StoreError;
use crate::model::Time;

/// Large enough that a frame's overhead vanishes, small enough to stay in the second-level cache.
const FRAME_BYTES: usize = 256 << 10;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// Rows on their way into a COPY, cut into frames.
#[derive(Debug)]
pub struct CopyFrames {
    full: Vec<Bytes>,
    open: BytesMut,
}

impl CopyFrames {
    pub fn new() -> Self {
        let mut open = BytesMut::with_capacity(FRAME_BYTES + 4096);
        open.put_slice(SIGNATURE);
        CopyFrames { full: Vec::new(), open }
    }

    /// Begins a row of so many columns.
    pub fn row(&mut self, columns: i16) {
        if FRAME_BYTES <= self.open.len() {
            let next = BytesMut::with_capacity(FRAME_BYTES + 4096);
            self.full.push(std::mem::replace(&mut self.open, next).freeze());
        }
        self.open.put_i16(columns);
    }

    pub fn int4(&mut self, value: i32) {
        self.open.put_i32(4);
        self.open.put_i32(value);
    }

    pub fn int8(&mut self, value: i64) {
        self.open.put_i32(8);
        self.open.put_i64(value);
    }

    pub fn float8(&mut self, value: f64) {
        self.open.put_i32(8);
        self.open.put_f64(value);
    }

    pub fn time(&mut self, time: Time) {
        self.int8(time.postgres_micros());
    }

    pub fn optional_float8(&mut self, value: Option<f64>) {
        match value {
            Some(value) => self.float8(value),
            None => self.open.put_i32(-1),
        }
    }

    pub fn optional_text(&mut self, text: Option<&str>) {
        self.optional_bytes(text.map(str::as_bytes));
    }

    pub fn optional_time(&mut self, time: Option<Time>) {
        match time {
            Some(time) => self.time(time),
            None => self.open.put_i32(-1),
        }
    }

    pub fn optional_bytes(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => {
                self.open.put_i32(bytes.len() as i32);
                self.open.put_slice(bytes);
            }
            None => self.open.put_i32(-1),
        }
    }

    /// `text` is JSON.
    pub fn optional_jsonb(&mut self, text: Option<&str>) {
        match text {
            Some(text) => {
                self.open.put_i32(text.len() as i32 + 1);
                self.open.put_u8(1); // the version of the format
                self.open.put_slice(text.as_bytes());
            }
            None => self.open.put_i32(-1),
        }
    }

    /// Sends everything; `statement` is `COPY ... FROM STDIN (FORMAT binary)`. Returns the rows taken.
    ///
    /// # Errors
    /// The database refuses a row or is gone; dropping the sink then cancels the COPY.
    pub async fn send(mut self, client: &Client, statement: &str) -> Result<u64, StoreError> {
        self.open.put_i16(-1);
        self.full.push(self.open.freeze());
        let sink = client.copy_in::<_, Bytes>(statement).await?;
        pin_mut!(sink);
        for frame in self.full {
            sink.send(frame).await?;
        }
        Ok(sink.finish().await?)
    }
}

impl Default for CopyFrames {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs `COPY (...) TO STDOUT (FORMAT binary)` and hands every row, without its column count, to `row`.
///
/// # Errors
/// The database fails, or the stream is not binary COPY.
pub async fn read_copy(
    client: &Client,
    statement: &str,
    mut row: impl FnMut(&mut Fields<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let stream = client.copy_out(statement).await?;
    pin_mut!(stream);
    let mut first = true;
    while let Some(frame) = stream.try_next().await? {
        // The server sends the signature before the first row, then a row a frame, then -1.
        let mut fields = Fields(&frame);
        if first {
            first = false;
            fields.skip(SIGNATURE.len())?;
        }
        if fields.0.is_empty() || fields.int2()? == -1 {
            continue;
        }
        row(&mut fields)?;
    }
    Ok(())
}

/// The columns of one row, read one after the other.
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn skip(&mut self, bytes: usize) -> Result<(), StoreError> {
        self.0 = self.0.get(bytes..).ok_or_else(Self::torn)?;
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or_else(Self::torn)?;
        self.0 = rest;
        Ok(*head)
    }

    fn torn() -> StoreError {
        StoreError::Unfit("the database sent a row that is not what was asked for".to_owned())
    }

    fn int2(&mut self) -> Result<i16, StoreError> {
        self.take().map(i16::from_be_bytes)
    }

    fn optional<const N: usize>(&mut self) -> Result<Option<[u8; N]>, StoreError> {
        match i32::from_be_bytes(self.take()?) {
            -1 => Ok(None),
            length if length == N as i32 => self.take().map(Some),
            _ => Err(Self::torn()),
        }
    }

    fn sized<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        self.optional()?.ok_or_else(Self::torn)
    }

    pub fn int4(&mut self) -> Result<i32, StoreError> {
        self.sized().map(i32::from_be_bytes)
    }

    pub fn int8(&mut self) -> Result<i64, StoreError> {
        self.sized().map(i64::from_be_bytes)
    }

    pub fn float8(&mut self) -> Result<f64, StoreError> {
        self.sized().map(f64::from_be_bytes)
    }

    pub fn optional_float8(&mut self) -> Result<Option<f64>, StoreError> {
        Ok(self.optional()?.map(f64::from_be_bytes))
    }

    pub fn time(&mut self) -> Result<Time, StoreError> {
        self.int8().map(Time::from_postgres_micros)
    }

    pub fn optional_time(&mut self) -> Result<Option<Time>, StoreError> {
        Ok(self.optional()?.map(|bytes| Time::from_postgres_micros(i64::from_be_bytes(bytes))))
    }

    pub fn optional_bytes(&mut self) -> Result<Option<&'a [u8]>, StoreError> {
        let Ok(length) = usize::try_from(i32::from_be_bytes(self.take()?)) else { return Ok(None) };
        let (bytes, rest) = self.0.split_at_checked(length).ok_or_else(Self::torn)?;
        self.0 = rest;
        Ok(Some(bytes))
    }

    pub fn optional_text(&mut self) -> Result<Option<&'a str>, StoreError> {
        let bytes = self.optional_bytes()?;
        bytes.map(std::str::from_utf8).transpose().map_err(|_| Self::torn())
    }
}
