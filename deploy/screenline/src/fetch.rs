//! One small page over HTTP from a process beside us.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// A page of metrics is tens of kilobytes.
const PAGE_BYTES_MAX: u64 = 8 << 20;
/// A process that does not answer within it counts as not ready.
const PATIENCE: Duration = Duration::from_secs(2);

/// The status and body of `GET path`. HTTP/1.0, so that the body ends with the connection.
///
/// # Errors
/// No connection, no answer within two seconds, or not HTTP.
pub async fn get(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let page = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.take(PAGE_BYTES_MAX).read_to_string(&mut answer).await?;
        let not_http = || io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer");
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(not_http)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(not_http)?;
        Ok((status, body.to_owned()))
    };
    timeout(PATIENCE, page).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
