//! `screenline token`: who may ask the query service.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use query::identity::{Digest, Token, Tokens};
use serde_json::json;

use crate::{
    console::Console,
    paper::{Paint, Table, cut},
    period::span,
    supervisor::data_folder::{self, DataFolder, DataFolderError},
};

#[derive(Debug, Clone, Args)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Make a token for a person or a program, and print its secret once
    Create(CreateArgs),
    /// List the tokens: who has which role, since when and until when
    List(ListArgs),
    /// Take a token back
    Revoke(RevokeArgs),
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
The secret is printed on stdout and kept nowhere: the file holds its SHA-256. It goes into the header `authorization:
Bearer SECRET`, or is the password of the user NAME. A running service that has the file as --tokens takes it within a
second. With --certificate, who shows that certificate over TLS needs no secret.

Examples:
  screenline token create ann --role analyst
  screenline token create grafana --role analyst --expires 90d > /etc/grafana/screenline.token
  screenline token create nightly-report --role analyst --json | jq -r .secret")]
struct CreateArgs {
    /// Whose it is: 1 to 64 letters, digits, dots, dashes and underscores
    #[arg(value_name = "NAME")]
    name: String,
    /// What its holder may do
    #[arg(long, value_name = "ROLE")]
    role: String,
    /// It ends after so long, such as 90d [default: never]
    #[arg(long, value_name = "SPAN", value_parser = span)]
    expires: Option<SignedDuration>,
    /// A client certificate (PEM) that stands in for the secret
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Print one JSON object on stdout, with the secret
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    file: FileArgs,
}

#[derive(Debug, Clone, Args)]
struct ListArgs {
    /// Print a JSON list on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    file: FileArgs,
}

#[derive(Debug, Clone, Args)]
struct RevokeArgs {
    /// Whose token is taken back
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    file: FileArgs,
}

#[derive(Debug, Clone, Args)]
struct FileArgs {
    /// The file of tokens [default: tokens.toml in the data folder]
    #[arg(long, env = "SCREENLINE_TOKENS", value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// The data folder whose tokens are meant [default: as `up`]
    #[arg(long, env = "SCREENLINE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
}

/// In the data folder.
const FILE: &str = "tokens.toml";

impl FileArgs {
    /// Where tokens are looked up.
    fn path(&self) -> PathBuf {
        let usual = || self.data.clone().unwrap_or_else(data_folder::default_path).join(FILE);
        self.tokens.clone().unwrap_or_else(usual)
    }

    /// Where one is added: the data folder is made if it is not there. A city may be running on it.
    fn made(&self) -> anyhow::Result<PathBuf> {
        if let Some(path) = &self.tokens {
            return Ok(path.clone());
        }
        let data = self.data.clone().unwrap_or_else(data_folder::default_path);
        match DataFolder::open(&data) {
            Ok(folder) => Ok(folder.path().join(FILE)),
            Err(DataFolderError::InUse(path)) => Ok(path.join(FILE)),
            Err(error) => Err(error.into()),
        }
    }
}

/// Runs a command about tokens.
///
/// # Errors
/// The file is broken or cannot be written, or there is no such token.
pub fn run(args: TokenArgs, console: &Console) -> anyhow::Result<()> {
    let now = Timestamp::from_second(Timestamp::now().as_second())?; // a person reads it
    match args.command {
        Command::Create(args) => create(&args, now, console),
        Command::List(args) => list(&args, now),
        Command::Revoke(RevokeArgs { name, file }) => {
            let path = file.path();
            ensure!(
                Tokens::revoke(&path, &name, now)?,
                "{name} has no token in {}: `screenline token list` names those that have",
                path.display()
            );
            console.line(&format!("the token of {name} is refused within a second"));
            Ok(())
        }
    }
}

fn create(args: &CreateArgs, now: Timestamp, console: &Console) -> anyhow::Result<()> {
    let expires = args.expires.map(|span| now.checked_add(span).context("a time that far away"));
    let expires = expires.transpose()?;
    let certificate = args.certificate.as_deref().map(Digest::of_certificate).transpose()?;
    let path = args.file.made()?;
    let is_first = !path.exists();
    let secret = Tokens::create(&path, (&args.name, &args.role), expires, certificate, now)?;
    if args.json {
        println!(
            "{}",
            json!({"name": args.name, "role": args.role, "expires": expires, "secret": secret.reveal()})
        );
    } else {
        println!("{}", secret.reveal());
    }
    console.line(&format!(
        "the token of {}, which is not shown again; services take it with --tokens {}",
        args.name,
        path.display()
    ));
    if is_first {
        console.line("it is the first: start a running city again, which then asks everybody who they are");
    }
    Ok(())
}

fn list(args: &ListArgs, now: Timestamp) -> anyhow::Result<()> {
    let tokens = Tokens::read(&args.file.path())?;
    if args.json {
        println!("{}", serde_json::Value::from(tokens.all().iter().map(about).collect::<Vec<_>>()));
        return Ok(());
    }
    let paint = Paint::of_stdout();
    let mut table = Table::new(paint, &["name", "role", "created", "expires", "revoked", "certificate"]);
    let moment = |at: Timestamp| at.strftime("%F %H:%MZ").to_string();
    for token in tokens.all() {
        let Token { name, role, sha256: _, created, expires, revoked, certificate } = token;
        let expiry = match expires {
            Some(at) if *at <= now => paint.warn(&moment(*at)),
            Some(at) => moment(*at),
            None => "never".to_owned(),
        };
        let certificate = certificate.map_or_else(String::new, |digest| cut(&digest.to_string(), 16));
        let revoked = revoked.map_or_else(String::new, moment);
        table.row([name.clone(), role.clone(), moment(*created), expiry, revoked, certificate]);
    }
    if table.is_empty() {
        println!("no tokens in {}", args.file.path().display());
    } else {
        print!("{}", table.text());
    }
    Ok(())
}

fn about(token: &Token) -> serde_json::Value {
    let Token { name, role, sha256: _, created, expires, revoked, certificate } = token;
    json!({
        "name": name,
        "role": role,
        "created": created,
        "expires": expires,
        "revoked": revoked,
        "certificate": certificate,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(subcommand)]
        command: Command,
    }

    fn screenline(options: &[&str]) -> anyhow::Result<()> {
        let Cli { command } = Cli::try_parse_from(["token"].iter().chain(options))?;
        run(TokenArgs { command }, &Console::default())
    }

    #[test]
    fn a_token_is_made_listed_and_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let data = ["--data", folder.path().to_str().unwrap()];
        let with = |options: &[&str]| screenline(&[options, &data[..]].concat());
        with(&["list"]).unwrap();
        assert!(with(&["revoke", "ann"]).unwrap_err().to_string().contains("no token"));
        with(&["create", "ann", "--role", "analyst", "--expires", "90d", "--json"]).unwrap();
        assert!(with(&["create", "ann", "--role", "analyst"]).is_err());
        with(&["list", "--json"]).unwrap();
        with(&["list"]).unwrap();
        let tokens = Tokens::read(&folder.path().join(FILE)).unwrap();
        let [token] = tokens.all() else { panic!("{tokens:?}") };
        assert!(!about(token).to_string().contains(&token.sha256.to_string()));
        with(&["revoke", "ann"]).unwrap();
        assert!(with(&["revoke", "ann"]).is_err());
        assert!(screenline(&["create", "ann"]).is_err(), "a role is needed");
    }
}
