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

    /// A quantile of what a histogram counted since an earlier page, between the borders of its buckets; `None` when it
    /// counted nothing.
    pub fn quantile_since(&self, earlier: &Page, name: &str, share: f64) -> Option<f64> {
        let bucket = format!("{name}_bucket");
        let border = |line: &str| {
            let labels = line.strip_prefix(&bucket)?;
            labels.split("le=\"").nth(1)?.split('"').next().map(String::from)
        };
        let mut counts: Vec<(f64, f64)> = Vec::new();
        for le in self.0.lines().filter_map(border) {
            let before = earlier.labelled(&bucket, "le", &le).unwrap_or(0.0);
            let count = self.labelled(&bucket, "le", &le)? - before;
            counts.push((le.parse().unwrap_or(f64::INFINITY), count));
        }
        counts.sort_by(|one, other| one.0.total_cmp(&other.0));
        let rank = share * counts.last().filter(|(_, all)| 0.0 < *all)?.1;
        let place = counts.iter().position(|(_, count)| rank <= *count)?;
        let (low, below) = place.checked_sub(1).map_or((0.0, 0.0), |before| counts[before]);
        let (high, upto) = counts[place];
        Some(if high.is_finite() { low + (high - low) * (rank - below) / (upto - below) } else { low })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_of_what_was_counted_since() {
        let page = |counts: [u32; 3]| {
            let lines = ["0.1", "1", "+Inf"]
                .iter()
                .zip(counts)
                .map(|(le, count)| format!("age_seconds_bucket{{service=\"ingest\",le=\"{le}\"}} {count}\n"));
            Page(lines.collect())
        };
        let (before, after) = (page([100, 100, 100]), page([110, 120, 120]));
        assert_eq!(after.quantile_since(&before, "age_seconds", 0.5), Some(0.1));
        assert_eq!(after.quantile_since(&before, "age_seconds", 0.75), Some(0.55));
        assert_eq!(before.quantile_since(&before, "age_seconds", 0.5), None);
    }
}
