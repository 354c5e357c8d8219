//! Clients that people have: each script of `tests/clients` and each example of `query/examples`, with and without TLS
//! and tokens.

tests::at_each_level!(every_client_works_in_the_open, every_client_works_with_tls_and_a_token);

mod scenarios {
    use std::path::Path;
    use std::sync::Arc;

    use anyhow::{Context, ensure};
    use simulators::replay::Speed;
    use tests::certificates::Authority;
    use tests::process::Workplace;
    use tests::{City, Plan, Storage, command, python, say};

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

    /// Runs a script; what it left out is said aloud.
    fn script(path: &Path, args: &[&str], env: &[(&str, &str)]) -> anyhow::Result<()> {
        let path = path.to_str().context("a path that is text")?;
        let Some(output) = python::run_with(&[&[path], args].concat(), env)? else { return Ok(()) };
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        out.lines().chain(err.lines()).filter(|line| line.contains("SKIPPED")).for_each(say);
        ensure!(output.status.success(), "{path} failed ({})\n{out}\n{err}", output.status);
        Ok(())
    }

    fn all(scripts: &[&str], args: &[&str], env: &[(&str, &str)]) -> anyhow::Result<()> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in scripts {
            script(&here.join("clients").join(name), args, &[])?;
        }
        for name in EXAMPLES {
            script(
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
        let workplace = Workplace::new()?;
        let authority = Authority::new(workplace.path(), "city")?;
        let server = authority.server(&["localhost", "127.0.0.1"])?;
        let said = command::run(&workplace, &["token", "create", "ann", "--role", "operator"])?;
        ensure!(said.status.success(), "{}", said.err);
        let secret = said.out.trim();
        let path = |path: &Path| path.to_str().map(String::from).context("a path that is text");
        let plan = Plan::up(storage)
            .env("SCREENLINE_TLS_CERT", &path(&server.certificate)?)
            .env("SCREENLINE_TLS_KEY", &path(&server.key)?);
        let city = fed(plan.on(workplace)).await?;
        ensure!(city.flight_url().starts_with("grpc+tls://"), "{}", city.flight_url());
        let url = city.flight_url().replace("127.0.0.1", "localhost");
        let ca = path(&authority.ca)?;
        let env = [("SCREENLINE_TOKEN", secret)];
        all(&SCRIPTS, &["--url", &url, "--ca", &ca, "--token", secret], &env)?;
        let basic = format!("ann:{secret}");
        all(&["adbc.py", "flight.py"], &["--url", &url, "--ca", &ca, "--basic", &basic], &env)?;
        city.stop()?;
        Ok(())
    }
}
