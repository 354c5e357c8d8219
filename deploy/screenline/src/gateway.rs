//! `screenline gateway`: the reference gateway at work, and who may enter the private broker.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use ingest::address::Access;
use simulators::{
    gateway::{self, Config, Input},
    recording::Recording,
    replay::Protocol,
};

use crate::{
    broker::{BrokerArgs, broker},
    cli::bytes,
    console::Console,
    paper::thousands,
    signals,
    supervisor::{
        data_folder::{self, DataFolder, DataFolderError},
        logins::Logins,
    },
};

#[derive(Debug, Clone, Args)]
pub struct GatewayArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Run the reference gateway: number messages, and keep each until the city has committed it
    Run(Box<RunArgs>),
    /// Make a login for a gateway at the private broker, and print its password once
    Add(LoginArgs),
    /// Name the gateways that have a login at the private broker
    List(FolderArgs),
    /// Take a gateway's login away
    Remove(LoginArgs),
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
The login may write below gateway/NAME/ and read screenline/ack/NAME. A broker that asks for logins takes it at once; one
that does not yet, asks from the next `screenline up` on.")]
struct LoginArgs {
    /// The gateway's name, which is its user at the broker
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    folder: FolderArgs,
}

#[derive(Debug, Clone, Args)]
struct FolderArgs {
    /// The data folder whose private broker is meant [default: as `up`]
    #[arg(long, env = "SCREENLINE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
}

impl FolderArgs {
    /// The logins of a data folder, which is made if it is not there. A city may be running on it.
    fn logins(&self) -> anyhow::Result<Logins> {
        let data = self.data.clone().unwrap_or_else(data_folder::default_path);
        match DataFolder::open(&data) {
            Ok(folder) => Ok(Logins::of(folder.path())),
            Err(DataFolderError::InUse(path)) => Ok(Logins::of(&path)),
            Err(error) => Err(error.into()),
        }
    }
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Messages are numbered once they are on disk, published below gateway/NAME/ with QoS 1, and forgotten only when the topic
screenline/ack/NAME says that the city has committed them. A full spool takes nothing more: the input waits. Input that
ends, ends the gateway when all of it is committed; a killed gateway goes on where it was.

Examples:
  sensor-reader | screenline gateway run gate-1
  screenline gateway run gate-1 --from mqtt://127.0.0.1:1884 --broker-url mqtts://city.example --broker-user gate-1 \\
      --broker-password-file /etc/gate-1.password
  screenline gateway run gate-1 --from ./morning.recording

A line on standard input: {\"topic\":\"city/water/WM-101/register\",\"payload\":\"{...}\"}, or payload_base64.")]
struct RunArgs {
    /// The gateway's name: of its numbers, its topics and its login
    #[arg(value_name = "NAME")]
    name: String,
    /// Where messages come from: `-` is standard input, a recording's file, or a broker near the sensors (mqtt://...)
    #[arg(long, value_name = "-|FILE|URL", default_value = "-")]
    from: String,
    /// What to take from the broker of --from
    #[arg(long, value_name = "FILTER", value_delimiter = ',', default_value = "city/#")]
    topics: Vec<String>,
    #[command(flatten)]
    broker: BrokerArgs,
    /// Folder for the messages that are not committed; a new one begins a new count
    /// [default: /var/lib/screenline-gateway/NAME as root, else in the user's state folder]
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
    /// How much the spool may hold, such as `1GiB`
    #[arg(long, value_name = "BYTES", default_value = "1GiB", value_parser = bytes)]
    spool_bytes: u64,
}

/// Runs a command about gateways.
///
/// # Errors
/// As each command says.
pub async fn run(args: GatewayArgs, console: &Console) -> anyhow::Result<()> {
    match args.command {
        Command::Run(args) => work(*args, console).await,
        Command::Add(LoginArgs { name, folder }) => {
            let logins = folder.logins()?;
            println!("{}", logins.add(&name)?);
            console.line(&format!("the password of {name}, which is not shown again"));
            announce(&logins, console)
        }
        Command::List(folder) => {
            for name in folder.logins()?.gateways()? {
                println!("{name}");
            }
            Ok(())
        }
        Command::Remove(LoginArgs { name, folder }) => {
            let logins = folder.logins()?;
            ensure!(
                logins.remove(&name)?,
                "{name} has no login: `screenline gateway list` names those that have"
            );
            announce(&logins, console)
        }
    }
}

fn announce(logins: &Logins, console: &Console) -> anyhow::Result<()> {
    console.line(match logins.announce()? {
        true => "the running broker knows of it",
        false => "the broker asks for logins from the next start of `screenline up` on",
    });
    Ok(())
}

/// Takes messages until the input ends and all of it is committed, or until a signal.
///
/// # Errors
/// The spool cannot be used, or the broker refuses us or a message.
async fn work(args: RunArgs, console: &Console) -> anyhow::Result<()> {
    let shutdown = signals::shutdown()?;
    let input = match args.from.as_str() {
        "-" => Input::Lines,
        url if url.contains("://") => Input::Broker {
            broker: broker(url, &Access::default()).context("read --from")?,
            filters: args.topics,
        },
        file => Input::Recording(Recording::open(Path::new(file))?),
    };
    let usual = || data_folder::default_path().with_file_name("screenline-gateway").join(&args.name);
    let spool = args.spool.unwrap_or_else(usual);
    let config = Config {
        broker: args.broker.broker()?,
        name: args.name,
        spool,
        spool_bytes_max: args.spool_bytes,
        protocol: Protocol::Auto,
        input,
    };
    let began = Instant::now();
    let done = gateway::run(config, shutdown).await?;
    console.line(&format!(
        "{} messages taken, {} published, committed up to number {}, {} kept for the next run, in {:.1?}",
        thousands(done.taken.cast_signed()),
        thousands(done.published.cast_signed()),
        thousands(done.committed.cast_signed()),
        thousands(done.kept.cast_signed()),
        began.elapsed()
    ));
    Ok(())
}
