//! The only place that asks the machine for randomness.
//!
//! Absent on purpose: a general source of chance. Simulations are seeded; what must not be guessed, such
//! as a nonce, asks here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where bytes that nobody can guess come from: the system, or a counter in tests.
#[derive(Clone, Debug, Default)]
pub struct Entropy {
    fixed: Option<Arc<AtomicU64>>,
}

impl Entropy {
    /// The operating system's randomness.
    pub fn system() -> Entropy {
        Entropy { fixed: None }
    }

    /// Counts up from `first`: for tests only, and every clone counts on.
    pub fn counting(first: u64) -> Entropy {
        Entropy {
            fixed: Some(Arc::new(first.into())),
        }
    }

    /// Sixteen bytes as 32 hexadecimal digits; an error where the system has no randomness to give.
    pub fn token(&self) -> std::io::Result<String> {
        let mut bytes = [0_u8; 16];
        match &self.fixed {
            Some(next) => {
                let n = next.fetch_add(1, Ordering::Relaxed);
                bytes[8..].copy_from_slice(&n.to_be_bytes());
            }
            None => getrandom::fill(&mut bytes).map_err(std::io::Error::other)?,
        }
        Ok(hex(&bytes))
    }
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The bytes that hexadecimal digits stand for; `None` for anything else.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |b: u8| {
        char::from(b)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    digits
        .chunks_exact(2)
        .map(|pair| Some(digit(pair[0])? * 16 + digit(pair[1])?))
        .collect()
}
