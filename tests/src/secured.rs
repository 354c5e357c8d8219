//! A city that asks: it speaks TLS, and answers who has a token.

use std::path::Path;

use anyhow::{Context, ensure};

use crate::certificates::Authority;
use crate::process::Workplace;
use crate::{Plan, Storage, command};

/// What is needed to start it, and to be let in.
#[derive(Debug)]
pub struct Secured {
    pub plan: Plan,
    /// The file with its authority.
    pub ca: String,
    /// A token of an operator named `ann`.
    pub token: String,
}

impl Secured {
    /// # Errors
    /// When a certificate or the token cannot be made.
    pub fn up(storage: Storage) -> anyhow::Result<Secured> {
        let workplace = Workplace::new()?;
        let authority = Authority::new(workplace.path(), "city")?;
        let server = authority.server(&["localhost", "127.0.0.1"])?;
        let said = command::run(&workplace, &["token", "create", "ann", "--role", "operator"])?;
        ensure!(said.status.success(), "{}", said.err);
        let path = |path: &Path| path.to_str().map(String::from).context("a path that is text");
        let plan = Plan::up(storage)
            .env("SCREENLINE_TLS_CERT", &path(&server.certificate)?)
            .env("SCREENLINE_TLS_KEY", &path(&server.key)?)
            .on(workplace);
        Ok(Secured { plan, ca: path(&authority.ca)?, token: said.out.trim().to_owned() })
    }
}
