//! The one integration binary: boundaries tested from outside, with data.

mod story;
mod wire;
