//! JWTs (RFC 7519): signed by a key of the issuer, for us, now, and with one role that is known.

use super::{AuthError, Identity, Via, credentials::Jwt, jwks::Jwks, keys::NoKey, refused};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, crypto};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;
use std::{collections::BTreeSet, time::Duration};

/// Of a subject: it is written into logs and records.
const NAME_LETTERS_MAX: usize = 200;

/// What a JWT must be.
pub struct Verifier {
    pub issuer: String,
    pub audience: String,
    /// The name of a claim, or a path to it that begins with a slash (RFC 6901).
    pub role_claim: String,
    pub algorithms: Vec<Algorithm>,
    pub leeway: Duration,
    pub jwks: Jwks,
}

/// What is read of a header. Keys and addresses of keys in it are for others.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

impl Verifier {
    /// # Errors
    /// If the token is not good, or the issuer's keys cannot be had.
    pub async fn verify(
        &self,
        jwt: Jwt<'_>,
        known_role: &(dyn Fn(&str) -> bool + Send + Sync),
        now: Timestamp,
    ) -> Result<Identity, AuthError> {
        let header: Header = decoded(jwt.header)?;
        // Extensions that a token calls critical: none is known here.
        if header.crit.is_some() {
            return Err(refused("algorithm", "the JWT asks for extensions (crit) that are not known here"));
        }
        let algorithm = algorithm(&header.alg).ok().filter(|name| self.algorithms.contains(name));
        let algorithm = algorithm.ok_or_else(|| {
            refused("algorithm", "the JWT is not signed in a way that is accepted here: see --jwt-algorithms")
        })?;
        self.check_signature(jwt, header.kid.as_deref(), algorithm, now).await?;
        self.identity(&decoded(jwt.claims)?, known_role, now)
    }

    async fn check_signature(
        &self,
        jwt: Jwt<'_>,
        id: Option<&str>,
        algorithm: Algorithm,
        now: Timestamp,
    ) -> Result<(), AuthError> {
        let mut keys = self.jwks.current(now).await?;
        let is_unknown = matches!(keys.select(id, algorithm), Err(NoKey::UnknownId));
        if is_unknown {
            keys = self.jwks.again(now).await?;
        }
        let key = keys.select(id, algorithm).map_err(|problem| match problem {
            NoKey::UnknownId => {
                refused("key", "the JWT is signed with a key (kid) that the issuer does not have")
            }
            NoKey::OtherAlgorithm => refused("key", "the JWT's algorithm (alg) is not that of its key"),
            NoKey::Several => {
                refused("key", "the JWT does not say which of the issuer's keys (kid) signed it")
            }
        })?;
        match crypto::verify(jwt.signature, jwt.message.as_bytes(), &key.public, key.algorithm) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(refused("signature", "the JWT's signature is wrong")),
        }
    }

    fn identity(
        &self,
        claims: &Value,
        known_role: &(dyn Fn(&str) -> bool + Send + Sync),
        now: Timestamp,
    ) -> Result<Identity, AuthError> {
        let (now_s, leeway_s) = (now.as_duration().as_secs_f64(), self.leeway.as_secs_f64());
        let expires = claims.get("exp").and_then(Value::as_f64);
        let expires = expires.ok_or_else(|| refused("claims", "the JWT has no time of expiry (exp)"))?;
        if expires + leeway_s <= now_s {
            return Err(refused("expired", "the JWT has expired: ask its issuer for another"));
        }
        if let Some(begins) = claims.get("nbf") {
            let begins = begins.as_f64();
            let begins = begins.ok_or_else(|| refused("claims", "the JWT's nbf is no time in seconds"))?;
            if now_s + leeway_s < begins {
                return Err(refused("early", "the JWT is not valid yet (nbf): is a clock wrong?"));
            }
        }
        if claims.get("iss").and_then(Value::as_str) != Some(&self.issuer) {
            return Err(refused("issuer", "the JWT is from another issuer (iss) than is trusted here"));
        }
        if !texts(claims.get("aud")).is_some_and(|mut all| all.any(|one| one == self.audience)) {
            return Err(refused("audience", "the JWT is for somebody else (aud)"));
        }
        let name =
            claims.get("sub").and_then(Value::as_str).filter(|name| is_name(name)).ok_or_else(|| {
                refused(
                    "claims",
                    "the JWT has no subject (sub) of 1 to 200 letters without control characters",
                )
            })?;
        let role = self.role(claims, known_role)?;
        Ok(Identity { name: name.into(), role: role.into(), via: Via::Jwt })
    }

    fn role<'a>(
        &self,
        claims: &'a Value,
        known_role: &(dyn Fn(&str) -> bool + Send + Sync),
    ) -> Result<&'a str, AuthError> {
        let claim = match self.role_claim.starts_with('/') {
            true => claims.pointer(&self.role_claim),
            false => claims.get(&self.role_claim),
        };
        let roles = texts(claim);
        let roles = roles.ok_or_else(|| {
            refused("role", format!("the JWT's claim {} is no text and no list of texts", self.role_claim))
        })?;
        let known: BTreeSet<&str> = roles.filter(|role| known_role(role)).collect();
        let mut known_roles = known.iter();
        match (known_roles.next(), known_roles.next()) {
            (Some(role), None) => Ok(role),
            (None, _) => Err(refused(
                "role",
                format!("the JWT's claim {} has no role that is known here", self.role_claim),
            )),
            // Neither the weaker nor the stronger: the issuer must say which is meant.
            (Some(_), Some(_)) => {
                let all: Vec<_> = known.into_iter().collect();
                let text = format!(
                    "the JWT's claim {} has several roles that are known here ({}): one is needed",
                    self.role_claim,
                    all.join(", ")
                );
                Err(refused("role", text))
            }
        }
    }
}

