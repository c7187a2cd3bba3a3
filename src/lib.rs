pub mod base;
pub mod demo;
pub mod wire;
pub mod report;
