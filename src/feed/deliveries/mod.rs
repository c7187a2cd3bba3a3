//! Files that feeds brought: each a row with its name, pointing to its bytes by digest.
//!
//! Invariants: the bytes are kept before the row, in the same transaction; a feed's file of the same name
//! and bytes is one delivery, however often it comes; numbers rise in the order of commits, so that a
//! reader who goes on after the last number it saw misses nothing; a nonce is used up in the transaction
//! that keeps what was signed with it.
//! Absent on purpose: reading what was delivered, which is intake's.

pub mod store;

pub use store::{Delivery, Kept, RECEIVED, delivery, forget_nonces, keep_delivery, use_nonce};
