//! The style sheet, embedded, served under a name made of its digest.
//!
//! Invariant: a path names one content for ever, so it may be cached for ever; another digest is
//! not found. Absent on purpose: scripts, fonts, and anything from another host.

use std::fmt::Write as _;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

pub(super) const CSS: &str = include_str!("site.css");

/// Bytes of the digest that go into the name.
const NAME_DIGEST_BYTES: usize = 8;

/// `/assets/site-0123456789abcdef.css`.
pub(super) fn css_path() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        let digest = Sha256::digest(CSS.as_bytes());
        let mut name = String::from("/assets/site-");
        for byte in digest.iter().take(NAME_DIGEST_BYTES) {
            write!(name, "{byte:02x}").expect("a String takes every write");
        }
        name + ".css"
    })
}
