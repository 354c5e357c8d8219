//! The tokens of a file: who has one, by the SHA-256 of its secret.

use super::{
    Secret,
    watched::{Fault, FileError, Watched},
};
use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Digest as _;
use std::{
    collections::{HashMap, HashSet},
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, fchown},
    path::{Path, PathBuf},
    sync::Arc,
};
use toml::Spanned;

/// Far more than a city has people and programs.
pub const TOKENS_MAX: usize = 10_000;
/// That many, with everything that can be said of one.
const FILE_BYTES_MAX: u64 = 4 << 20;
const HEADING: &str = "\
# Who may ask the query service. Written by `screenline token`, which leaves no other comment in place; running services
# read it again within a second. The secrets are not here: only their SHA-256.
";

/// One `[[token]]` of the file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// 1 to 64 letters, digits, dots, dashes and underscores; one token of a name that is not revoked.
    pub name: String,
    pub role: String,
    /// Of the secret. One round is enough: slow hashes are for passwords, which can be guessed; nobody guesses 256 bits.
    pub sha256: Digest,
    pub created: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Any time here revokes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Timestamp>,
    /// SHA-256 of a client certificate (DER) that stands in for the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Digest>,
}

/// A SHA-256, in a file 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

/// All tokens of a file, good and revoked.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Tokens {
    all: Vec<Token>,
    by_secret: HashMap<Digest, usize>,
    by_certificate: HashMap<Digest, usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Toml {
    #[serde(default)]
    token: Vec<Spanned<Token>>,
}

#[derive(Serialize)]
struct ToToml<'a> {
    token: &'a [Token],
}

impl Tokens {
    /// # Errors
    /// The file cannot be read or is broken.
    pub fn watch(path: &Path, now: Timestamp) -> Result<Arc<Watched<Self>>, FileError> {
        Watched::open(path, FILE_BYTES_MAX, Self::parse, "screenline_tokens_refused", now)
    }

    /// As they are in a file; none if there is no file.
    ///
    /// # Errors
    /// The file cannot be read or is broken.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).map_err(|fault| FileError::of(path, fault)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(FileError::io(path, &error)),
        }
    }

    fn parse(text: &str) -> Result<Self, Fault> {
        let line = |at: usize| 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
        let read: Toml = toml::from_str(text).map_err(|error| {
            let problem = match error.message() {
                // Where a hash belongs somebody may have put the secret.
                message if message.contains("slt_") => "a secret: write its SHA-256 as `sha256`",
                message => message,
            };
            Fault { line: error.span().map(|span| line(span.start)), problem: problem.into() }
        })?;
        if TOKENS_MAX < read.token.len() {
            return Err(Fault::of(format!(
                "{} tokens, of {TOKENS_MAX} at most: delete the revoked",
                read.token.len()
            )));
        }
        let mut tokens = Self::default();
        let mut names = HashSet::new();
        for token in read.token {
            let at = token.span().start;
            let token = token.into_inner();
            let name = (token.revoked.is_none()).then(|| token.name.clone());
            let taken = name.is_some_and(|name| !names.insert(name));
            let added = if taken { Err("a second token of this name") } else { tokens.add(token) };
            added.map_err(|problem| Fault { line: Some(line(at)), problem: problem.into() })?;
        }
        Ok(tokens)
    }

    fn add(&mut self, token: Token) -> Result<(), &'static str> {
        let at = self.all.len();
        if !is_name(&token.name) || !is_name(&token.role) {
            return Err("`name` and `role` are 1 to 64 letters, digits, dots, dashes and underscores");
        }
        if self.by_secret.insert(token.sha256, at).is_some() {
            return Err("a second token with this `sha256`");
        }
        let certificate = token.certificate.filter(|_| token.revoked.is_none());
        if certificate.is_some_and(|certificate| self.by_certificate.insert(certificate, at).is_some()) {
            return Err("a second token with this `certificate`");
        }
        self.all.push(token);
        Ok(())
    }

    pub fn all(&self) -> &[Token] {
        &self.all
    }

    /// Found by a hash that the caller cannot steer, in a table with a key of its own: how long it takes says nothing
    /// of use about the hashes that are there, and a hash is no secret.
    pub fn with_secret(&self, secret: &Secret) -> Option<&Token> {
        self.by_secret.get(&Digest::of(secret.reveal())).map(|at| &self.all[*at])
    }

    /// Not of a revoked token.
    pub fn with_certificate(&self, fingerprint: &Digest) -> Option<&Token> {
        self.by_certificate.get(fingerprint).map(|at| &self.all[*at])
    }

    /// Adds a token to a file and returns its secret, which is written down nowhere. An expired one of the same name
    /// is revoked by it.
    ///
    /// # Errors
    /// The name is no name or has a token, or the file is broken, full, or cannot be written.
    pub fn create(
        path: &Path,
        (name, role): (&str, &str),
        expires: Option<Timestamp>,
        certificate: Option<Digest>,
        now: Timestamp,
    ) -> Result<Secret, FileError> {
        let secret = Secret::generate().map_err(|error| FileError::of(path, Fault::of(error.to_string())))?;
        change(path, |tokens| {
            for token in tokens.iter_mut().filter(|token| token.name == name && token.revoked.is_none()) {
                if token.expires.is_none_or(|expires| now < expires) {
                    return Err(Fault::of(format!("{name} has a token: revoke it first to get another")));
                }
                token.revoked = Some(now);
            }
            tokens.push(Token {
                name: name.to_owned(),
                role: role.to_owned(),
                sha256: Digest::of(secret.reveal()),
                created: now,
                expires,
                revoked: None,
                certificate,
            });
            Ok(())
        })?;
        Ok(secret)
    }

    /// Revokes the token of a name; says whether there was one.
    ///
    /// # Errors
    /// The file is broken or cannot be written.
    pub fn revoke(path: &Path, name: &str, now: Timestamp) -> Result<bool, FileError> {
        if !Self::read(path)?.all.iter().any(|token| token.name == name && token.revoked.is_none()) {
            return Ok(false);
        }
        change(path, |tokens| {
            for token in tokens.iter_mut().filter(|token| token.name == name) {
                token.revoked.get_or_insert(now);
            }
            Ok(())
        })?;
        Ok(true)
    }
}

