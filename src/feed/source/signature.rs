//! Signatures of pushes and of pulls: what is signed, with what, and when a signature is good.
//!
//! # The signed text
//!
//! Eight lines of UTF-8, each ended by one line feed (`0x0A`), the last one too:
//!
//! ```text
//! jintuo-v1
//! POST                                     the method, in capitals
//! /v1/feeds/icbc/statements?name=a.xml     path and query as they stand in the request line
//! icbc                                     the feed's name
//! icbc-2026                                the key's id: header Jintuo-Key
//! 2026-06-30T10:30:00Z                     UTC, whole seconds: header Jintuo-Timestamp
//! 6f1c0a…                                  header Jintuo-Nonce: 16 to 64 letters, digits, '-', '_'
//! e3b0c442…                                SHA-256 of the body, 64 lower-case hexadecimal digits:
//!                                          header Jintuo-Digest of a push
//! ```
//!
//! `Jintuo-Signature` is the lower-case hexadecimal HMAC of this text under the key, with SHA-256 or SM3 as
//! the key says. No field may hold a control character, so no two requests have the same text.
//!
//! Invariants: the algorithm belongs to the key, never to the request; the comparison takes the same time
//! whatever differs; a request that is not within [`WINDOW_SECONDS`] of our clock, or not signed right, is
//! refused before its body is read. A nonce is remembered by the database ([`Claim::expires`]), not here.
//! Absent on purpose: reasons in the answer. [`Refused`] is for our log.

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use sm3::Sm3;

use crate::base::Instant;
use crate::base::entropy::{hex, unhex};
use crate::config::{Algorithm, PushKey, SecretBytes, SecretError};

/// The first line of the signed text.
const VERSION: &str = "jintuo-v1";
/// How far a timestamp may lie from our clock, either way.
pub const WINDOW_SECONDS: i64 = 300;
/// The fewest and the most characters of a nonce.
const NONCE_CHARS: std::ops::RangeInclusive<usize> = 16..=64;
/// A SHA-256.
const DIGEST_BYTES: usize = 32;
/// The shortest key that is accepted, in bytes.
pub const KEY_BYTES_MIN: usize = 16;

/// Headers of a signed request, in the order of the signed text.
pub const KEY_HEADER: &str = "jintuo-key";
pub const TIMESTAMP_HEADER: &str = "jintuo-timestamp";
pub const NONCE_HEADER: &str = "jintuo-nonce";
pub const DIGEST_HEADER: &str = "jintuo-digest";
pub const SIGNATURE_HEADER: &str = "jintuo-signature";

/// A key with its bytes in memory.
#[derive(Clone, Debug)]
pub struct Key {
    pub id: String,
    algorithm: Algorithm,
    bytes: SecretBytes,
}

/// Why a key of the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("key {id:?} is shorter than {KEY_BYTES_MIN} bytes")]
    Short { id: String },
    #[error("key id {id:?} is empty or holds a control character")]
    Id { id: String },
}

impl Key {
    /// Reads a key's bytes.
    ///
    /// # Errors
    /// A secret that cannot be read or is too short, or an id that cannot be signed.
    pub fn read(setting: &PushKey) -> Result<Key, KeyError> {
        Key::new(&setting.id, setting.algorithm, setting.key.read()?)
    }

    /// # Errors
    /// Bytes that are too few, or an id that cannot be signed.
    pub fn new(id: &str, algorithm: Algorithm, bytes: SecretBytes) -> Result<Key, KeyError> {
        let id = id.to_owned();
        if id.is_empty() || !is_plain(&id) {
            return Err(KeyError::Id { id });
        }
        if bytes.expose().len() < KEY_BYTES_MIN {
            return Err(KeyError::Short { id });
        }
        Ok(Key {
            id,
            algorithm,
            bytes,
        })
    }
}

/// What a signature binds besides the key and the body's digest.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub method: &'a str,
    /// Path and query, as in the request line.
    pub target: &'a str,
    pub feed: &'a str,
}

/// The signature headers of a request, as sent.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    pub key_id: &'a str,
    pub timestamp: &'a str,
    pub nonce: &'a str,
    pub digest: &'a str,
    pub signature: &'a str,
}

/// Why a signature is refused: for the log. The sender is told nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("no key of this id")]
    UnknownKey,
    #[error("the timestamp is none, or too far from our clock")]
    Timestamp,
    #[error("the nonce is not 16 to 64 letters, digits, '-' or '_'")]
    Nonce,
    #[error("the digest is not 64 lower-case hexadecimal digits")]
    Digest,
    #[error("a signed field holds a control character")]
    Field,
    #[error("the signature is wrong")]
    Signature,
}

