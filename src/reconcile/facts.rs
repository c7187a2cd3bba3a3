//! One institution's facts as known, up to one day.

use std::collections::HashMap;
use std::sync::Arc;

use super::carried::Carried;
use crate::base::{Day, Money};
use crate::decision::Decision;
use crate::feed::store::{Freeze, Settlement};
use crate::ledger::Correction;
use crate::registry::Terms;

/// A piece of [`Facts`]' text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span(u32, u32);

/// A reported fee.
#[derive(Clone, Copy, Debug)]
pub struct Payment {
    pub seq: i64,
    pub day: Day,
    pub contract_no: i64,
    pub account_no: i64,
    pub amount: Money,
    pub channel: i64,
    pub id: Span,
    pub reference: Span,
}

/// A bank line.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub seq: i64,
    pub day: Day,
    pub account_no: i64,
    pub amount: Money,
    /// The channel a settlement names; 0 for none.
    pub channel: i64,
    /// What its code says: `ledger::LINE_SETTLEMENT` …
    pub code: i64,
    /// What the bank marks it as.
    pub correction: Option<Correction>,
    pub id: Span,
    pub reference: Span,
}

/// A refund or a release: money that may leave.
#[derive(Clone, Copy, Debug)]
pub struct Approval {
    pub seq: i64,
    pub day: Day,
    pub contract_no: i64,
    pub account_no: i64,
    pub amount: Money,
    pub state: i64,
    pub id: Span,
}

/// Lessons of a contract, summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LessonSums {
    pub contract_no: i64,
    /// Confirmed or deemed: custody is tested on these.
    pub confirmed: i64,
    /// Of these, deemed: confirmed by nobody's silence.
    pub deemed: i64,
    /// Claimed, confirmed or deemed: delivered, as far as the institution says.
    pub delivered: i64,
}

impl LessonSums {
    pub fn has_any(&self) -> bool {
        (self.confirmed, self.deemed, self.delivered) != (0, 0, 0)
    }
}

/// Lessons of one contract that count from one day on; reversals count negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LessonDay {
    pub contract_no: i64,
    pub day: Day,
    pub confirmed: i64,
}

/// The newest known terms of a contract.
#[derive(Clone, Copy, Debug)]
pub struct ContractTerms {
    pub contract_no: i64,
    pub ordered_on: Day,
    pub terms: Terms,
    pub amount: Money,
    pub starts_on: Option<Day>,
    pub ends_on: Option<Day>,
    /// Sold by time (period, unlimited), not by lessons.
    pub by_time: bool,
}

impl ContractTerms {
    /// First and last day of a contract that is earned by time; one without both dates is earned by lessons.
    pub fn term(&self) -> Option<(Day, Day)> {
        let dates = self.starts_on.zip(self.ends_on);
        dates.filter(|(start, end)| self.by_time && start <= end)
    }
}

/// A statement day's newest known version.
#[derive(Clone, Copy, Debug)]
pub struct StatedDay {
    pub account_no: i64,
    pub day: Day,
    /// 1 for the first word on the day; more once the bank has revised it.
    pub version: i64,
    pub opening: i64,
    pub closing: i64,
}

/// What another statement says of a day, while nobody has settled it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub account_no: i64,
    pub day: Day,
    /// The statement that says it.
    pub claimant: String,
    pub opening: i64,
    pub closing: i64,
    pub lines_digest: Vec<u8>,
}

/// Days for which an account owes no statement, both ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exemption {
    pub account_no: i64,
    pub first: Day,
    pub last: Day,
    pub reason: String,
}

/// A movement as stored, before reversals are taken away.
#[derive(Clone, Copy, Debug)]
pub enum Movement {
    Payment(Payment),
    Refund(Approval),
    Release(Approval),
    Credit(Line),
    Debit(Line),
}

