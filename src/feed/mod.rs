//! What arrived: imports and their files, raw bytes, rows that wait or are quarantined, and the
//! statement days that accounts have delivered.
//!
//! Invariants: bytes are kept by digest before they are parsed; a file's number is the provenance of
//! every fact read from it; an import is seen when its row is complete, all at once.
//! Absent on purpose: dropping a row. What cannot be used is quarantined, what is early waits.

pub mod deliveries;
pub mod jobs;
pub mod owed;
pub mod source;
pub mod store;
