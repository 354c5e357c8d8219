//! Clients that people have: each script of `tests/clients` and each example of `query/examples`, with and without TLS
//! and tokens.

tests::at_each_level!(every_client_works_in_the_open, every_client_works_with_tls_and_a_token);

mod scenarios {
    use std::path::Path;
    use std::sync::Arc;

    use anyhow::ensure;
    use simulators::replay::Speed;
    use tests::secured::Secured;
    use tests::{City, Plan, Storage, python};

    const SCRIPTS: [&str; 7] = [
        "flight.py",
        "adbc.py",
        "sqlalchemy_dialect.py",
        "grafana_frames.py",
        "grpc_web.py",
        "polars_pandas.py",
        "jdbc.py",
    ];
    const EXAMPLES: [&str; 7] = [
        "pyarrow_flight.py",
        "live_tail.py",
        "adbc_dbapi.py",
        "adbc_polars.py",
        "adbc_pandas.py",
        "sqlalchemy_superset.py",
        "grpc_web.py",
    ];

    /// With both bundled feeds in its tables.
    async fn fed(plan: Plan) -> anyhow::Result<City> {
        let city = plan.start().await?;
        for feed in ["sumo-grid", "wntr-net3"] {
            city.replay_feed(feed, Speed::Max, Arc::default()).await?;
        }
        city.settled().await?;
        Ok(city)
    }

    fn all(scripts: &[&str], args: &[&str], env: &[(&str, &str)]) -> anyhow::Result<()> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in scripts {
            python::script(&here.join("clients").join(name), args, &[])?;
        }
        for name in EXAMPLES {
            python::script(
                &here.join("../query/examples").join(name),
                &[&["--url"], &args[1..2], ca(args)].concat(),
                env,
            )?;
        }
        Ok(())
    }

    /// The authority among the arguments, where there is one.
    fn ca<'a>(args: &'a [&'a str]) -> &'a [&'a str] {
        let at = args.iter().position(|arg| *arg == "--ca");
        at.map_or(&[], |at| &args[at..at + 2])
    }

    pub async fn every_client_works_in_the_open(storage: Storage) -> anyhow::Result<()> {
        let city = fed(Plan::up(storage)).await?;
        let url = city.flight_url().to_owned();
        let mut scripts = SCRIPTS.to_vec();
        // Once is enough: what is hostile does not get better by TLS.
        if storage == Storage::Plain {
            scripts.push("hostile.py");
        }
        all(&scripts, &["--url", &url], &[])?;
        city.stop()?;
        Ok(())
    }

    pub async fn every_client_works_with_tls_and_a_token(storage: Storage) -> anyhow::Result<()> {
        let Secured { plan, ca, token: secret } = Secured::up(storage)?;
        let city = fed(plan).await?;
        ensure!(city.flight_url().starts_with("grpc+tls://"), "{}", city.flight_url());
        let url = city.flight_url().replace("127.0.0.1", "localhost");
        let env = [("SCREENLINE_TOKEN", secret.as_str())];
        all(&SCRIPTS, &["--url", &url, "--ca", &ca, "--token", &secret], &env)?;
        let basic = format!("ann:{secret}");
        all(&["adbc.py", "flight.py"], &["--url", &url, "--ca", &ca, "--basic", &basic], &env)?;
        city.stop()?;
        Ok(())
    }
}