/// A request whose headers may be right. Whether its body is the one that was signed is the reader's to see.
#[derive(Clone, Debug)]
pub struct Claim<'a> {
    key: &'a Key,
    request: Request<'a>,
    headers: Headers<'a>,
    digest: Vec<u8>,
    signature: Vec<u8>,
    at: Instant,
}

impl<'a> Claim<'a> {
    /// Looks at everything but the signature itself.
    ///
    /// # Errors
    /// An unknown key, a time outside the window, or fields of a wrong form.
    pub fn new(
        keys: &'a [Key],
        request: Request<'a>,
        headers: Headers<'a>,
        now: Instant,
    ) -> Result<Claim<'a>, Refused> {
        let key = keys
            .iter()
            .find(|k| k.id == headers.key_id)
            .ok_or(Refused::UnknownKey)?;
        let at = parse_timestamp(headers.timestamp).ok_or(Refused::Timestamp)?;
        if (now - at).abs() > TimeDelta::seconds(WINDOW_SECONDS) {
            return Err(Refused::Timestamp);
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !NONCE_CHARS.contains(&headers.nonce.len()) || !headers.nonce.chars().all(plain) {
            return Err(Refused::Nonce);
        }
        if ![request.method, request.target, request.feed]
            .into_iter()
            .all(is_plain)
        {
            return Err(Refused::Field);
        }
        let digest = one_text(headers.digest)
            .filter(|digest| digest.len() == DIGEST_BYTES)
            .ok_or(Refused::Digest)?;
        let signature = one_text(headers.signature).ok_or(Refused::Signature)?;
        Ok(Claim {
            key,
            request,
            headers,
            digest,
            signature,
            at,
        })
    }

    /// Proves the signature over the head, in which the body's digest stands.
    ///
    /// # Errors
    /// [`Refused::Signature`].
    pub fn prove(&self) -> Result<(), Refused> {
        let text = canonical(
            self.request,
            &self.key.id,
            self.headers.timestamp,
            self.headers.nonce,
            &self.digest,
        );
        let (key, text) = (self.key.bytes.expose(), text.as_bytes());
        // `verify_slice` compares in constant time.
        let good = match self.key.algorithm {
            Algorithm::HmacSha256 => Hmac::<Sha256>::new_from_slice(key)
                .map(|mac| mac.chain_update(text).verify_slice(&self.signature)),
            Algorithm::HmacSm3 => Hmac::<Sm3>::new_from_slice(key)
                .map(|mac| mac.chain_update(text).verify_slice(&self.signature)),
        };
        match good {
            Ok(Ok(())) => Ok(()),
            _ => Err(Refused::Signature),
        }
    }

    /// The SHA-256 the body must have.
    pub fn digest(&self) -> &[u8] {
        &self.digest
    }

    /// Until when the nonce must be remembered: twice the window after the request's own time, so that
    /// it outlives every clock that would still accept the request.
    pub fn expires(&self) -> Instant {
        self.at + TimeDelta::seconds(2 * WINDOW_SECONDS)
    }
}

/// The signature of a request, as its header carries it.
pub fn sign(
    key: &Key,
    request: Request<'_>,
    timestamp: &str,
    nonce: &str,
    body_digest: &[u8],
) -> String {
    let text = canonical(request, &key.id, timestamp, nonce, body_digest);
    let (bytes, text) = (key.bytes.expose(), text.as_bytes());
    // HMAC takes keys of every length.
    match key.algorithm {
        Algorithm::HmacSha256 => Hmac::<Sha256>::new_from_slice(bytes)
            .map(|mac| hex(&mac.chain_update(text).finalize().into_bytes())),
        Algorithm::HmacSm3 => Hmac::<Sm3>::new_from_slice(bytes)
            .map(|mac| hex(&mac.chain_update(text).finalize().into_bytes())),
    }
    .unwrap_or_default()
}

/// A time as [`TIMESTAMP_HEADER`] writes it.
pub fn timestamp(at: Instant) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The SHA-256 of a body.
pub fn body_digest(body: &[u8]) -> Vec<u8> {
    Sha256::digest(body).to_vec()
}

fn canonical(
    request: Request<'_>,
    key_id: &str,
    timestamp: &str,
    nonce: &str,
    body_digest: &[u8],
) -> String {
    let Request {
        method,
        target,
        feed,
    } = request;
    format!(
        "{VERSION}\n{method}\n{target}\n{feed}\n{key_id}\n{timestamp}\n{nonce}\n{}\n",
        hex(body_digest)
    )
}

