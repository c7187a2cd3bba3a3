pub mod base;
pub mod wire;
pub mod report;
pub mod web;
