//! A metrics page, read over plain HTTP.

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Prometheus' text format.
#[derive(Debug, Clone)]
pub struct Page(pub String);

impl Page {
    /// The page at `http://host:port/path`.
    ///
    /// # Errors
    /// When nobody answers with 200.
    pub async fn fetch(url: &str) -> anyhow::Result<Page> {
        let rest = url.strip_prefix("http://").with_context(|| format!("{url} is no http address"))?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let mut stream = TcpStream::connect(host).await.with_context(|| format!("connect to {url}"))?;
        // Version 1.0: the answer ends with the connection and is not cut into chunks.
        stream.write_all(format!("GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("{url} answers no HTTP"))?;
        let status = head.lines().next().unwrap_or_default();
        ensure!(status.contains(" 200 "), "{url} answers {status}");
        Ok(Page(body.to_owned()))
    }

    /// The sum of a metric's samples over all labels; `None` when the page has none.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.sum(name, |_| true)
    }

    /// The sum of a metric's samples with this label; `None` when the page has none.
    pub fn labelled(&self, name: &str, label: &str, value: &str) -> Option<f64> {
        let wanted = format!("{label}=\"{value}\"");
        self.sum(name, |labels| labels.split([',', '}']).any(|found| found == wanted))
    }

    fn sum(&self, name: &str, wanted: impl Fn(&str) -> bool) -> Option<f64> {
        let samples = self.0.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (metric, labels) = series.split_once('{').unwrap_or((series, ""));
            (metric == name && wanted(labels)).then(|| value.parse::<f64>().ok()).flatten()
        });
        samples.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    }
}