/// `2026-06-30T10:30:00Z` and nothing else: one instant, one text.
fn parse_timestamp(text: &str) -> Option<Instant> {
    let at: DateTime<Utc> = text.parse().ok()?;
    (timestamp(at) == text).then_some(at)
}

/// Bytes as hexadecimal digits of one case: they have one text.
fn one_text(digits: &str) -> Option<Vec<u8>> {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    unhex(digits).filter(|_| digits.bytes().all(lower))
}

fn is_plain(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
    const AT: &str = "2026-06-30T10:30:00Z";
    const NONCE: &str = "6f1c0a9b8d7e6f5a4b3c2d1e0f9a8b7c";
    const REQUEST: Request<'static> = Request {
        method: "POST",
        target: "/v1/feeds/icbc/statements?name=a.xml",
        feed: "icbc",
    };
    const BODY: &[u8] = b"<Document/>";
    const DIGEST: &str = "aef08da16b2f66638a4c39560733b0def8b2db4955c64f8e567f8b6a7bca6685";
    /// Made with another implementation over the text of the module's documentation.
    const SHA256_ANSWER: &str = "ffaa91fda76657a487f72e7c0092ec406e0098abc6e2e7632894bce7b22ac4a4";
    const SM3_ANSWER: &str = "9b6aa5cdbc0353739d63638c25edf584a4a5710fe3f22e1e413097d8643259e7";

    fn key(algorithm: Algorithm) -> Key {
        Key::new("icbc-2026", algorithm, SecretBytes::new(KEY)).unwrap()
    }

    fn now() -> Instant {
        AT.parse().unwrap()
    }

    fn verify(
        keys: &[Key],
        request: Request<'_>,
        headers: Headers<'_>,
        body: &[u8],
        now: Instant,
    ) -> Result<(), Refused> {
        let digest = hex(&body_digest(body));
        let headers = Headers {
            digest: &digest,
            ..headers
        };
        Claim::new(keys, request, headers, now)?.prove()
    }

    fn headers<'a>(signature: &'a str) -> Headers<'a> {
        Headers {
            key_id: "icbc-2026",
            timestamp: AT,
            nonce: NONCE,
            digest: DIGEST,
            signature,
        }
    }

    #[test]
    fn known_answers() {
        for (algorithm, answer) in [
            (Algorithm::HmacSha256, SHA256_ANSWER),
            (Algorithm::HmacSm3, SM3_ANSWER),
        ] {
            let key = key(algorithm);
            let digest = body_digest(BODY);
            assert_eq!(sign(&key, REQUEST, AT, NONCE, &digest), answer);
            let good = verify(&[key], REQUEST, headers(answer), BODY, now());
            assert_eq!(good, Ok(()));
        }
    }

    #[test]
    fn the_algorithm_is_the_keys() {
        // The other algorithm's signature under the same bytes opens nothing.
        let sha = key(Algorithm::HmacSha256);
        let sm3 = key(Algorithm::HmacSm3);
        let good = |key: &Key, answer: &str| {
            verify(
                std::slice::from_ref(key),
                REQUEST,
                headers(answer),
                BODY,
                now(),
            )
        };
        assert_eq!(good(&sha, SM3_ANSWER), Err(Refused::Signature));
        assert_eq!(good(&sm3, SHA256_ANSWER), Err(Refused::Signature));
    }

    #[test]
    fn every_signed_field_counts() {
        let mut keys = vec![key(Algorithm::HmacSha256)];
        keys.push(Key::new("other", Algorithm::HmacSha256, SecretBytes::new(KEY)).unwrap());
        let good = headers(SHA256_ANSWER);
        let changed = [
            Request {
                method: "PUT",
                ..REQUEST
            },
            Request {
                target: "/v1/feeds/icbc/statements?name=b.xml",
                ..REQUEST
            },
            Request {
                feed: "abc",
                ..REQUEST
            },
        ];
        for request in changed {
            let answer = verify(&keys, request, good, BODY, now());
            assert_eq!(answer, Err(Refused::Signature), "{request:?}");
        }
        let later = "2026-06-30T10:30:01Z";
        for headers in [
            Headers {
                key_id: "other",
                ..good
            },
            Headers {
                timestamp: later,
                ..good
            },
            Headers {
                nonce: "6f1c0a9b8d7e6f5a4b3c2d1e0f9a8b7d",
                ..good
            },
        ] {
            let answer = verify(&keys, REQUEST, headers, BODY, now());
            assert_eq!(answer, Err(Refused::Signature), "{headers:?}");
        }
        let answer = verify(&keys, REQUEST, good, b"<Document />", now());
        assert_eq!(answer, Err(Refused::Signature));
    }

    #[test]
    fn no_edit_of_one_bit_is_accepted() {
        let keys = [key(Algorithm::HmacSha256), key(Algorithm::HmacSm3)];
        let mut accepted = 0;
        let mut edits = 0;
        let mut body = vec![b'x'; 1_000];
        for (key, bit) in keys
            .iter()
            .flat_map(|k| (0..8_000).map(move |bit| (k, bit)))
        {
            let digest = body_digest(&body);
            let signature = sign(key, REQUEST, AT, NONCE, &digest);
            body[bit / 8] ^= 1 << (bit % 8);
            let answer = verify(
                std::slice::from_ref(key),
                REQUEST,
                headers(&signature),
                &body,
                now(),
            );
            body[bit / 8] ^= 1 << (bit % 8);
            edits += 1;
            accepted += usize::from(answer.is_ok());
        }
        // And of the signature itself, and of every header.
        for key in &keys {
            let signature = sign(key, REQUEST, AT, NONCE, &body_digest(BODY));
            for field in 0..4 {
                for bit in 0..signature.len() * 8 {
                    let texts = ["icbc-2026", AT, NONCE, signature.as_str()];
                    let mut bytes = texts[field].as_bytes().to_vec();
                    let Some(byte) = bytes.get_mut(bit / 8) else {
                        break;
                    };
                    *byte ^= 1 << (bit % 8);
                    let Ok(text) = String::from_utf8(bytes) else {
                        continue;
                    };
                    let mut texts = texts;
                    texts[field] = &text;
                    let headers = Headers {
                        key_id: texts[0],
                        timestamp: texts[1],
                        nonce: texts[2],
                        digest: DIGEST,
                        signature: texts[3],
                    };
                    let keys = std::slice::from_ref(key);
                    edits += 1;
                    accepted += usize::from(verify(keys, REQUEST, headers, BODY, now()).is_ok());
                }
            }
        }
        assert!(edits > 10_000, "{edits}");
        assert_eq!(accepted, 0);
    }

    #[test]
    fn time_and_form_are_looked_at_before_the_body() {
        let keys = [key(Algorithm::HmacSha256)];
        let good = headers(SHA256_ANSWER);
        let at = |seconds: i64| now() + TimeDelta::seconds(seconds);
        for seconds in [-WINDOW_SECONDS, 0, WINDOW_SECONDS] {
            assert!(Claim::new(&keys, REQUEST, good, at(seconds)).is_ok());
        }
        for seconds in [-WINDOW_SECONDS - 1, WINDOW_SECONDS + 1] {
            let claim = Claim::new(&keys, REQUEST, good, at(seconds));
            assert_eq!(claim.unwrap_err(), Refused::Timestamp);
        }
        for timestamp in [
            "",
            "2026-06-30T10:30:00",
            "2026-06-30T10:30:00+00:00",
            "2026-06-30T18:30:00+08:00",
            "2026-06-30T10:30:00.0Z",
            "2026-06-30 10:30:00Z",
            "1782815400",
        ] {
            let claim = Claim::new(&keys, REQUEST, Headers { timestamp, ..good }, now());
            assert_eq!(claim.unwrap_err(), Refused::Timestamp, "{timestamp}");
        }
        let long = "a".repeat(65);
        for nonce in [
            "",
            "short",
            "6f1c0a9b8d7e6f5a\n",
            "6f1c 0a9b8d7e6f5a",
            &long,
        ] {
            let claim = Claim::new(&keys, REQUEST, Headers { nonce, ..good }, now());
            assert_eq!(claim.unwrap_err(), Refused::Nonce, "{nonce}");
        }
        for digest in ["", "00", &DIGEST.to_uppercase(), &format!("{DIGEST}00")] {
            let claim = Claim::new(&keys, REQUEST, Headers { digest, ..good }, now());
            assert_eq!(claim.unwrap_err(), Refused::Digest, "{digest}");
        }
        let upper = SHA256_ANSWER.to_uppercase();
        for signature in ["", "zz", "abc", &SHA256_ANSWER[..62], &upper] {
            let answer = verify(&keys, REQUEST, headers(signature), BODY, now());
            assert_eq!(answer, Err(Refused::Signature), "{signature}");
        }
        let two_lines = Request {
            target: "/v1\nicbc",
            ..REQUEST
        };
        let claim = Claim::new(&keys, two_lines, good, now());
        assert_eq!(claim.unwrap_err(), Refused::Field);
        assert!(Key::new("k", Algorithm::HmacSha256, SecretBytes::new("short")).is_err());
        assert!(Key::new("k\n", Algorithm::HmacSha256, SecretBytes::new(KEY)).is_err());
    }
}