/// The algorithms there are: with public keys only, so that nobody who can check a token can make one.
pub fn algorithm(name: &str) -> Result<Algorithm, String> {
    match name {
        "RS256" => Ok(Algorithm::RS256),
        "ES256" => Ok(Algorithm::ES256),
        "EdDSA" => Ok(Algorithm::EdDSA),
        _ => Err("expected RS256, ES256 or EdDSA".into()),
    }
}

fn decoded<T: for<'a> Deserialize<'a>>(part: &str) -> Result<T, AuthError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok();
    let value = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    value.ok_or_else(|| {
        refused("malformed", "the JWT cannot be read: its header and claims are JSON in Base64url")
    })
}

/// A text, or a list of texts.
fn texts(value: Option<&Value>) -> Option<impl Iterator<Item = &str>> {
    let list = match value? {
        list @ Value::String(_) => std::slice::from_ref(list),
        Value::Array(list) => list.as_slice(),
        _ => return None,
    };
    list.iter().all(Value::is_string).then(|| list.iter().filter_map(Value::as_str))
}

fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= NAME_LETTERS_MAX && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::{
        super::forge::{Issuer, Signer},
        *,
    };
    use jsonwebtoken::EncodingKey;
    use proptest::prelude::*;
    use serde_json::json;
    use std::path::Path;

    const NOW: i64 = 1_800_000_000;

    fn now() -> Timestamp {
        Timestamp::from_second(NOW).unwrap()
    }

    /// Trusts the issuer's keys, and `more`.
    async fn verifier(folder: &Path, more: &[&Signer]) -> Verifier {
        let issuer = Issuer::get();
        let keys = [&issuer.rsa, &issuer.ec, &issuer.ed].into_iter().chain(more.iter().copied());
        let path = folder.join("jwks.json");
        let keys: Vec<_> = keys.map(|signer| &signer.jwk).collect();
        std::fs::write(&path, json!({"keys": keys}).to_string()).unwrap();
        Verifier {
            issuer: "https://issuer.example".into(),
            audience: "screenline".into(),
            role_claim: "role".into(),
            algorithms: vec![Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA],
            leeway: Duration::from_secs(60),
            jwks: Jwks::open(path.to_str().unwrap(), now()).await.unwrap(),
        }
    }

    fn good() -> Value {
        json!({
            "iss": "https://issuer.example", "aud": "screenline", "sub": "ann", "role": "analyst", "exp": NOW + 300
        })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut claims = good();
        claims[name] = value;
        claims
    }

    fn without(name: &str) -> Value {
        let mut claims = good();
        claims.as_object_mut().unwrap().remove(name);
        claims
    }

    async fn verify(verifier: &Verifier, token: &str) -> Result<Identity, AuthError> {
        let known = |role: &str| ["analyst", "operator"].contains(&role);
        verifier.verify(Jwt::split(token).unwrap(), &known, now()).await
    }

    #[tokio::test]
    async fn a_good_token_of_each_algorithm_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let mut verifier = verifier(folder.path(), &[]).await;
        let Issuer { rsa, ec, ed, .. } = Issuer::get();
        for signer in [rsa, ec, ed] {
            for kid in [json!({"kid": signer.jwk["kid"]}), json!({})] {
                let identity = verify(&verifier, &signer.sign(&kid, &good())).await.unwrap();
                assert_eq!((&*identity.name, &*identity.role, identity.via), ("ann", "analyst", Via::Jwt));
            }
        }
        for claims in [
            with("aud", json!(["other", "screenline"])),
            with("role", json!(["offline_access", "analyst", "analyst"])),
            with("exp", json!(NOW - 59)),
            with("exp", json!(NOW as f64 + 0.5)),
            with("nbf", json!(NOW + 60)),
            with("sub", json!("ä".repeat(200))),
        ] {
            let verified = verify(&verifier, &ed.sign(&json!({}), &claims)).await;
            assert!(verified.is_ok(), "{claims}: {verified:?}");
        }
        verifier.role_claim = "/realm_access/roles".into();
        let nested = with("realm_access", json!({"roles": ["operator"]}));
        assert_eq!(&*verify(&verifier, &ed.sign(&json!({}), &nested)).await.unwrap().role, "operator");
    }

    #[tokio::test]
    async fn a_claim_that_is_not_right_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let verifier = verifier(folder.path(), &[]).await;
        for (claims, reason, words) in [
            (without("exp"), "claims", "no time of expiry"),
            (with("exp", json!((NOW + 300).to_string())), "claims", "no time of expiry"),
            (with("exp", json!(NOW - 60)), "expired", "has expired"),
            (with("exp", json!(-1e300)), "expired", "has expired"),
            (with("nbf", json!(NOW + 61)), "early", "not valid yet"),
            (with("nbf", json!("now")), "claims", "nbf"),
            (with("iss", json!("https://issuer.example/")), "issuer", "another issuer"),
            (with("iss", json!(["https://issuer.example"])), "issuer", "another issuer"),
            (without("iss"), "issuer", "another issuer"),
            (with("aud", json!("screen")), "audience", "somebody else"),
            (with("aud", json!([])), "audience", "somebody else"),
            (with("aud", json!(["screenline", 1])), "audience", "somebody else"),
            (without("aud"), "audience", "somebody else"),
            (without("sub"), "claims", "no subject"),
            (with("sub", json!(7)), "claims", "no subject"),
            (with("sub", json!(" ")), "claims", "no subject"),
            (with("sub", json!("a\nb")), "claims", "control"),
            (with("sub", json!("ä".repeat(201))), "claims", "200"),
            (without("role"), "role", "no text"),
            (with("role", json!({"analyst": true})), "role", "no text"),
            (with("role", json!("mayor")), "role", "no role that is known"),
            (with("role", json!("Analyst")), "role", "no role that is known"),
            (with("role", json!(["operator", "analyst"])), "role", "(analyst, operator)"),
            (json!([]), "claims", "no time of expiry"),
            (json!("text"), "claims", "no time of expiry"),
        ] {
            let error = verify(&verifier, &Issuer::get().ed.sign(&json!({}), &claims)).await.unwrap_err();
            assert_eq!(error.reason(), reason, "{claims}");
            assert!(error.to_string().contains(words), "{claims}: {error}");
        }
    }

    #[tokio::test]
    async fn a_signature_that_is_not_the_keys_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let stranger = Signer::ec("ec");
        let second = Signer::ec("ec2");
        let mut verifier = verifier(folder.path(), &[&second]).await;
        let Issuer { rsa, ec, ed, rsa_public } = Issuer::get();
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let unsigned =
            |header: Value, signature: &str| format!("{}.{}.{signature}", part(&header), part(&good()));
        let hmac = |secret: &[u8]| {
            let message = format!("{}.{}", part(&json!({"alg": "HS256", "kid": "rsa"})), part(&good()));
            let key = EncodingKey::from_secret(secret);
            let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
            format!("{message}.{signature}")
        };
        let modulus = URL_SAFE_NO_PAD.decode(rsa.jwk["n"].as_str().unwrap()).unwrap();
        let signed = rsa.sign(&json!({"kid": "rsa"}), &good());
        let (message, signature) = signed.rsplit_once('.').unwrap();
        let (header, _) = message.split_once('.').unwrap();
        for (token, reason) in [
            (unsigned(json!({"alg": "none"}), "AA"), "algorithm"),
            (unsigned(json!({"alg": "None", "kid": "rsa"}), "AA"), "algorithm"),
            (unsigned(json!({"alg": "ES384", "kid": "ec"}), "AA"), "algorithm"),
            (unsigned(json!({"alg": "PS256", "kid": "rsa"}), "AA"), "algorithm"),
            (unsigned(json!({"kid": "rsa"}), "AA"), "malformed"),
            (unsigned(json!({"alg": "RS256", "kid": "rsa"}), "AA"), "signature"),
            (unsigned(json!({"alg": "RS256", "kid": "rsa"}), "%%"), "signature"),
            (unsigned(json!({"alg": "EdDSA", "kid": "ed"}), "AA"), "signature"),
            (unsigned(json!({"alg": "ES256", "kid": "ec"}), &"A".repeat(86)), "signature"),
            // A public key is no secret: not one of these may be one.
            (hmac(rsa_public), "algorithm"),
            (hmac(&modulus), "algorithm"),
            (hmac(rsa.jwk.to_string().as_bytes()), "algorithm"),
            // Signed with one key and said to be of another.
            (ec.sign(&json!({"kid": "rsa"}), &good()), "key"),
            (ec.sign(&json!({"kid": "rsa", "alg": "RS256"}), &good()), "signature"),
            (rsa.sign(&json!({"kid": "ec"}), &good()), "key"),
            (ec.sign(&json!({"kid": "ec2"}), &good()), "signature"),
            (stranger.sign(&json!({"kid": "ec"}), &good()), "signature"),
            (ec.sign(&json!({"kid": "new"}), &good()), "key"),
            (ec.sign(&json!({}), &good()), "key"),
            (stranger.sign(&json!({"kid": "ec", "jwk": stranger.jwk.clone()}), &good()), "signature"),
            (ed.sign(&json!({"crit": ["exp"]}), &good()), "algorithm"),
            // Other claims below a good signature.
            (format!("{header}.{}.{signature}", part(&with("role", json!("operator")))), "signature"),
            (format!("!.{signature}.{signature}"), "malformed"),
        ] {
            let error = verify(&verifier, &token).await.unwrap_err();
            assert_eq!(error.reason(), reason, "{token}: {error}");
        }
        verifier.algorithms = vec![Algorithm::ES256];
        assert_eq!(verify(&verifier, &signed).await.unwrap_err().reason(), "algorithm");
    }

    #[test]
    fn only_public_keys_verify() {
        for name in ["HS256", "none", "RS512", "rs256", ""] {
            assert!(algorithm(name).is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn hostile_tokens_do_not_panic(
            header in ".{0,40}", claims in ".{0,40}", signature in "[A-Za-z0-9_=%-]{0,90}", alg in "RS256|ES256|EdDSA"
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let folder = tempfile::tempdir().unwrap();
            let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
            let right = json!({"alg": alg}).to_string();
            runtime.block_on(async {
                let verifier = verifier(folder.path(), &[]).await;
                for token in [
                    format!("{}.{}.a", part(&header), part(&claims)),
                    format!("{}.{}.a{signature}", part(&right), part(&claims)),
                ] {
                    let Some(jwt) = Jwt::split(&token) else { continue };
                    assert!(verifier.verify(jwt, &|_| true, now()).await.is_err());
                }
            });
        }
    }
}
