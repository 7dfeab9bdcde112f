//! Signing keys: current, next, and the previous ones until they are revoked.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::secret::{base64url, sha256_hex};

/// The operating system or the cryptographic library refused to make or use a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signing key could not be made or used")]
#[non_exhaustive]
pub struct KeyError;

impl From<Unspecified> for KeyError {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

/// One RSA key of 2048 bits.
pub(crate) struct SigningKey {
    kid: String,
    pair: RsaKeyPair,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl SigningKey {
    /// Makes a key; takes some tens to hundreds of milliseconds of CPU time.
    pub(crate) fn generate() -> Result<Self, KeyError> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048)?;
        let public = pair.public_key();
        let modulus = public.modulus().big_endian_without_leading_zero().to_vec();
        let exponent = public.exponent().big_endian_without_leading_zero().to_vec();
        let kid = sha256_hex(&modulus).chars().take(32).collect();
        Ok(Self {
            kid,
            pair,
            modulus,
            exponent,
        })
    }

    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    /// RS256 (RFC 7518 section 3.3).
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut signature = vec![0_u8; self.pair.public_modulus_len()];
        self.pair.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            message,
            &mut signature,
        )?;
        Ok(signature)
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        RsaPublicKeyComponents {
            n: &self.modulus,
            e: &self.exponent,
        }
        .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
        .is_ok()
    }

    /// The public half as a JSON Web Key.
    fn jwk(&self) -> Value {
        json!({
            "alg": "RS256",
            "kty": "RSA",
            "use": "sig",
            "kid": self.kid,
            "n": base64url(&self.modulus),
            "e": base64url(&self.exponent),
        })
    }

    /// The public half in PEM: what an attacker uses as an HMAC secret.
    pub(crate) fn public_pem(&self) -> Result<String, KeyError> {
        let der: PublicKeyX509Der<'_> = self.pair.public_key().as_der()?;
        let text = STANDARD.encode(der.as_ref());
        let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
        for (index, digit) in text.chars().enumerate() {
            if index > 0 && index % 64 == 0 {
                pem.push('\n');
            }
            pem.push(digit);
        }
        pem.push_str("\n-----END PUBLIC KEY-----\n");
        Ok(pem)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// The keys at one moment.
#[derive(Clone, Debug)]
struct Ring {
    current: Arc<SigningKey>,
    next: Arc<SigningKey>,
    previous: Vec<Arc<SigningKey>>,
}

impl Ring {
    fn all(&self) -> impl Iterator<Item = &Arc<SigningKey>> {
        [&self.current, &self.next]
            .into_iter()
            .chain(&self.previous)
    }
}

#[derive(Debug)]
enum Stage {
    Making,
    Ready(Ring),
    Failed,
}

/// All keys of the tenant. The first two are made in the background, so that a tenant
/// listens at once; whoever needs them waits in [`ready`](Self::ready).
#[derive(Debug)]
pub(crate) struct KeyRing {
    stage: watch::Sender<Stage>,
}

impl KeyRing {
    /// Starts to make the first two keys; needs a tokio runtime.
    pub(crate) fn start() -> Self {
        let (stage, _) = watch::channel(Stage::Making);
        let result = stage.clone();
        tokio::spawn(async move {
            let current = tokio::task::spawn_blocking(SigningKey::generate);
            let next = tokio::task::spawn_blocking(SigningKey::generate);
            let ring = match (current.await, next.await) {
                (Ok(Ok(current)), Ok(Ok(next))) => Stage::Ready(Ring {
                    current: Arc::new(current),
                    next: Arc::new(next),
                    previous: Vec::new(),
                }),
                _ => Stage::Failed,
            };
            result.send_replace(ring);
        });
        Self { stage }
    }

    /// Waits until the first keys are there (or could not be made).
    pub(crate) async fn ready(&self) {
        let mut stage = self.stage.subscribe();
        // Cannot fail: the sender lives in `self`.
        let _ = stage
            .wait_for(|stage| !matches!(stage, Stage::Making))
            .await;
    }

    /// The key that signs now.
    pub(crate) fn current(&self) -> Result<Arc<SigningKey>, KeyError> {
        match &*self.stage.borrow() {
            Stage::Ready(ring) => Ok(Arc::clone(&ring.current)),
            Stage::Making | Stage::Failed => Err(KeyError),
        }
    }

    /// The published key with this identifier.
    pub(crate) fn find(&self, kid: &str) -> Option<Arc<SigningKey>> {
        match &*self.stage.borrow() {
            Stage::Ready(ring) => ring.all().find(|key| key.kid() == kid).cloned(),
            Stage::Making | Stage::Failed => None,
        }
    }

    /// The JSON Web Key Set (RFC 7517 section 5).
    pub(crate) fn jwks(&self) -> Result<Value, KeyError> {
        match &*self.stage.borrow() {
            Stage::Ready(ring) => {
                let keys: Vec<Value> = ring.all().map(|key| key.jwk()).collect();
                Ok(json!({ "keys": keys }))
            }
            Stage::Making | Stage::Failed => Err(KeyError),
        }
    }

    /// Makes the next key the current one, and a new next one. Returns the `kid` that
    /// signs from now on.
    pub(crate) async fn rotate(&self) -> Result<String, KeyError> {
        self.ready().await;
        let made = tokio::task::spawn_blocking(SigningKey::generate)
            .await
            .map_err(|_| KeyError)??;
        let made = Arc::new(made);
        let mut current = Err(KeyError);
        self.stage.send_modify(|stage| {
            if let Stage::Ready(ring) = stage {
                let next = std::mem::replace(&mut ring.next, made);
                let old = std::mem::replace(&mut ring.current, next);
                ring.previous.push(old);
                current = Ok(ring.current.kid().to_owned());
            }
        });
        current
    }

    /// Drops every previous key; tokens signed by them die. Returns their number.
    pub(crate) fn revoke_previous(&self) -> usize {
        let mut revoked = 0;
        self.stage.send_modify(|stage| {
            if let Stage::Ready(ring) = stage {
                revoked = ring.previous.drain(..).count();
            }
        });
        revoked
    }
}
