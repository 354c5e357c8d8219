//! Public keys of an issuer (JWKS, RFC 7517), each for the one algorithm that it can verify.

use super::watched::Fault;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::{Deserialize, de::IgnoredAny};
use std::fmt;

const KEYS_MAX: usize = 100;
/// Shorter ones can be broken; longer ones cost a second each time.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;
/// An exponent has as many at most: what the library takes.
const RSA_EXPONENT_BITS_MAX: usize = 33;
/// Of an Ed25519 key, and of each coordinate on P-256.
const CURVE_BYTES: usize = 32;

pub struct Keys(Vec<Key>);

pub struct Key {
    id: Option<String>,
    /// What it is good for, whatever a token's header says: a public RSA key is never taken for an HMAC's secret.
    pub algorithm: Algorithm,
    pub public: DecodingKey,
}

/// Why no key was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoKey {
    /// It may be new: the issuer can be asked again.
    UnknownId,
    OtherAlgorithm,
    Several,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<IgnoredAny>,
}

impl Keys {
    /// Keys of other kinds and purposes are left out, as the standard asks for.
    ///
    /// # Errors
    /// The text is no JWKS, has too many keys or none that can be used, or shows a private one.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let Jwks { keys } = serde_json::from_str(text).map_err(|error| Fault {
            line: Some(error.line()),
            problem: format!("expected a JWKS, {{\"keys\": [..]}}: {error}"),
        })?;
        if KEYS_MAX < keys.len() {
            return Err(Fault::of(format!("{} keys, of {KEYS_MAX} at most", keys.len())));
        }
        let mut usable = Vec::new();
        for (number, jwk) in (1..).zip(keys) {
            let key = jwk.key().map_err(|problem| Fault::of(format!("key number {number}: {problem}")))?;
            usable.extend(key);
        }
        if usable.is_empty() {
            return Err(Fault::of("no key that verifies RS256, ES256 or EdDSA"));
        }
        Ok(Self(usable))
    }

    /// The one key of an id that verifies an algorithm; without an id the only one that does.
    ///
    /// # Errors
    /// If there is none, or are several.
    pub fn select(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&Key, NoKey> {
        let mut named =
            self.0.iter().filter(|key| id.is_none_or(|id| key.id.as_deref() == Some(id))).peekable();
        if named.peek().is_none() {
            return Err(NoKey::UnknownId);
        }
        let mut fitting = named.filter(|key| key.algorithm == algorithm);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
            (None, _) => Err(NoKey::OtherAlgorithm),
            (Some(_), Some(_)) => Err(NoKey::Several),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| (&key.id, key.algorithm))).finish()
    }
}

impl Jwk {
    fn key(self) -> Result<Option<Key>, &'static str> {
        if self.d.is_some() {
            return Err("it is a private key: replace it, and give only public ones");
        }
        let verifies = self.key_ops.as_ref().is_none_or(|all| all.iter().any(|one| one == "verify"));
        if self.purpose.as_deref().is_some_and(|purpose| purpose != "sig") || !verifies {
            return Ok(None);
        }
        let curve = self.crv.as_deref();
        let (algorithm, names) = match (self.kty.as_str(), curve) {
            ("RSA", _) => (Algorithm::RS256, &["RS256"][..]),
            ("EC", Some("P-256")) => (Algorithm::ES256, &["ES256"][..]),
            ("OKP", Some("Ed25519")) => (Algorithm::EdDSA, &["EdDSA", "Ed25519"][..]),
            _ => return Ok(None),
        };
        if self.alg.as_deref().is_some_and(|alg| !names.contains(&alg)) {
            return Ok(None);
        }
        let public = match algorithm {
            Algorithm::RS256 => self.rsa()?,
            Algorithm::ES256 => {
                let (x, y) = (self.coordinate(&self.x)?, self.coordinate(&self.y)?);
                // The point as SEC 1 writes it, not compressed.
                DecodingKey::from_ec_der(&[&[4], &x[..], &y[..]].concat())
            }
            // Its length is checked here: the library would index past the end of a short one.
            _ => DecodingKey::from_ed_der(&self.coordinate(&self.x)?),
        };
        Ok(Some(Key { id: self.kid, algorithm, public }))
    }

    fn rsa(&self) -> Result<DecodingKey, &'static str> {
        let (n, e) = (number(&self.n)?, number(&self.e)?);
        if !RSA_BITS.contains(&bits(&n)) {
            return Err("`n` has less than 2048 or more than 4096 bits");
        }
        let odd = e.last().is_some_and(|last| last % 2 == 1);
        if !odd || bits(&e) < 2 || RSA_EXPONENT_BITS_MAX < bits(&e) {
            return Err("`e` is no public exponent");
        }
        Ok(DecodingKey::from_rsa_raw_components(&n, &e))
    }

    fn coordinate(&self, text: &Option<String>) -> Result<[u8; CURVE_BYTES], &'static str> {
        number(text)?.try_into().map_err(|_| "`x` and `y` have 32 bytes each")
    }
}

