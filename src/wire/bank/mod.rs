//! A bank's own export: rows of CSV, of a spreadsheet, or of an HTML table, all read through the
//! same column-mapping profiles.

mod csv;
mod group;
mod preamble;
mod profile;
mod rows;
mod sheet;
#[cfg(test)]
mod tests;

pub(crate) use csv::{read as read_csv, recognises as recognises_csv};
pub use sheet::SHEET_MAX_BYTES;
pub(crate) use sheet::{read_xls, read_xlsx, recognises_html, recognises_ole, recognises_xlsx};
