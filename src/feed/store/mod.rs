//! SQL of what arrived.

mod bank_facts;
mod imports;
mod kept;

pub use bank_facts::{
    Freeze, Settlement, StatementDay, append_freezes, append_settlements, append_statement_days,
    freezes, has_no_statement_days, settlements, statement_days,
};
pub use imports::{
    FileResult, Opened, close_file, complete, cut, is_known, latest_visible, open, open_file,
};
pub use kept::{Quarantined, Waiting, keep_raw, quarantine, raw, stop_waiting, wait, waiting};
