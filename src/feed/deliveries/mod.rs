//! Files that feeds brought: each a row with its name, pointing to its bytes by digest.
//!
//! Invariants: the bytes are kept before the row, in the same transaction; a feed's file of the same name
//! and bytes is one delivery, however often it comes; numbers rise in the order of commits, so that a
//! reader who goes on after the last number it saw misses nothing; a nonce is used up in the transaction
//! that keeps what was signed with it; an attempt at reading is counted before it is made, and what became
//! of a delivery is said in the transaction that makes it so; what a person decides about one is recorded,
//! with who and why, in the transaction that does it.
//! Absent on purpose: reading what was delivered, which is intake's.

pub mod store;

pub use store::{
    ATTEMPTS_MAX, DISCARDED, Decision, Delivery, EARLY, Kept, Listed, POISON, QUARANTINED,
    RECEIVED, TAKEN, Unread, count_attempt, decide, delivery, forget_nonces, give_up,
    is_any_unread, keep_delivery, listed, mark, next_batch, not_before, read_early_again, set_mark,
    set_not_before, settle, state, unread_since, use_nonce,
};
