//! The one integration binary: boundaries tested from outside, with data.

mod arrival;
mod books;
mod bundle;
mod first_days;
mod formats_a;
mod formats_b;
mod guards;
mod harness;
mod interrupted;
mod jobs;
mod outputs;
mod positions;
mod properties;
mod push;
mod quarantine;
mod revisions;
mod small;
mod sources;
mod statement_life;
mod statements;
mod story;
mod tidy;
mod wire;
