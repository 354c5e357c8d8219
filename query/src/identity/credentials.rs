//! What an `authorization` header holds: a token, a name with one, or a JWT.

use super::{AuthError, refused};
use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::URL_SAFE_NO_PAD},
};
use rustls::crypto::ring;
use std::fmt;

/// How every token of ours begins, so that people and scanners for leaked secrets know one when they see it.
const PREFIX: &str = "slt_";
/// 256 bits.
const SECRET_BYTES: usize = 32;
/// Of a JWT, or of a name with a token in Base64.
const CREDENTIALS_BYTES_MAX: usize = 8 << 10;

/// Go clients leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What must not be shown: it lets its holder in.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// What a caller sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Credentials<'a> {
    Token(Secret),
    Basic { name: String, secret: Secret },
    Jwt(Jwt<'a>),
}

/// The three parts of a JWT, as they were sent. Its holder is let in by it, so it is not shown either.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Jwt<'a> {
    pub header: &'a str,
    pub claims: &'a str,
    pub signature: &'a str,
    /// What is signed: header and claims.
    pub message: &'a str,
}

impl Secret {
    /// A new one: `slt_` and 43 letters of Base64.
    ///
    /// # Errors
    /// If the system has no randomness to give.
    pub fn generate() -> Result<Self, rustls::Error> {
        let mut random = [0; SECRET_BYTES];
        ring::default_provider()
            .secure_random
            .fill(&mut random)
            .map_err(|_| rustls::Error::FailedToGetRandomBytes)?;
        Ok(Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random))))
    }

    /// For the one who may see it: the person that had it made.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl fmt::Debug for Jwt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jwt(..)")
    }
}

impl<'a> Credentials<'a> {
    /// # Errors
    /// If the header is neither Basic nor Bearer, too long, or cannot be read.
    pub fn read(header: &'a [u8]) -> Result<Self, AuthError> {
        match Header::read(header)? {
            Header::Bearer(token) if token.starts_with(PREFIX) => Ok(Self::Token(token.into())),
            Header::Bearer(token) => Ok(Self::Jwt(Jwt::split(token).ok_or_else(|| {
                malformed("the bearer token is neither one of ours (slt_...) nor a JWT (three parts)")
            })?)),
            Header::Basic { name, password } => Ok(Self::Basic { name, secret: Secret(password) }),
        }
    }
}

impl<'a> Jwt<'a> {
    pub fn split(token: &'a str) -> Option<Self> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let parts = [header, claims, signature];
        let whole = parts.iter().all(|part| !part.is_empty() && !part.contains('.'));
        whole.then_some(Self { header, claims, signature, message })
    }
}

/// What a handshake answers: the header that the caller shall send from now on, which is its own token. A service
/// without sessions has none to lose at a restart, to share between processes, or to end late.
pub fn bearer_of(authorization: &[u8]) -> Option<String> {
    let token = match Header::read(authorization).ok()? {
        Header::Bearer(token) => token.to_owned(),
        Header::Basic { password, .. } => password,
    };
    let fits = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| format!("Bearer {token}"))
}

/// The two schemes.
enum Header<'a> {
    Bearer(&'a str),
    Basic { name: String, password: String },
}

impl<'a> Header<'a> {
    fn read(header: &'a [u8]) -> Result<Self, AuthError> {
        let neither = || {
            malformed(
                "the authorization header is neither `Bearer <token>` nor `Basic <Base64 of name:token>`",
            )
        };
        let header = std::str::from_utf8(header).map_err(|_| neither())?;
        let (scheme, rest) = header.trim().split_once(' ').ok_or_else(neither)?;
        let rest = rest.trim_start();
        if CREDENTIALS_BYTES_MAX < rest.len() {
            return Err(malformed("the credentials are longer than 8 KiB"));
        }
        if scheme.eq_ignore_ascii_case("bearer") {
            return Ok(Self::Bearer(rest));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(neither());
        }
        let decoded = BASE64.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        // A name has no colon, a password may.
        let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
        let (name, password) = pair.ok_or_else(|| {
            malformed("Basic credentials are the Base64 of `name:token`, in UTF-8; these are not")
        })?;
        Ok(Self::Basic { name: name.to_owned(), password: password.to_owned() })
    }
}

