//! Debits and what approved them.

use std::collections::HashMap;

use super::outcome::DebitOutcome;
use super::reversals::Pair;
use crate::reconcile::facts::Facts;
use crate::registry::AccountKind;

/// A debit is authorised by a release of its account or a refund of the institution that it names, for
/// the same amount; each approval is used once, by the earliest debit.
pub(super) fn outcomes(
    facts: &Facts,
    undone: &[Pair],
    kind_of: impl Fn(i64) -> AccountKind,
) -> Vec<DebitOutcome> {
    let mut outcomes: Vec<DebitOutcome> = facts
        .debits
        .iter()
        .map(|l| match kind_of(l.account_no) {
            AccountKind::Custody | AccountKind::Deposit => DebitOutcome::Unauthorised,
            AccountKind::Settlement | AccountKind::Undeclared => DebitOutcome::NotTested,
        })
        .collect();
    for pair in undone {
        outcomes[pair.debit] = DebitOutcome::Undone {
            credit: pair.credit,
        };
    }
    if facts.debits.is_empty() {
        return outcomes;
    }
    let releases: HashMap<&str, usize> = facts
        .releases
        .iter()
        .enumerate()
        .map(|(i, a)| (facts.text(a.id), i))
        .collect();
    let refunds: HashMap<&str, usize> = facts
        .refunds
        .iter()
        .enumerate()
        .map(|(i, a)| (facts.text(a.id), i))
        .collect();
    let mut used_releases = vec![false; facts.releases.len()];
    let mut used_refunds = vec![false; facts.refunds.len()];
    let mut order: Vec<usize> = (0..facts.debits.len()).collect();
    order.sort_unstable_by_key(|i| (facts.debits[*i].day, facts.text(facts.debits[*i].id)));
    for i in order {
        if outcomes[i] != DebitOutcome::Unauthorised {
            continue;
        }
        let line = &facts.debits[i];
        let reference = facts.text(line.reference);
        if let Some(at) = releases.get(reference) {
            let a = &facts.releases[*at];
            if a.account_no == line.account_no && a.amount == line.amount && !used_releases[*at] {
                used_releases[*at] = true;
                outcomes[i] = DebitOutcome::Release { release: *at };
                continue;
            }
        }
        if let Some(at) = refunds.get(reference)
            && facts.refunds[*at].amount == line.amount
            && !used_refunds[*at]
        {
            used_refunds[*at] = true;
            outcomes[i] = DebitOutcome::Refund { refund: *at };
        }
    }
    outcomes
}
