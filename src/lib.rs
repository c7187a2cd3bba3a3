pub mod base;
pub mod report;
pub mod wire;
