//! A bank's own export: rows of CSV, of a spreadsheet, or of an HTML table, all read through the
//! same column-mapping profiles.

mod csv;
mod profile;
mod rows;
#[cfg(test)]
mod tests;

pub(crate) use csv::{read as read_csv, recognises as recognises_csv};