impl Movement {
    pub fn seq(&self) -> i64 {
        match self {
            Movement::Payment(p) => p.seq,
            Movement::Refund(a) | Movement::Release(a) => a.seq,
            Movement::Credit(l) | Movement::Debit(l) => l.seq,
        }
    }
}

/// Everything a run needs of one institution.
#[derive(Clone, Default)]
pub struct Facts {
    pub inst_id: i64,
    /// What is settled for good, as sums; nothing where all facts are here.
    pub carried: Arc<Carried>,
    text: String,
    pub payments: Vec<Payment>,
    pub credits: Vec<Line>,
    pub debits: Vec<Line>,
    pub refunds: Vec<Approval>,
    pub releases: Vec<Approval>,
    /// In order of contract_no.
    pub lessons: Vec<LessonSums>,
    /// Lessons by day, where the policy asks for the day an order was completed; else empty.
    pub lesson_days: Vec<LessonDay>,
    /// In order of contract_no.
    pub contracts: Vec<ContractTerms>,
    /// In order of (account_no, day).
    pub days: Vec<StatedDay>,
    /// In order of (account_no, day).
    pub claims: Vec<Claim>,
    /// In order of (account_no, first).
    pub exemptions: Vec<Exemption>,
    pub settlements: Vec<Settlement>,
    pub freezes: Vec<Freeze>,
    /// Approved ones, in order of their numbers.
    pub decisions: Vec<Decision>,
}

impl Facts {
    pub fn keep(&mut self, text: &str) -> Span {
        let from = u32::try_from(self.text.len()).expect("one institution's text is bounded");
        self.text.push_str(text);
        Span(from, u32::try_from(text.len()).expect("a field is bounded"))
    }

    pub fn text(&self, span: Span) -> &str {
        &self.text[span.0 as usize..(span.0 + span.1) as usize]
    }

    /// Takes movements in order of seq, leaving out those that a later one reverses.
    pub fn take(&mut self, movements: &[Movement], reversed: &[i64]) {
        let dead: HashMap<i64, ()> = reversed.iter().map(|s| (*s, ())).collect();
        for m in movements {
            if !dead.is_empty() && dead.contains_key(&m.seq()) {
                continue;
            }
            match m {
                Movement::Payment(p) => self.payments.push(*p),
                Movement::Refund(a) => self.refunds.push(*a),
                Movement::Release(a) => self.releases.push(*a),
                Movement::Credit(l) => self.credits.push(*l),
                Movement::Debit(l) => self.debits.push(*l),
            }
        }
    }

    /// Adds those movements of another one whose numbers are wanted, behind what is here.
    pub fn append(&mut self, other: &Facts, wanted: impl Fn(i64) -> bool) {
        let text = |f: &mut Facts, span: Span| f.keep(other.text(span));
        for p in other.payments.iter().filter(|p| wanted(p.seq)) {
            let (id, reference) = (text(self, p.id), text(self, p.reference));
            self.payments.push(Payment {
                id,
                reference,
                ..*p
            });
        }
        for (lines, is_credit) in [(&other.credits, true), (&other.debits, false)] {
            for l in lines.iter().filter(|l| wanted(l.seq)) {
                let (id, reference) = (text(self, l.id), text(self, l.reference));
                let to = if is_credit {
                    &mut self.credits
                } else {
                    &mut self.debits
                };
                to.push(Line {
                    id,
                    reference,
                    ..*l
                });
            }
        }
        for (approvals, is_refund) in [(&other.refunds, true), (&other.releases, false)] {
            for a in approvals.iter().filter(|a| wanted(a.seq)) {
                let id = text(self, a.id);
                let to = if is_refund {
                    &mut self.refunds
                } else {
                    &mut self.releases
                };
                to.push(Approval { id, ..*a });
            }
        }
    }

    /// The terms of a contract.
    pub fn contract(&self, contract_no: i64) -> Option<&ContractTerms> {
        self.contracts
            .binary_search_by_key(&contract_no, |c| c.contract_no)
            .ok()
            .map(|at| &self.contracts[at])
    }
}
