//! Ids that never mix. The ledger's own ids are dense integers handed out by the store; what a
//! sender calls a thing (`payment_id`, `order_id` …) stays opaque text of at most 64 characters.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest id a sender may use, in characters (`interchange.md`).
pub const SOURCE_ID_MAX_CHARS: usize = 64;

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    )*};
}

id! {
    /// An institution; leads every key of the tables it owns, and is the shard key.
    InstId,
    /// A bank account, counted from 1 within its institution; 0 stands for none.
    AccountNo,
}
