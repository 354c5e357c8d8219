//! `screenline bench`: stages are measured on a city of their own, each beside what limits it.

tests::at_each_level!(stages_are_measured_beside_their_limits);

mod scenarios {
    use anyhow::{Context, ensure};
    use serde_json::Value;
    use tests::{Storage, command};

    /// No figure is looked at: those are of a machine that has other things to do.
    pub async fn stages_are_measured_beside_their_limits(storage: Storage) -> anyhow::Result<()> {
        let stages = ["bench", "decode", "write", "roll", "hold", "--rounds", "3", "--json"];
        let load = ["--for", "3s", "--rate", "20000", "--series", "1000", "--storage", storage.name()];
        let said = command::ended(command::alone(&[&stages[..], &load].concat())?)?;
        // 2 says that the machine was not quiet, which a test is not.
        ensure!(matches!(said.status.code(), Some(0 | 2)), "{}: {}", said.status, said.err);
        let report: Value = serde_json::from_str(&said.out).with_context(|| said.out.clone())?;
        ensure!((said.status.code() == Some(0)) == (report["stable"] == true), "{}: {report}", said.status);
        let figures = report["figures"].as_array().context("no figures")?;
        let names: Vec<&str> = figures.iter().filter_map(|figure| figure["name"].as_str()).collect();
        let all = ["parse", "decode", "copy", "write", "write-repeats", "ingest", "copy-out", "roll"];
        ensure!(names == all, "{names:?}");
        for figure in figures {
            let rounds = figure["rounds"].as_array().context("no rounds")?;
            ensure!(rounds.len() == 3, "{figure}");
            let is_positive = |value: &Value| value.as_f64().is_some_and(|number| 0.0 < number);
            ensure!(is_positive(&figure["per_second"]), "{figure}");
            ensure!(rounds.iter().all(|round| is_positive(&round["cpu_seconds"]["bench"])), "{figure}");
            let limit = figure["limit"].as_str();
            ensure!(
                limit.is_none_or(|limit| names.contains(&limit) && is_positive(&figure["of_limit"])),
                "{figure}"
            );
        }
        ensure!(report["held"]["readings"] == 60_000, "{}", report["held"]);
        let writing = figures.iter().find(|figure| figure["name"] == "write").context("no write")?;
        ensure!(writing["database_cpu_seconds_per_million"].as_f64() > Some(0.0), "{writing}");
        ensure!(!said.err.contains("panicked"), "{}", said.err);
        Ok(())
    }
}
