//! SQL of what arrived.

mod bank_facts;
mod imports;
mod kept;
mod statements;

pub use bank_facts::{
    Freeze, Settlement, StatementDay, StoredDay, append_freezes, append_settlements,
    append_statement_days, freezes, has_no_statement_days, settlements, statement_days,
};
pub use imports::{
    FileResult, Opened, TakenFile, close_file, complete, cut, has_file_of, latest_visible,
    note_assumed, open, open_file, taken_files,
};
pub use kept::{
    Kept, Quarantined, Waiting, WaitingKey, keep_raw, quarantine, raw, stop_waiting, wait, waiting,
    waiting_about, waits,
};
pub use statements::{
    Dispute, Exemption, KnownVersion, StatementKey, StatementVersion, append_disputes,
    append_exemption, append_statements, disputes, exemption, has_statements, lines_digest,
    statement_versions, statements_of_files, stop_waiting_for_pages, wait_for_pages, waiting_pages,
};
