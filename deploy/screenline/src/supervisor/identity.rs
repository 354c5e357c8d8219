//! Under which user a child runs. PostgreSQL refuses root, and the broker needs no more than its own folder.

use std::{
    env, fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
};

use anyhow::{Context, bail};
use nix::unistd::{Uid, User, geteuid};
use tokio::process::Command;

/// The user that a child runs as: our own unless we are root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    name: String,
    /// Numeric user and group to change to; `None` without root.
    change_to: Option<(u32, u32)>,
}

impl Identity {
    /// The first of the named users that exists, when we are root; else our own.
    ///
    /// # Errors
    /// We are root and none of them exists.
    pub fn of_first(users: &[&str], purpose: &str) -> anyhow::Result<Self> {
        if !geteuid().is_root() {
            let user = User::from_uid(geteuid()).context("look up our own user")?;
            let name = user.map_or_else(|| geteuid().to_string(), |user| user.name);
            return Ok(Self { name, change_to: None });
        }
        for name in users {
            match User::from_name(name).with_context(|| format!("look up the user `{name}`"))? {
                Some(user) if user.uid != Uid::from_raw(0) => {
                    return Ok(Self {
                        name: user.name,
                        change_to: Some((user.uid.as_raw(), user.gid.as_raw())),
                    });
                }
                _ => {}
            }
        }
        bail!(
            "{purpose} must not run as root, and there is no user `{0}`: create it with `adduser --system --group {0}`, \
             or start screenline as another user",
            users[0]
        )
    }

    /// Lets a command run as this user. The standard library also drops root's other groups. Our settings, in which
    /// there may be passwords, are none of its business.
    pub fn apply(&self, command: &mut Command) {
        for (name, _) in env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"SCREENLINE_") {
                command.env_remove(name);
            }
        }
        if let Some((uid, gid)) = self.change_to {
            command.uid(uid).gid(gid);
        }
    }

    /// Makes a folder that only this user may enter, or takes over one that exists.
    ///
    /// # Errors
    /// The folder cannot be made, given away or closed to others.
    pub fn own_folder(&self, path: &Path) -> anyhow::Result<()> {
        let make = || -> io::Result<()> {
            fs::create_dir_all(path)?;
            if let Some((uid, gid)) = self.change_to {
                chown(path, Some(uid), Some(gid))?;
            }
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))
        };
        make().with_context(|| format!("make the folder {} for user `{}`", path.display(), self.name))
    }

    /// Gives a file to this user, for nobody else to read.
    ///
    /// # Errors
    /// The file cannot be given away or closed to others.
    pub fn own_file(&self, path: &Path) -> anyhow::Result<()> {
        let give = || -> io::Result<()> {
            if let Some((uid, gid)) = self.change_to {
                chown(path, Some(uid), Some(gid))?;
            }
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        };
        give().with_context(|| format!("give {} to user `{}`", path.display(), self.name))
    }

    /// Checks that this user can come to a folder, that is enter each folder above it.
    ///
    /// # Errors
    /// Names the first folder that it cannot enter, and what to do.
    pub fn can_reach(&self, path: &Path) -> anyhow::Result<()> {
        let Some((uid, gid)) = self.change_to else { return Ok(()) };
        let path = path.canonicalize().with_context(|| format!("find {}", path.display()))?;
        for folder in path.ancestors().skip(1).collect::<Vec<_>>().into_iter().rev() {
            let about = fs::metadata(folder).with_context(|| format!("look at {}", folder.display()))?;
            let bit = match (about.uid() == uid, about.gid() == gid) {
                (true, _) => 0o100,
                (false, true) => 0o010,
                (false, false) => 0o001,
            };
            if about.mode() & bit == 0 {
                bail!(
                    "user `{}` cannot enter {}, so it cannot use {}: give another folder with --data (as root the \
                     default is /var/lib/screenline), or let it pass with `chmod o+x {}`",
                    self.name,
                    folder.display(),
                    path.display(),
                    folder.display()
                );
            }
        }
        Ok(())
    }
}
