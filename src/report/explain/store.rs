//! SQL of explanations: who knows an id, and what banks wrote beside lines.

use std::collections::HashMap;

use crate::ledger::Kind;
use crate::store::bulk::{self, ints, repeated, texts};
use crate::store::{Result, Tx};

/// Institutions that hold a movement of an id: payment, refund, release or bank line.
pub async fn holders(tx: &mut Tx, id: &str, source_cut: i64) -> Result<Vec<i64>> {
    let kinds = [Kind::Payment, Kind::Refund, Kind::Release, Kind::BankLine];
    let ids = [id; 4];
    let rows: Vec<(i64,)> = bulk::lookup(
        tx,
        vec![
            ("kind", ints(&kinds, |k| k.number())),
            ("source_id", texts(&ids, |id| id)),
            ("source_cut", repeated(source_cut, kinds.len())),
        ],
        "SELECT DISTINCT d.inst_id \
         FROM wanted w CROSS JOIN institution_directory d CROSS JOIN posting p \
         WHERE p.inst_id = d.inst_id AND p.kind = w.kind AND p.source_id = w.source_id \
           AND p.source_no <= w.source_cut",
    )
    .await?;
    Ok(rows.into_iter().map(|r| r.0).collect())
}

/// Counterparties of bank lines, by seq; a line without one is absent.
pub async fn counterparties(
    tx: &mut Tx,
    inst_id: i64,
    seqs: &[i64],
) -> Result<HashMap<i64, String>> {
    let rows: Vec<(i64, String)> = bulk::lookup(
        tx,
        vec![
            ("inst_id", repeated(inst_id, seqs.len())),
            ("seq", ints(seqs, |seq| *seq)),
        ],
        "SELECT n.seq, n.note FROM wanted w CROSS JOIN posting_note n \
         WHERE n.inst_id = w.inst_id AND n.seq = w.seq",
    )
    .await?;
    let counterparty = |note: &str| -> Option<String> {
        let note: serde_json::Value = serde_json::from_str(note).ok()?;
        Some(note.get("counterparty")?.as_str()?.to_owned())
    };
    Ok((rows.iter())
        .filter_map(|(seq, note)| Some((*seq, counterparty(note)?)))
        .collect())
}