fn malformed(text: &'static str) -> AuthError {
    refused("malformed", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
    use proptest::prelude::*;

    #[test]
    fn a_secret_has_256_bits_and_is_not_shown() {
        let secret = Secret::generate().unwrap();
        assert_eq!(secret.reveal().len(), 4 + 43);
        assert_ne!(secret, Secret::generate().unwrap());
        let header = format!("Bearer {}", secret.reveal());
        let basic = Credentials::Basic { name: "n".into(), secret: secret.clone() };
        let shown = format!("{:?} {:?}", Credentials::read(header.as_bytes()).unwrap(), basic);
        assert!(!shown.contains(&secret.reveal()[4..]), "{shown}");
        let shown = format!("{:?}", Credentials::read(b"Bearer aaaa.bbbb.cccc").unwrap());
        assert!(!shown.contains("bbbb"), "{shown}");
    }

    #[test]
    fn basic_is_read_with_and_without_padding_and_split_at_the_first_colon() {
        for (text, name, password) in
            [("u:p:w", "u", "p:w"), ("u:", "u", ""), (":slt_x", "", "slt_x"), ("ä:ö", "ä", "ö")]
        {
            for encoded in [STANDARD.encode(text), STANDARD_NO_PAD.encode(text)] {
                for scheme in ["Basic", "basic", "  BASIC "] {
                    let header = format!("{scheme} {encoded}");
                    let expected = Credentials::Basic { name: name.into(), secret: password.into() };
                    assert_eq!(Credentials::read(header.as_bytes()).unwrap(), expected, "{header}");
                }
            }
        }
    }

    #[test]
    fn a_bearer_token_is_ours_or_a_jwt() {
        assert_eq!(Credentials::read(b"bearer  slt_x ").unwrap(), Credentials::Token("slt_x".into()));
        let Credentials::Jwt(jwt) = Credentials::read(b"Bearer a.b.c").unwrap() else { panic!() };
        assert_eq!((jwt.header, jwt.claims, jwt.signature, jwt.message), ("a", "b", "c", "a.b"));
        let long = format!("Bearer {}", "a".repeat(CREDENTIALS_BYTES_MAX + 1));
        for header in [
            &b""[..],
            b"Bearer",
            b"Basic",
            b"Bearer a.b",
            b"Bearer a.b.c.d",
            b"Bearer a.b.",
            b"Bearer ..",
            b"Digest x",
            b"Basic !!",
            b"Basic dXA=",
            b"Basic /w==",
            b"Bearer \xff",
            long.as_bytes(),
        ] {
            let error = Credentials::read(header).unwrap_err();
            assert_eq!(error.reason(), "malformed", "{header:?}");
        }
    }

    #[test]
    fn a_handshake_answers_the_callers_own_token() {
        let basic = format!("Basic {}", STANDARD.encode("me:slt_x"));
        for (header, answer) in [
            (basic.as_str(), Some("Bearer slt_x")),
            ("bearer slt_x", Some("Bearer slt_x")),
            ("Bearer a.b.c", Some("Bearer a.b.c")),
            ("Basic bWU6", None),
            ("Basic bWU6YQpi", None), // a line feed
            ("Digest x", None),
        ] {
            assert_eq!(bearer_of(header.as_bytes()).as_deref(), answer, "{header}");
        }
    }

    proptest! {
        #[test]
        fn hostile_headers_do_not_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..100),
            text in "(Basic|Bearer|bearer) [a-zA-Z0-9+/=._ -]{0,60}",
        ) {
            for header in [&bytes[..], text.as_bytes()] {
                let _ = Credentials::read(header);
                let _ = bearer_of(header);
            }
        }
    }
}
