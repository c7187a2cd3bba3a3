//! How each bank writes a statement: pure text, no files.
//!
//! Invariants: a statement always shows opening and closing; a reference never exceeds the 16
//! characters of MT940 and is never `NONREF` unless the bank gives none; every amount is CNY with two decimals. Absent on
//! purpose: names of persons. The counterparty is a class of account.

pub(super) mod camt;
pub(super) mod export;
pub(super) mod swift;
