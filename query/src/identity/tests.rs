//! Callers as they come: with tokens, names, JWTs, certificates, and none of them.

use super::{forge::Issuer, *};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use clap::Parser;
use proptest::prelude::*;
use serde_json::json;
use std::fs;

const NOW: i64 = 1_800_000_000;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    identity: IdentityArgs,
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW + seconds).unwrap()
}

fn known() -> KnownRole {
    Arc::new(|role| ["analyst", "operator"].contains(&role))
}

fn bearer(secret: &Secret) -> String {
    format!("Bearer {}", secret.reveal())
}

fn basic(name: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD_NO_PAD.encode(format!("{name}:{secret}")))
}

fn args(options: &[&str]) -> IdentityArgs {
    Cli::try_parse_from(["x"].iter().chain(options)).unwrap().identity
}

#[tokio::test]
async fn without_configuration_everybody_on_this_machine_is_let_in_whatever_they_send() {
    let open = Authenticator::start(&args(&[]), known(), at(0)).await.unwrap();
    assert!(!open.is_configured());
    for header in [None, Some(&b""[..]), Some(b"Basic dTpw"), Some(b"\xff"), Some(b"Bearer slt_x")] {
        let identity = open.authenticate(header, None, at(0)).await.unwrap();
        assert_eq!((&*identity.name, &*identity.role, identity.via), ("anonymous", "operator", Via::Open));
    }
    for (address, allowed) in [
        ("127.0.0.1:0", true),
        ("[::1]:8815", true),
        ("[::ffff:127.0.0.1]:8815", true),
        ("0.0.0.0:8815", false),
        ("[::]:8815", false),
        ("10.0.0.1:8815", false),
    ] {
        let checked = open.check_address(&address.parse().unwrap());
        assert_eq!(checked.is_ok(), allowed, "{address}");
        let Err(error) = checked else { continue };
        let error = error.to_string();
        for word in [address, "screenline token create", "--tokens", "127.0.0.1"] {
            assert!(error.contains(word), "{error}");
        }
    }
}

#[tokio::test]
async fn a_token_lets_its_holder_in_until_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.toml");
    let create = |name, role, expires: Option<i64>| {
        Tokens::create(&path, (name, role), expires.map(at), None, at(0)).unwrap()
    };
    let good = create("ann", "analyst", None);
    let other = create("bob", "operator", None);
    let short = create("short", "analyst", Some(60));
    let mayor = create("mayor", "mayor", None);
    let guest =
        Authenticator::start(&args(&["--tokens", path.to_str().unwrap()]), known(), at(0)).await.unwrap();
    assert!(guest.check_address(&"0.0.0.0:0".parse().unwrap()).is_ok());

    for (header, via) in [
        (bearer(&good), Via::Token),
        (bearer(&good).to_lowercase().replace(&good.reveal().to_lowercase(), good.reveal()), Via::Token),
        (basic("ann", good.reveal()), Via::Basic),
    ] {
        let identity = guest.authenticate(Some(header.as_bytes()), None, at(0)).await.unwrap();
        assert_eq!((&*identity.name, &*identity.role, identity.via), ("ann", "analyst", via));
    }
    let reason = async |header: Option<&str>, certificate: Option<&[u8]>, seconds| {
        let header = header.map(str::as_bytes);
        guest.authenticate(header, certificate, at(seconds)).await.map_err(|error| error.reason()).err()
    };
    for (header, expected) in [
        (None, "missing"),
        (Some(" ".to_owned()), "missing"),
        (Some(bearer(&"slt_".into())), "unknown"),
        (Some(bearer(&Secret::generate().unwrap())), "unknown"),
        (Some(basic("bob", good.reveal())), "unknown"),
        (Some(basic("Ann", good.reveal())), "unknown"),
        (Some(basic("ann", &format!("{}:x", good.reveal()))), "unknown"),
        (Some(basic("ann", "secret")), "unknown"),
        (Some(basic("", "")), "unknown"),
        (Some(bearer(&mayor)), "role"),
        (Some("Bearer a.b.c".to_owned()), "unknown"),
        (Some("Digest x".to_owned()), "malformed"),
    ] {
        assert_eq!(reason(header.as_deref(), None, 0).await, Some(expected), "{header:?}");
    }
    assert_eq!(reason(Some(&bearer(&short)), None, 59).await, None);
    assert_eq!(reason(Some(&bearer(&short)), None, 60).await, Some("expired"));
    // A name that is wrong and a secret that is wrong are told by the same words.
    let words = async |header: String| {
        guest.authenticate(Some(header.as_bytes()), None, at(60)).await.unwrap_err().to_string()
    };
    let wrong_name = words(basic("bob", good.reveal())).await;
    assert_eq!(wrong_name, words(basic("ann", Secret::generate().unwrap().reveal())).await);

    Tokens::revoke(&path, "ann", at(0)).unwrap();
    assert_eq!(reason(Some(&bearer(&good)), None, 60).await, None, "looked at this second");
    assert_eq!(reason(Some(&bearer(&good)), None, 61).await, Some("revoked"));
    fs::write(&path, "[[token]]\nname = 1").unwrap();
    assert_eq!(reason(Some(&bearer(&other)), None, 62).await, None, "a broken file changes nothing");
    assert_eq!(reason(Some(&bearer(&good)), None, 62).await, Some("revoked"));
    fs::write(&path, "").unwrap();
    assert_eq!(reason(Some(&bearer(&other)), None, 63).await, Some("unknown"));
}

