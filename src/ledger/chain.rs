//! The hash chain of an institution's postings.
//!
//! Each link is `algorithm id ‖ digest(domain tag ‖ previous link ‖ the row's fields)`, integers as
//! eight bytes little-endian, text with its length in front. The algorithm's id stands in the link, so
//! that a later suite (SM3) can take over from any row on. A chain shows a change of history only to
//! somebody who kept a link outside; publishing links is what makes it evidence.

use sha2::{Digest, Sha256};

/// SHA-256.
pub const ALGORITHM_SHA256: u8 = 1;

const DOMAIN_TAG: &[u8] = b"jintuo posting 1";

/// Algorithm id and digest.
pub type Chain = [u8; 33];

/// The link before an institution's first posting.
pub const GENESIS: Chain = [0; 33];

/// The fields of a posting that the chain covers: all of them.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    pub inst_id: i64,
    pub seq: i64,
    pub source_no: i64,
    pub kind: i64,
    pub debit: i64,
    pub credit: i64,
    pub amount_fen: i64,
    pub business_day: i64,
    pub contract_no: i64,
    pub account_no: i64,
    pub source_id: &'a str,
    pub revision: i64,
    pub reverses: Option<i64>,
    pub reference: &'a str,
    pub channel: i64,
    pub state: i64,
    pub quantity: i64,
    pub stated_fen: Option<i64>,
    pub confirmed_day: Option<i64>,
    pub note: &'a str,
}

impl Link<'_> {
    /// The link after `previous`.
    pub fn after(&self, previous: &Chain) -> Chain {
        // One buffer, one update: most rows fit four blocks.
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(DOMAIN_TAG);
        bytes.extend_from_slice(previous);
        for field in [
            self.inst_id,
            self.seq,
            self.source_no,
            self.kind,
            self.debit,
            self.credit,
            self.amount_fen,
            self.business_day,
            self.contract_no,
            self.account_no,
            self.revision,
            self.reverses.unwrap_or(i64::MIN),
            self.channel,
            self.state,
            self.quantity,
            self.stated_fen.unwrap_or(i64::MIN),
        ] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        for text in [self.source_id, self.reference, self.note] {
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        // Texts carry their length, so a row with this field is never taken for one without.
        if let Some(day) = self.confirmed_day {
            bytes.extend_from_slice(&day.to_le_bytes());
        }
        let mut link = GENESIS;
        link[0] = ALGORITHM_SHA256;
        link[1..].copy_from_slice(&Sha256::digest(&bytes));
        link
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Link<'static> {
        Link {
            inst_id: 1,
            seq: 1,
            source_no: 1,
            kind: 1,
            debit: 4,
            credit: 5,
            amount_fen: 100,
            business_day: 20_000,
            contract_no: 1,
            account_no: 1,
            source_id: "P1",
            revision: 0,
            reverses: None,
            reference: "R1",
            channel: 1,
            state: 0,
            quantity: 0,
            stated_fen: None,
            confirmed_day: None,
            note: "",
        }
    }

    #[test]
    fn every_field_and_the_link_before_change_the_link() {
        let base = link().after(&GENESIS);
        let mut others = vec![
            Link {
                inst_id: 2,
                ..link()
            },
            Link { seq: 2, ..link() },
            Link {
                source_no: 2,
                ..link()
            },
            Link { kind: 2, ..link() },
            Link { debit: 1, ..link() },
            Link {
                credit: 1,
                ..link()
            },
            Link {
                amount_fen: 101,
                ..link()
            },
            Link {
                business_day: 1,
                ..link()
            },
            Link {
                contract_no: 2,
                ..link()
            },
            Link {
                account_no: 2,
                ..link()
            },
            Link {
                source_id: "P2",
                ..link()
            },
            Link {
                revision: 1,
                ..link()
            },
            Link {
                reverses: Some(0),
                ..link()
            },
            Link {
                reference: "R2",
                ..link()
            },
            Link {
                channel: 2,
                ..link()
            },
            Link { state: 1, ..link() },
            Link {
                quantity: 1,
                ..link()
            },
            Link {
                stated_fen: Some(0),
                ..link()
            },
            Link {
                confirmed_day: Some(0),
                ..link()
            },
            Link {
                note: "{}",
                ..link()
            },
            // the border between two texts is part of the row
            Link {
                source_id: "P1R",
                reference: "1",
                ..link()
            },
        ]
        .into_iter()
        .map(|l| l.after(&GENESIS))
        .collect::<Vec<_>>();
        others.push(link().after(&base));
        others.push(base);
        others.sort_unstable();
        others.dedup();
        assert_eq!(others.len(), 23);
    }
}