impl Digest {
    fn of(text: &str) -> Self {
        Self(sha2::Sha256::digest(text).into())
    }

    /// Of the first certificate in a PEM file.
    ///
    /// # Errors
    /// The file cannot be read or holds no certificate.
    pub fn of_certificate(path: &Path) -> Result<Self, FileError> {
        let certificate = CertificateDer::from_pem_file(path)
            .map_err(|error| FileError::of(path, Fault::of(format!("no certificate in PEM: {error}"))))?;
        Ok(Self(sha2::Sha256::digest(&certificate).into()))
    }

    /// From hexadecimal digits, also with colons, as openssl prints fingerprints.
    fn parse(text: &str) -> Option<Self> {
        let digits: Option<Vec<u8>> = text
            .chars()
            .filter(|letter| *letter != ':')
            .map(|letter| letter.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect();
        let digits: [u8; 64] = digits?.try_into().ok()?;
        Some(Self(std::array::from_fn(|at| digits[2 * at] << 4 | digits[2 * at + 1])))
    }
}

impl TryFrom<&[u8]> for Digest {
    type Error = std::array::TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("expected a SHA-256: 64 hexadecimal digits"))
    }
}

fn is_name(text: &str) -> bool {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || ".-_".contains(letter);
    (1..=64).contains(&text.len()) && text.chars().all(allowed)
}

