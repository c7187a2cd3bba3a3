//! Findings that people have written off or waived: they stay findings, and say by which decision.
//!
//! Invariants: a decision covers the finding of its code, subject, account and day, as long as the finding's amount
//! has not grown beyond what was decided upon and the decision holds; of two decisions the earlier is named.

use super::Finding;
use crate::base::{Day, Money};
use crate::decision::{About, Decision, DecisionKind};

/// Notes at each finding the decision that covers it on the day.
pub(super) fn cover(findings: &mut [Finding], decisions: &[Decision], day: Day) {
    let held = (decisions.iter()).filter(|d| {
        let of_findings = matches!(d.kind, DecisionKind::WriteOff | DecisionKind::Waive);
        of_findings && d.holds_on(day)
    });
    for decision in held {
        let Some(about) = &decision.about else {
            continue;
        };
        for finding in findings.iter_mut().filter(|f| is_about(about, f)) {
            if finding.decision_no == 0 && !has_grown(decision.amount, finding.amount) {
                finding.decision_no = decision.id.decision_no;
            }
        }
    }
}

fn is_about(about: &About, f: &Finding) -> bool {
    about.code == f.code
        && about.account_no == f.account_no
        && about.date == f.date
        && about.subject == f.subject
}

/// True where an amount is beyond the one that was decided upon, or on the other side of zero.
pub fn has_grown(decided: Money, is: Money) -> bool {
    let (decided, is) = (decided.fen(), is.fen());
    is.unsigned_abs() > decided.unsigned_abs() || (is != 0 && is.signum() != decided.signum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_grows_away_from_zero() {
        let grown = |a, b| has_grown(Money::from_fen(a), Money::from_fen(b));
        assert!(!grown(100, 100) && !grown(100, 40) && !grown(-100, -100) && !grown(100, 0));
        assert!(grown(100, 101) && grown(-100, -101) && grown(100, -1) && grown(0, 1));
    }
}
