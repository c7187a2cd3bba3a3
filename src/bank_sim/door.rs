//! What a simulated bank asks of whoever asks it: nothing, a bearer token, or a signed request.
//!
//! Invariants: the feed that signs is called as the bank, and so is its key; what is compared is digests, so
//! that its time tells nothing. Absent on purpose: remembering nonces, which is the server's.

use crate::base::entropy::hex;
use crate::base::{Clock, Instant};
use crate::config::{Algorithm, SecretBytes};
use crate::feed::source::signature::{Claim, Headers, Key, KeyError, Request, body_digest};

/// How a bank tells who asks.
#[derive(Clone, Debug, Default)]
pub enum Door {
    #[default]
    Open,
    Bearer(SecretBytes),
    Signed {
        key: Key,
        clock: Clock,
    },
}

/// A request's headers that prove who asks; empty where it has none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown<'a> {
    pub authorization: &'a str,
    pub key_id: &'a str,
    pub timestamp: &'a str,
    pub nonce: &'a str,
    pub signature: &'a str,
}

/// What a door makes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    No,
    Yes,
    /// Once: until then its nonce is to be remembered.
    Once(Instant),
}

impl Door {
    /// A door that opens to requests signed by the feed of the bank's name.
    ///
    /// # Errors
    /// A key that is too short.
    pub fn signed(
        bank: &str,
        algorithm: Algorithm,
        (bytes, clock): (SecretBytes, Clock),
    ) -> Result<Door, KeyError> {
        let key = Key::new(bank, algorithm, bytes)?;
        Ok(Door::Signed { key, clock })
    }

    /// Whether a request for a path and query may come in.
    pub fn admits(&self, (bank, target): (&str, &str), shown: Shown<'_>) -> Admitted {
        match self {
            Door::Open => Admitted::Yes,
            Door::Bearer(token) => {
                let said = shown.authorization.strip_prefix("Bearer ");
                let good = said.is_some_and(|said| {
                    body_digest(said.as_bytes()) == body_digest(token.expose())
                });
                if good { Admitted::Yes } else { Admitted::No }
            }
            Door::Signed { key, clock } => {
                let request = Request {
                    method: "GET",
                    target,
                    feed: bank,
                };
                let headers = Headers {
                    key_id: shown.key_id,
                    timestamp: shown.timestamp,
                    nonce: shown.nonce,
                    digest: &hex(&body_digest(b"")),
                    signature: shown.signature,
                };
                let keys = std::slice::from_ref(key);
                let claim = Claim::new(keys, request, headers, clock.now());
                match claim.and_then(|claim| claim.prove().map(|()| claim.expires())) {
                    Ok(expires) => Admitted::Once(expires),
                    Err(_) => Admitted::No,
                }
            }
        }
    }
}