/// Changes a file in one step, while nobody else does: two commands at once must not lose each other's token.
fn change(path: &Path, act: impl FnOnce(&mut Vec<Token>) -> Result<(), Fault>) -> Result<(), FileError> {
    let io = |error: io::Error| FileError::io(path, &error);
    // A link stays one: what it points to is replaced.
    let path: PathBuf = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or(Path::new("."))).map_err(io)?;
    folder.lock().map_err(io)?;
    let mut all = Tokens::read(&path)?.all;
    act(&mut all).map_err(|fault| FileError::of(&path, fault))?;
    let text = toml::to_string(&ToToml { token: &all }).map_err(io::Error::other).map_err(io)?;
    let text = format!("{HEADING}\n{text}");
    // What is written can be read again.
    let refused = |problem| FileError::of(&path, Fault::of(problem));
    if FILE_BYTES_MAX < text.len() as u64 {
        return Err(refused(format!("longer than {FILE_BYTES_MAX} B: delete the revoked")));
    }
    Tokens::parse(&text).map_err(|fault| refused(fault.problem))?;
    replace(&path, &text).map_err(io)?;
    folder.sync_all().map_err(io)
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = PathBuf::from(beside);
    let _ = fs::remove_file(&beside); // one that is there keeps its mode
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        // A service that runs as another user must still be able to read its file.
        if let Ok(old) = fs::metadata(path)
            && (old.uid(), old.gid()) != (file.metadata()?.uid(), file.metadata()?.gid())
        {
            fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn a_secret_is_told_once_and_kept_as_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        let create = |name| Tokens::create(&path, (name, "analyst"), None, None, NOW);
        let (one, two) = (create("one").unwrap(), create("two").unwrap());
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&one.reveal()[4..]) && !text.contains(&two.reveal()[4..]), "{text}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
        let tokens = Tokens::read(&path).unwrap();
        assert_eq!(tokens.with_secret(&two).unwrap().name, "two");
        assert!(tokens.with_secret(&Secret::generate().unwrap()).is_none());
        assert!(create("one").unwrap_err().to_string().contains("revoke it first"));
        assert!(create("a:b").is_err() && create("").is_err() && create("ä").is_err());
        assert!(Tokens::revoke(&path, "one", NOW).unwrap());
        assert!(!Tokens::revoke(&path, "one", NOW).unwrap() && !Tokens::revoke(&path, "x", NOW).unwrap());
        let new = create("one").unwrap();
        let tokens = Tokens::read(&path).unwrap();
        assert_eq!(tokens.with_secret(&one).unwrap().revoked, Some(NOW));
        assert_eq!(tokens.with_secret(&new).unwrap().revoked, None);
    }

    #[test]
    fn an_expired_token_makes_room_for_the_next_of_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        let soon = NOW + SignedDuration::from_hours(1);
        let create = |now| Tokens::create(&path, ("one", "analyst"), Some(soon), None, now);
        let first = create(NOW).unwrap();
        assert!(create(NOW).is_err());
        create(soon).unwrap();
        assert_eq!(Tokens::read(&path).unwrap().with_secret(&first).unwrap().revoked, Some(soon));
    }

    #[test]
    fn commands_at_once_do_not_lose_each_others_tokens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        let create = &|number| Tokens::create(&path, (&format!("t{number}"), "r"), None, None, NOW).unwrap();
        std::thread::scope(|scope| {
            for number in 0..8 {
                scope.spawn(move || create(number));
            }
        });
        assert_eq!(Tokens::read(&path).unwrap().all().len(), 8);
    }

    #[test]
    fn a_certificate_is_known_by_its_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        let (path, pem) = (folder.path().join("tokens.toml"), folder.path().join("cert.pem"));
        let certificate = rcgen::generate_simple_self_signed(["gate".to_owned()]).unwrap().cert;
        fs::write(&pem, certificate.pem()).unwrap();
        let fingerprint = Digest::of_certificate(&pem).unwrap();
        assert_eq!(fingerprint.0, <[u8; 32]>::from(sha2::Sha256::digest(certificate.der())));
        Tokens::create(&path, ("gate", "gateway"), None, Some(fingerprint), NOW).unwrap();
        assert_eq!(Tokens::read(&path).unwrap().with_certificate(&fingerprint).unwrap().name, "gate");
        let second = Tokens::create(&path, ("other", "gateway"), None, Some(fingerprint), NOW);
        assert!(second.unwrap_err().to_string().contains("`certificate`"));
        Tokens::revoke(&path, "gate", NOW).unwrap();
        assert!(Tokens::read(&path).unwrap().with_certificate(&fingerprint).is_none());
        fs::write(&pem, "x").unwrap();
        assert!(Digest::of_certificate(&pem).is_err());
    }

    #[test]
    fn a_broken_file_says_where_and_what_was_expected() {
        let hash = "00".repeat(32);
        let token = |name: &str, hash: &str| {
            format!(
                "[[token]]\nname = \"{name}\"\nrole = \"r\"\nsha256 = \"{hash}\"\ncreated = \"2026-01-01T00Z\"\n"
            )
        };
        let good = token("a", &hash);
        let colons = vec!["AB"; 32].join(":");
        assert_eq!(Tokens::parse(&token("a", &colons)).unwrap().all()[0].sha256, Digest([0xab; 32]));
        assert!(Tokens::parse("").unwrap().all().is_empty());
        for (text, line, problem) in [
            (format!("{good}{}", token("a", &"11".repeat(32))), Some(6), "of this name"),
            (format!("{good}{}", token("b", &hash)), Some(6), "this `sha256`"),
            (token("a b", &hash), Some(1), "letters, digits"),
            (token("a", "0"), Some(4), "64 hexadecimal digits"),
            (token("a", &"é".repeat(32)), Some(4), "64 hexadecimal digits"),
            (format!("{good}slt_oops = 1\n"), Some(6), "write its SHA-256"),
            (format!("{good}secret = \"x\"\n"), Some(6), "unknown field"),
            ("[[token]]\nname = \"a\"\n".into(), Some(1), "missing field"),
            ("\n\n[[tok".into(), Some(3), ""),
        ] {
            let fault = Tokens::parse(&text).unwrap_err();
            assert_eq!(fault.line, line, "{text}: {fault:?}");
            assert!(fault.problem.contains(problem) && !fault.problem.contains("oops"), "{fault:?}");
        }
        let many: String =
            (0..=TOKENS_MAX).map(|number| token(&format!("t{number}"), &format!("{number:064x}"))).collect();
        assert!(Tokens::parse(&many).unwrap_err().problem.contains("10001 tokens"));
    }

    proptest! {
        #[test]
        fn hostile_files_do_not_panic(text in ".{0,80}", value in ".{0,70}") {
            let _ = Tokens::parse(&text);
            let _ = Tokens::parse(&format!("[[token]]\nsha256 = {value:?}"));
            let _ = Digest::parse(&value);
        }
    }
}
