//! `screenline up`: run a city until told to stop.

use std::time::Duration;

use tokio::{sync::watch, time::sleep};
use tracing::info;

use crate::{
    city::{City, Services},
    cli::{LogArgs, UpArgs},
    console::Console,
    disk,
    monitor::{self, Pages},
    ready::ReadyFile,
    signals,
    supervisor::data_folder,
    telemetry,
};

/// How soon the ready file names a restarted child.
const PIDS_LOOK: Duration = Duration::from_millis(100);

/// Runs a city until SIGINT or SIGTERM.
///
/// # Errors
/// Something could not be started: the message says what, and what to do.
pub async fn run(args: UpArgs, log: LogArgs, console: Console) -> anyhow::Result<()> {
    let shutdown = signals::shutdown()?;
    let ready_file = args.ready_file.clone().map(ReadyFile::prepare).transpose()?;
    let listener = monitor::listen(args.metrics_listen).await?;
    let metrics = listener.local_addr()?;
    let services = Services::default();
    let (ready_to, ready) = watch::channel(false);
    let pages = Pages::new(telemetry::metrics("launcher")?, ready, services.pages(&args));
    let data = args.data.clone().unwrap_or_else(data_folder::default_path);
    let disk = disk::watch(args.database_url.is_none().then(|| data.clone()));
    monitor::serve(listener, pages.degraded_by(disk));

    let tell = |what: &str, took: Duration| info!(?took, "{what}");
    let city = tokio::select! {
        city = City::start(&args, &log, &data, &console, &services, &tell, async |_| Ok(())) => city?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let mut about = city.ready(metrics);
    info!(
        dashboard = about.http,
        mqtt = about.mqtt,
        flight = about.flight,
        metrics = about.metrics,
        database = about.database,
        "the city is up"
    );
    if let Some(file) = &ready_file {
        file.announce(&about)?;
    }
    ready_to.send_replace(true);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = sleep(PIDS_LOOK) => {}
        }
        let pids = city.pids();
        if pids != about.pids {
            about.pids = pids;
            if let Some(file) = &ready_file {
                file.announce(&about)?;
            }
        }
    }
    ready_to.send_replace(false);
    info!("stopping: ingest, query, broker, database");
    city.stop().await;
    Ok(())
}
