//! Prometheus' text format: several processes' metrics as one page, and single values out of it.

use std::fmt::Write;

/// One metric family: its HELP and TYPE, and every sample of every process.
#[derive(Debug, Default)]
struct Family<'a> {
    name: &'a str,
    help: Option<&'a str>,
    kind: Option<&'a str>,
    samples: Vec<&'a str>,
}

/// Joins pages so that every family stands once, with its HELP and TYPE first, as scrapers require.
/// The samples differ in their `service` label.
pub fn merge(pages: &[String]) -> String {
    let mut families: Vec<Family<'_>> = Vec::new();
    for page in pages {
        let mut current = None;
        for line in page.lines().filter(|line| !line.trim().is_empty()) {
            let mut words = line.splitn(4, ' ');
            match (words.next(), words.next(), words.next(), words.next()) {
                (Some("#"), Some("HELP"), Some(name), text) => {
                    let at = family(&mut families, name);
                    families[at].help = families[at].help.or(text);
                    current = Some(at);
                }
                (Some("#"), Some("TYPE"), Some(name), kind) => {
                    let at = family(&mut families, name);
                    families[at].kind = families[at].kind.or(kind);
                    current = Some(at);
                }
                (Some("#"), ..) => {}
                _ => {
                    let name = metric_name(line);
                    // Of a histogram, `_bucket`, `_sum` and `_count` belong to the family before them.
                    let at = match current {
                        Some(at) if name.starts_with(families[at].name) => at,
                        _ => family(&mut families, name),
                    };
                    families[at].samples.push(line);
                }
            }
        }
    }
    let mut page = String::new();
    for family in &families {
        if let Some(help) = family.help {
            let _ = writeln!(page, "# HELP {} {help}", family.name);
        }
        if let Some(kind) = family.kind {
            let _ = writeln!(page, "# TYPE {} {kind}", family.name);
        }
        for sample in &family.samples {
            let _ = writeln!(page, "{sample}");
        }
        page.push('\n');
    }
    page
}

/// The sum of a metric's samples over all labels; `None` if the page does not have it.
pub fn total(page: &str, name: &str) -> Option<f64> {
    page.lines()
        .filter(|line| !line.starts_with('#') && metric_name(line) == name)
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .reduce(|sum, value| sum + value)
}

fn metric_name(sample: &str) -> &str {
    sample.split(['{', ' ']).next().unwrap_or_default()
}

fn family<'a>(families: &mut Vec<Family<'a>>, name: &'a str) -> usize {
    families.iter().position(|family| family.name == name).unwrap_or_else(|| {
        families.push(Family { name, ..Family::default() });
        families.len() - 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INGEST: &str = "# HELP wait_seconds how long\n# TYPE wait_seconds histogram\n\
        wait_seconds_bucket{service=\"ingest\",le=\"+Inf\"} 2\nwait_seconds_sum{service=\"ingest\"} 0.5\n\
        wait_seconds_count{service=\"ingest\"} 2\n\n# TYPE stored_total counter\nstored_total{service=\"ingest\"} 40606\n";
    const QUERY: &str = "# HELP wait_seconds how long\n# TYPE wait_seconds histogram\n\
        wait_seconds_count{service=\"query\"} 1\n\n# TYPE stored_total counter\nstored_total{service=\"query\"} 1\n";

    #[test]
    fn merged_metrics_have_each_family_once_with_every_sample() {
        let page = merge(&[INGEST.into(), QUERY.into()]);
        assert_eq!(
            page,
            "# HELP wait_seconds how long\n# TYPE wait_seconds histogram\n\
             wait_seconds_bucket{service=\"ingest\",le=\"+Inf\"} 2\nwait_seconds_sum{service=\"ingest\"} 0.5\n\
             wait_seconds_count{service=\"ingest\"} 2\nwait_seconds_count{service=\"query\"} 1\n\n\
             # TYPE stored_total counter\nstored_total{service=\"ingest\"} 40606\nstored_total{service=\"query\"} 1\n\n"
        );
    }

    #[test]
    fn a_metric_that_is_absent_is_not_zero() {
        let page = merge(&[INGEST.into(), QUERY.into()]);
        assert_eq!(total(&page, "stored_total"), Some(40607.0));
        assert_eq!(total(&page, "stored"), None);
    }
}