#[tokio::test]
async fn a_certificate_stands_in_for_a_secret_but_does_not_mend_a_wrong_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.toml");
    let fingerprint = [7; 32];
    let certificate = Some(Digest::try_from(&fingerprint[..]).unwrap());
    Tokens::create(&path, ("gate", "analyst"), Some(at(60)), certificate, at(0)).unwrap();
    let guest =
        Authenticator::start(&args(&["--tokens", path.to_str().unwrap()]), known(), at(0)).await.unwrap();
    let identity = guest.authenticate(None, Some(&fingerprint), at(0)).await.unwrap();
    assert_eq!((&*identity.name, identity.via), ("gate", Via::Certificate));
    for (header, fingerprint, seconds, expected) in [
        (None, &[8; 32][..], 0, "certificate"),
        (None, &[7; 31], 0, "certificate"),
        (None, &fingerprint, 60, "expired"),
        (Some(&b"Bearer slt_x"[..]), &fingerprint, 0, "unknown"),
    ] {
        let error = guest.authenticate(header, Some(fingerprint), at(seconds)).await.unwrap_err();
        assert_eq!(error.reason(), expected);
    }
}

#[tokio::test]
async fn a_jwt_is_taken_beside_tokens_and_its_settings_belong_together() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    fs::write(&path, json!({"keys": [Issuer::get().ed.jwk]}).to_string()).unwrap();
    let jwks = ["--jwks", path.to_str().unwrap()];
    assert!(Cli::try_parse_from(["x"].iter().chain(&jwks)).is_err(), "no issuer");
    let whole = [&jwks[..], &["--jwt-issuer", "i", "--jwt-audience", "a"]].concat();
    let guest = Authenticator::start(&args(&whole), known(), at(0)).await.unwrap();
    let claims = json!({"iss": "i", "aud": "a", "sub": "ann", "role": "operator", "exp": NOW + 1});
    let header = format!("Bearer {}", Issuer::get().ed.sign(&json!({}), &claims));
    let identity = guest.authenticate(Some(header.as_bytes()), None, at(0)).await.unwrap();
    assert_eq!((&*identity.name, &*identity.role, identity.via), ("ann", "operator", Via::Jwt));
    let token = guest.authenticate(Some(b"Bearer slt_x"), None, at(0)).await;
    assert_eq!(token.unwrap_err().reason(), "unknown");
    let long = format!("Bearer {}.{}", "a".repeat(8 << 10), "b.c");
    assert_eq!(
        guest.authenticate(Some(long.as_bytes()), None, at(0)).await.unwrap_err().reason(),
        "malformed"
    );

    let empty = IdentityArgs { jwt_issuer: Some(String::new()), ..args(&whole) };
    assert!(Authenticator::start(&empty, known(), at(0)).await.is_err());
    for option in [["--jwt-algorithms", "HS256"], ["--jwt-algorithms", "none"], ["--jwt-leeway", "11m"]] {
        assert!(Cli::try_parse_from(["x"].iter().chain(&option)).is_err(), "{option:?}");
    }
    assert_eq!(args(&["--jwt-algorithms", "ES256,EdDSA"]).jwt_algorithms.len(), 2);
    let absent = folder.path().join("absent");
    let absent = args(&["--tokens", absent.to_str().unwrap()]);
    assert!(Authenticator::start(&absent, known(), at(0)).await.is_err());
}

proptest! {
    #[test]
    fn hostile_callers_are_refused(
        header in prop::collection::vec(any::<u8>(), 1..80),
        scheme in "Bearer |Basic |bearer slt_",
        text in "[a-zA-Z0-9+/=._-]{1,60}",
        certificate in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let tokens = tempfile::NamedTempFile::new().unwrap();
            let options = args(&["--tokens", tokens.path().to_str().unwrap()]);
            let guest = Authenticator::start(&options, known(), at(0)).await.unwrap();
            for header in [&header[..], (scheme + &text).as_bytes()] {
                assert!(guest.authenticate(Some(header), Some(&certificate), at(0)).await.is_err());
            }
            assert!(guest.authenticate(None, Some(&certificate), at(0)).await.is_err());
        });
    }
}
