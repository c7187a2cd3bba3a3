pub mod base;
pub mod store;
pub mod policy;
pub mod wire;
pub mod report;
