//! Findings: what a run says is wrong, with its arithmetic.
//!
//! Invariants: a finding is a function of facts, policy and day; its subject is the sender's id
//! (`interchange.md`); it ends when data no longer show it, never by a click. What people write off or waive stays a
//! finding and names their decision.
//! Absent on purpose: codes the policy does not list are not raised.

mod covered;
mod evidence;
mod rules;
pub mod store;

pub use covered::has_grown;
pub use evidence::Evidence;
pub use rules::{Finding, raise};
