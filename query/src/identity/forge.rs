//! Keys and JWTs for tests: made on the spot, so that no key lies in the repository.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData};
use rsa::{
    BigUint, RsaPrivateKey,
    pkcs1::{EncodeRsaPrivateKey, EncodeRsaPublicKey},
    traits::PublicKeyParts,
};
use serde_json::{Value, json};
use std::sync::OnceLock;

/// Signs with one key.
pub struct Signer {
    pub jwk: Value,
    algorithm: Algorithm,
    private: EncodingKey,
}

/// One that has a key of each kind, whose ids are `rsa`, `ec` and `ed`.
pub struct Issuer {
    pub rsa: Signer,
    pub ec: Signer,
    pub ed: Signer,
    /// The public RSA key in DER.
    pub rsa_public: Vec<u8>,
}

impl Issuer {
    pub fn get() -> &'static Self {
        static ISSUER: OnceLock<Issuer> = OnceLock::new();
        ISSUER.get_or_init(|| {
            // The first primes past two powers: looking for others takes a test minutes.
            let [p, q] = [(1024_usize, 643_u32), (1028, 187)]
                .map(|(power, past)| (BigUint::from(1_u32) << power) + BigUint::from(past));
            let private = RsaPrivateKey::from_p_q(p, q, BigUint::from(65537_u32)).unwrap();
            let [n, e] = [private.n(), private.e()].map(|part| URL_SAFE_NO_PAD.encode(part.to_bytes_be()));
            let rsa = Signer {
                jwk: json!({"kty": "RSA", "kid": "rsa", "use": "sig", "alg": "RS256", "n": n, "e": e}),
                algorithm: Algorithm::RS256,
                private: EncodingKey::from_rsa_der(private.to_pkcs1_der().unwrap().as_bytes()),
            };
            let rsa_public = private.to_public_key().to_pkcs1_der().unwrap().as_bytes().to_vec();
            Self { rsa, ec: Signer::ec("ec"), ed: Signer::ed("ed"), rsa_public }
        })
    }
}

impl Signer {
    pub fn ec(id: &str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let [x, y] = [1..33, 33..65].map(|part| URL_SAFE_NO_PAD.encode(&pair.der_bytes()[part]));
        Self {
            jwk: json!({"kty": "EC", "kid": id, "crv": "P-256", "x": x, "y": y}),
            algorithm: Algorithm::ES256,
            private: EncodingKey::from_ec_der(&pair.serialize_der()),
        }
    }

    pub fn ed(id: &str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let x = URL_SAFE_NO_PAD.encode(pair.der_bytes());
        Self {
            jwk: json!({"kty": "OKP", "kid": id, "crv": "Ed25519", "alg": "EdDSA", "x": x}),
            algorithm: Algorithm::EdDSA,
            private: EncodingKey::from_ed_der(&pair.serialize_der()),
        }
    }

    /// A JWT with these claims. Its header says what this key's algorithm is, unless it is given another.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let mut whole = json!({"typ": "JWT", "alg": format!("{:?}", self.algorithm)});
        whole.as_object_mut().unwrap().extend(header.as_object().unwrap().clone());
        let [header, claims] = [&whole, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let message = format!("{header}.{claims}");
        let signature = crypto::sign(message.as_bytes(), &self.private, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }
}
