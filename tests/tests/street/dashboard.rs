//! The dashboard in a real browser: the checks of `tests/browser`, in the open, and with TLS and a token.

tests::at_each_level!(every_view_works_in_a_browser, a_browser_is_let_in_with_a_token);

mod scenarios {
    use std::{path::Path, sync::Arc};

    use anyhow::Context;
    use simulators::replay::{History, Speed};
    use tests::{City, Plan, Storage, python, secured::Secured};

    /// With both bundled feeds, as if they ended now.
    async fn fed(plan: Plan) -> anyhow::Result<City> {
        let city = plan.start().await?;
        for feed in ["sumo-grid", "wntr-net3"] {
            city.import_registry(feed)?;
            let mut config = city.replay_config(feed, Speed::Max)?;
            config.history = History::EndingNow;
            city.replay(config, Arc::default()).await?;
        }
        city.settled().await?;
        Ok(city)
    }

    /// Makes the checks; with their screenshots beside the builds, where that is told.
    fn look(city: &City, args: &[&str]) -> anyhow::Result<()> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser/run.py");
        let ready = city.ready_file().to_str().context("a path that is text")?;
        let pictures = std::env::var("CARGO_TARGET_DIR").map(|folder| format!("{folder}/screenshots"));
        let pictures = pictures.as_deref().map_or(vec![], |folder| vec!["--pictures", folder]);
        python::script(&script, &[&["--ready", ready], args, &pictures[..]].concat(), &[])
    }

    pub async fn every_view_works_in_a_browser(storage: Storage) -> anyhow::Result<()> {
        let city = fed(Plan::up(storage)).await?;
        // What a page looks like does not depend on how readings are stored; what it says might.
        match storage {
            Storage::Plain => look(&city, &[])?,
            Storage::Timescale => look(&city, &["--only", "its tables say"])?,
        }
        city.stop()?;
        Ok(())
    }

    pub async fn a_browser_is_let_in_with_a_token(storage: Storage) -> anyhow::Result<()> {
        if storage != Storage::Plain {
            return Ok(());
        }
        let Secured { plan, ca, token } = Secured::up(storage)?;
        let city = fed(plan).await?;
        let url = city.flight_url().replace("grpc+tls://127.0.0.1", "https://localhost");
        look(&city, &["--url", &url, "--token", &token, "--ca", &ca])?;
        city.stop()?;
        Ok(())
    }
}