fn number(text: &Option<String>) -> Result<Vec<u8>, &'static str> {
    let text = text.as_deref().ok_or("a part of the key is missing")?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| "a part of the key is not in Base64url")
}

/// Without the zeros in front.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let first = number.get(zeros).map_or(0, |byte| byte.leading_zeros() as usize);
    8 * (number.len() - zeros) - first
}

#[cfg(test)]
mod tests {
    use super::{super::forge::Issuer, *};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn parse(keys: &[Value]) -> Result<Keys, Fault> {
        Keys::parse(&json!({"keys": keys}).to_string())
    }

    fn with(mut key: Value, name: &str, value: Value) -> Value {
        key[name] = value;
        key
    }

    #[test]
    fn a_key_verifies_one_algorithm() {
        let issuer = Issuer::get();
        let all = [&issuer.rsa, &issuer.ec, &issuer.ed].map(|signer| signer.jwk.clone());
        let keys = parse(&all).unwrap();
        assert_eq!(
            format!("{keys:?}"),
            r#"[(Some("rsa"), RS256), (Some("ec"), ES256), (Some("ed"), EdDSA)]"#
        );
        let found = |id, algorithm| keys.select(id, algorithm).map(|key| key.id.as_deref().unwrap());
        assert_eq!(found(Some("ec"), Algorithm::ES256), Ok("ec"));
        assert_eq!(found(None, Algorithm::EdDSA), Ok("ed"));
        assert_eq!(found(Some("rsa"), Algorithm::ES256), Err(NoKey::OtherAlgorithm));
        assert_eq!(found(Some("rsa"), Algorithm::HS256), Err(NoKey::OtherAlgorithm));
        assert_eq!(found(Some("new"), Algorithm::ES256), Err(NoKey::UnknownId));
        let twice = parse(&[all[1].clone(), with(all[1].clone(), "kid", json!("other"))]).unwrap();
        assert_eq!(twice.select(None, Algorithm::ES256).err(), Some(NoKey::Several));
        assert!(twice.select(Some("other"), Algorithm::ES256).is_ok());
    }

    #[test]
    fn keys_of_other_kinds_are_left_out_and_broken_ones_refused() {
        let issuer = Issuer::get();
        let (rsa, ec, ed) = (&issuer.rsa.jwk, &issuer.ec.jwk, &issuer.ed.jwk);
        let n = rsa["n"].as_str().unwrap();
        for (key, problem) in [
            (with(rsa.clone(), "alg", json!("RS512")), "no key that verifies"),
            (with(rsa.clone(), "use", json!("enc")), "no key that verifies"),
            (with(rsa.clone(), "key_ops", json!(["sign"])), "no key that verifies"),
            (json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}), "no key that verifies"),
            (with(ec.clone(), "crv", json!("P-384")), "no key that verifies"),
            (with(ec.clone(), "alg", json!("RS256")), "no key that verifies"),
            (with(rsa.clone(), "d", json!("AQAB")), "private key"),
            (with(rsa.clone(), "n", json!(&n[..340])), "less than 2048"),
            (with(rsa.clone(), "n", json!(format!("{}{}", "A".repeat(600), &n[..340]))), "less than 2048"),
            (with(rsa.clone(), "n", json!(n[..340].repeat(3))), "more than 4096"),
            (with(rsa.clone(), "n", Value::Null), "missing"),
            (with(rsa.clone(), "e", json!("AQ")), "exponent"),
            (with(rsa.clone(), "e", json!("AAEAAA")), "exponent"),
            (with(rsa.clone(), "e", json!("____________")), "exponent"),
            (with(ec.clone(), "x", json!("AAAA")), "32 bytes"),
            (with(ed.clone(), "x", json!("AAAA")), "32 bytes"),
            (with(ed.clone(), "x", json!("+/==")), "Base64url"),
            (json!({"kid": "x"}), "kty"),
        ] {
            let fault = parse(std::slice::from_ref(&key)).unwrap_err();
            assert!(fault.problem.contains(problem), "{key}: {fault:?}");
        }
        assert!(parse(&vec![rsa.clone(); KEYS_MAX + 1]).unwrap_err().problem.contains("101 keys"));
        assert_eq!(Keys::parse("{\n]").unwrap_err().line, Some(2));
        // One that cannot be used does not spoil the others.
        assert!(parse(&[json!({"kty": "new", "x": "?"}), ed.clone()]).is_ok());
    }

    proptest! {
        #[test]
        fn hostile_sets_do_not_panic(
            text in ".{0,60}",
            kty in "RSA|EC|OKP|oct",
            crv in "P-256|Ed25519|P-521",
            part in "[A-Za-z0-9_-]{0,50}",
        ) {
            let _ = Keys::parse(&text);
            let key = json!({"kty": kty, "crv": crv, "n": part, "e": part, "x": part, "y": part});
            let _ = parse(&[key]);
        }
    }
}
