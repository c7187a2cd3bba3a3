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
    FileResult, HalfPosted, Opened, TakenFile, close_file, complete, cut, half_posted, has_file_of,
    latest_visible, note_assumed, open, open_file, taken_files,
};
pub use kept::{
    Kept, PIECE_BYTES, Quarantined, Waiting, WaitingKey, keep_pieces, keep_raw, keep_raw_of,
    quarantine, raw, raw_piece, raw_pieces, stop_waiting, wait, waiting, waiting_about, waits,
};
pub use statements::{
    Dispute, Exemption, KnownVersion, StatementKey, StatementVersion, UNFINISHED,
    UNFINISHED_CLAIMANT, append_disputes, append_exemption, append_statements, days_of_file,
    disputes, exemption, has_statements, lines_digest, settle_unfinished, statement_versions,
    statements_of_files, stop_waiting_for_pages, unfinished_claimant, wait_for_pages,
    waiting_pages,
};
