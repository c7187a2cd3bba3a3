//! What is stored of the days that a file, or a part of a bundle, speaks of.

use std::collections::{BTreeMap, HashMap};

use super::super::ImportError;
use super::life::{Line, Said};
use crate::feed::store::{self, Dispute, KnownVersion, StoredDay};
use crate::ledger;
use crate::ledger::store::StandingLine;
use crate::store::Tx;

/// Institution, account and day.
pub(super) type AccountDay = (i64, i64, i64);

/// The claimant's name for what a bundle's `bank_statements.csv` says.
pub(super) const BUNDLE: &str = "bank_statements.csv";

/// What is stored about the days that a file, or a part of a bundle, speaks of.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) days: HashMap<AccountDay, StoredDay>,
    pub(super) lines: HashMap<AccountDay, Vec<StandingLine>>,
    /// Statements by the account and the file that brought them.
    statements: HashMap<AccountDay, Vec<KnownVersion>>,
    disputes: HashMap<AccountDay, Vec<Dispute>>,
}

impl Stored {
    /// Reads what is stored of days. Lines are read for days that a statement states, and, where
    /// `all_lines`, for every day.
    pub(super) async fn read(
        tx: &mut Tx,
        keys: &[AccountDay],
        (statements, all_lines): (bool, bool),
    ) -> Result<Stored, ImportError> {
        let mut stored = Stored::default();
        for day in store::statement_days(tx, keys).await? {
            stored
                .days
                .insert((day.inst_id, day.account_no, day.day), day);
        }
        if statements {
            let mut files: Vec<AccountDay> = (stored.days.values())
                .map(|d| (d.inst_id, d.account_no, d.source_no))
                .collect();
            files.sort_unstable();
            files.dedup();
            for known in store::statements_of_files(tx, &files).await? {
                let file = (known.key.inst_id, known.key.account_no, known.source_no);
                stored.statements.entry(file).or_default().push(known);
            }
            for dispute in store::disputes(tx, keys).await? {
                let key = (dispute.inst_id, dispute.account_no, dispute.day);
                stored.disputes.entry(key).or_default().push(dispute);
            }
        }
        let mut spans: BTreeMap<(i64, i64), (i64, i64)> = BTreeMap::new();
        for key in keys
            .iter()
            .filter(|k| all_lines || stored.days.contains_key(k))
        {
            let span = spans.entry((key.0, key.1)).or_insert((key.2, key.2));
            *span = (span.0.min(key.2), span.1.max(key.2));
        }
        for (account, span) in spans {
            for line in ledger::store::lines(tx, account, span, i64::MAX).await? {
                let key = (account.0, account.1, line.day);
                stored.lines.entry(key).or_default().push(line);
            }
        }
        Ok(stored)
    }

    /// The statement whose word stands for a day; none where a bundle's row does.
    pub(super) fn standing(&self, key: &AccountDay) -> Option<&KnownVersion> {
        let day = self.days.get(key)?;
        let brought = self.statements.get(&(key.0, key.1, day.source_no))?;
        (brought.iter()).find(|s| (s.key.first_day..=s.key.last_day).contains(&key.2))
    }

    pub(super) fn said(&self, key: &AccountDay) -> Said<'_> {
        let lines = self.lines.get(key).map_or(&[][..], Vec::as_slice);
        Said {
            balances: (self.days.get(key)).map(|d| (d.opening_fen, d.closing_fen)),
            lines: (lines.iter())
                .map(|l| Line {
                    fen: l.fen,
                    id: &l.source_id,
                    reference: &l.reference,
                })
                .collect(),
        }
    }

    /// Whether anything is stored of a day.
    pub(super) fn knows(&self, key: &AccountDay) -> bool {
        self.days.contains_key(key) || self.lines.contains_key(key)
    }

    /// The newest version of each claim on a day.
    pub(super) fn claims(&self, key: &AccountDay) -> &[Dispute] {
        self.disputes.get(key).map_or(&[], Vec::as_slice)
    }

    /// A claimant's newest claim on a day, settled or not.
    pub(super) fn claim(&self, key: &AccountDay, claimant: &str) -> Option<&Dispute> {
        self.claims(key).iter().find(|d| d.claimant == claimant)
    }
}
