//! Reports: read models of one completed run.

mod model;

pub use model::*;
