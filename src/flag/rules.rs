//! The rules of `domain.md` §8 that this version raises.

use super::covered::cover;
use super::evidence::Evidence;
use crate::base::{Day, FlagCode, Money, Severity};
use crate::policy::{CHINA, Channel, Policy};
use crate::position::{Account, Measured, Position, Since};
use crate::reconcile::{By, CreditOutcome, DebitOutcome, Facts, Matching, Payment, PaymentOutcome};
use crate::registry::{CustodyMode, Institution};

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub code: FlagCode,
    pub subject: String,
    /// The account of a bank line, whose id is its bank's; 0 for other subjects.
    pub account_no: i64,
    /// The fact's own day; `None` for a state, which is dated by the day it is looked at.
    pub date: Option<Day>,
    pub amount: Money,
    pub n: i64,
    pub severity: Severity,
    /// The first day the condition was true, without a break up to the as-of day, as facts tell it.
    pub first_day: Day,
    pub due_on: Option<Day>,
    pub due_is_provisional: bool,
    pub evidence: Evidence,
    /// The write-off or waiver that covers it; 0 for none.
    pub decision_no: i64,
}

/// Raises an institution's findings as of `day`. `order_id` names a contract by its number.
pub fn raise(
    institution: &Institution,
    facts: &Facts,
    matching: &Matching,
    (measured, since): (&Measured, &Since),
    (policy, day): (&Policy, Day),
    order_id: impl Fn(i64) -> String,
) -> Vec<Finding> {
    let mut raiser = Raiser {
        policy,
        day,
        findings: Vec::new(),
    };
    raiser.payments(facts, matching);
    raiser.credits(facts, matching);
    raiser.debits(facts, matching);
    raiser.statements(&measured.accounts);
    raiser.deposits(measured, since);
    raiser.accounts(&measured.accounts, since);
    raiser.institution(institution, &measured.position, &measured.accounts, since);
    raiser.contracts(measured, since, order_id);
    let mut findings = raiser.findings;
    cover(&mut findings, &facts.decisions, day);
    findings.sort_unstable_by(|a, b| {
        (a.code, &a.subject, a.account_no, a.date).cmp(&(b.code, &b.subject, b.account_no, b.date))
    });
    findings
}

struct Raiser<'a> {
    policy: &'a Policy,
    day: Day,
    findings: Vec<Finding>,
}

/// What a rule knows of its finding before policy is asked.
struct Draft {
    code: FlagCode,
    subject: String,
    account_no: i64,
    date: Option<Day>,
    amount: i64,
    n: i64,
    first_day: Day,
    evidence: Evidence,
}

impl Raiser<'_> {
    fn push(&mut self, draft: Draft) {
        self.push_at_least(draft, Severity::Watch);
    }

    fn push_at_least(&mut self, draft: Draft, least: Severity) {
        let Some(rule) = self.policy.flag(draft.code) else {
            return;
        };
        let mut severity = rule.severity.max(least);
        if let Some(days) = rule.red_after_days
            && self.day > CHINA.add_working_days(draft.first_day, days).day
        {
            severity = Severity::Red;
        }
        let due = rule
            .cure_days
            .map(|n| CHINA.add_working_days(draft.first_day, n));
        self.findings.push(Finding {
            code: draft.code,
            subject: draft.subject,
            account_no: draft.account_no,
            date: draft.date,
            amount: Money::from_fen(draft.amount),
            n: draft.n,
            severity,
            first_day: draft.first_day,
            due_on: due.map(|d| d.day),
            due_is_provisional: due.is_some_and(|d| d.provisional),
            evidence: draft.evidence,
            decision_no: 0,
        });
    }

    fn window_end(&self, p: &Payment) -> Day {
        let channel = Channel::from_number(p.channel).unwrap_or(Channel::Transfer);
        self.policy.window_end(channel, p.day)
    }

    fn payments(&mut self, facts: &Facts, matching: &Matching) {
        for (p, outcome) in facts.payments.iter().zip(&matching.payments) {
            let (code, amount, n, first_day, evidence) = match outcome {
                PaymentOutcome::NotTested => continue,
                PaymentOutcome::Duplicate { of } => (
                    FlagCode::DuplicateReport,
                    p.amount.fen(),
                    0,
                    p.day,
                    Evidence::FirstReport {
                        reference: facts.text(p.reference).to_owned(),
                        payment_id: facts.text(facts.payments[*of].id).to_owned(),
                    },
                ),
                PaymentOutcome::Settled { group, late_days } => {
                    let settled = matching.groups[*group];
                    // People who match accept the difference they see.
                    let difference = match settled.by {
                        By::Rule(_) => settled.difference,
                        By::Decision(_) => 0,
                    };
                    let last = matching
                        .credits_of(*group)
                        .max_by_key(|i| facts.credits[*i].day);
                    let Some(line) = last.map(|i| &facts.credits[i]) else {
                        continue;
                    };
                    let entry_id = facts.text(line.id).to_owned();
                    if difference != 0 {
                        (
                            FlagCode::AmountMismatch,
                            difference,
                            0,
                            p.day.max(line.day),
                            Evidence::AmountsDiffer {
                                entry_id,
                                banked: line.amount,
                                reported: p.amount,
                            },
                        )
                    } else if *late_days > 0 {
                        (
                            FlagCode::LateCredit,
                            p.amount.fen(),
                            i64::from(*late_days),
                            line.day,
                            Evidence::CreditedLate {
                                entry_id,
                                captured: p.day,
                                credited: line.day,
                                window_end: self.window_end(p),
                            },
                        )
                    } else {
                        continue;
                    }
                }
                // Nothing was paid, so nothing is on its way.
                PaymentOutcome::InTransit { .. } | PaymentOutcome::Overdue { .. }
                    if p.amount == Money::ZERO =>
                {
                    continue;
                }
                PaymentOutcome::InTransit { window_end } => (
                    FlagCode::TimingGap,
                    p.amount.fen(),
                    0,
                    p.day,
                    Evidence::InTransit {
                        captured: p.day,
                        window_end: *window_end,
                    },
                ),
                PaymentOutcome::Overdue { window_end } => (
                    FlagCode::TransitOverdue,
                    p.amount.fen(),
                    0,
                    *window_end,
                    Evidence::NotCredited {
                        captured: p.day,
                        window_end: *window_end,
                    },
                ),
            };
            let subject = facts.text(p.id).to_owned();
            self.push(Draft {
                code,
                subject,
                account_no: 0,
                date: Some(p.day),
                amount,
                n,
                first_day,
                evidence,
            });
        }
    }

    fn credits(&mut self, facts: &Facts, matching: &Matching) {
        for (l, outcome) in facts.credits.iter().zip(&matching.credits) {
            let (code, evidence) = match outcome {
                CreditOutcome::Duplicate { of } => (
                    FlagCode::DuplicateCredit,
                    Evidence::FirstCredit {
                        reference: facts.text(l.reference).to_owned(),
                        entry_id: facts.text(facts.credits[*of].id).to_owned(),
                    },
                ),
                CreditOutcome::Unmatched => (
                    FlagCode::UnmatchedCredit,
                    Evidence::NoPayment {
                        reference: facts.text(l.reference).to_owned(),
                    },
                ),
                _ => continue,
            };
            self.push(Draft {
                code,
                subject: facts.text(l.id).to_owned(),
                account_no: l.account_no,
                date: Some(l.day),
                amount: l.amount.fen(),
                n: 0,
                first_day: l.day,
                evidence,
            });
        }
    }

    fn debits(&mut self, facts: &Facts, matching: &Matching) {
        for (l, outcome) in facts.debits.iter().zip(&matching.debits) {
            if *outcome != DebitOutcome::Unauthorised {
                continue;
            }
            self.push(Draft {
                code: FlagCode::UnauthorisedDebit,
                subject: facts.text(l.id).to_owned(),
                account_no: l.account_no,
                date: Some(l.day),
                amount: l.amount.fen(),
                n: 0,
                first_day: l.day,
                evidence: Evidence::NoApproval {
                    reference: facts.text(l.reference).to_owned(),
                    amount: l.amount,
                },
            });
        }
    }

    fn statements(&mut self, accounts: &[Account]) {
        for a in accounts {
            for day in &a.days.missing {
                self.push(Draft {
                    code: FlagCode::FeedMissing,
                    subject: a.account_id.clone(),
                    account_no: 0,
                    date: Some(*day),
                    amount: 0,
                    n: 0,
                    first_day: *day,
                    evidence: Evidence::NoStatement { day: *day },
                });
            }
            for broken in &a.days.broken {
                self.push(Draft {
                    code: FlagCode::FeedBroken,
                    subject: a.account_id.clone(),
                    account_no: 0,
                    date: Some(broken.day),
                    amount: broken.difference,
                    n: 0,
                    first_day: broken.day,
                    evidence: Evidence::StatementBroken {
                        day: broken.day,
                        difference: Money::from_fen(broken.difference),
                        against: broken.against,
                    },
                });
            }
        }
    }

    fn deposits(&mut self, measured: &Measured, since: &Since) {
        for short in &measured.deposits_short {
            let Some(a) = (measured.accounts.iter()).find(|a| a.account_no == short.account_no)
            else {
                continue;
            };
            let first_day = since
                .deposits
                .get(&a.account_no)
                .copied()
                .unwrap_or(self.day);
            self.push(Draft {
                code: FlagCode::DepositBelowMin,
                subject: a.account_id.clone(),
                account_no: 0,
                date: None,
                amount: short.required.less_floored(short.held).fen(),
                n: 0,
                first_day,
                evidence: Evidence::DepositShort {
                    required: short.required,
                    held: short.held,
                    since: first_day,
                },
            });
        }
    }

    fn accounts(&mut self, accounts: &[Account], since: &Since) {
        for a in accounts {
            if a.kind.owes_statements() && a.in_use && !a.filed {
                self.push(Draft {
                    code: FlagCode::UnfiledAccount,
                    subject: a.account_id.clone(),
                    account_no: 0,
                    date: None,
                    amount: a.closing.fen(),
                    n: 0,
                    first_day: since
                        .first_use
                        .get(&a.account_no)
                        .copied()
                        .unwrap_or(self.day),
                    evidence: Evidence::NotFiled,
                });
            }
        }
    }

    fn institution(
        &mut self,
        institution: &Institution,
        p: &Position,
        accounts: &[Account],
        since: &Since,
    ) {
        let today = self.day;
        let state = |code, amount: Money, first_day: Option<Day>, evidence| Draft {
            code,
            subject: institution.institution_id.clone(),
            account_no: 0,
            date: None,
            amount: amount.fen(),
            n: 0,
            first_day: first_day.unwrap_or(today),
            evidence,
        };
        let mut drafts = Vec::new();
        // A deposit's shortage is DEPOSIT_BELOW_MIN; it is not told twice.
        if p.uncovered > Money::ZERO && p.mode != Some(CustodyMode::Deposit) {
            let evidence = Evidence::Uncovered {
                required: p.required,
                held: p.held,
                explained: p.explained,
                uncovered: p.uncovered,
            };
            let red = &self.policy.uncovered_red;
            let share = i128::from(p.uncovered.fen()) * 10_000
                >= i128::from(p.required.fen()) * i128::from(red.share_bp);
            let least = if share || p.uncovered.fen() >= red.amount_fen {
                Severity::Red
            } else {
                Severity::Watch
            };
            drafts.push((
                state(
                    FlagCode::UncoveredFunds,
                    p.uncovered,
                    since.uncovered,
                    evidence,
                ),
                least,
            ));
        }
        let secured = accounts.iter().any(|a| a.kind.owes_statements());
        if p.must_be_held && (!secured || p.mode == Some(CustodyMode::None)) {
            let evidence = Evidence::NoArrangement {
                owed: p.unearned_confirmed,
            };
            // Nothing dates an arrangement that never was: it was owed from the first fee on.
            let opened = (institution.platform_since)
                .or(institution.opened_on)
                .or(institution.licence_from);
            let first = since.first_payment.or(opened.filter(|d| *d <= today));
            let draft = state(FlagCode::NoCustody, p.unearned_confirmed, first, evidence);
            drafts.push((draft, Severity::Watch));
        }
        if p.premature > Money::ZERO {
            let evidence = Evidence::ReleasedBeyond {
                released: p.released,
                earned: p.allowed,
            };
            drafts.push((
                state(
                    FlagCode::PrematureRelease,
                    p.premature,
                    since.premature,
                    evidence,
                ),
                Severity::Watch,
            ));
        }
        for (draft, least) in drafts {
            self.push_at_least(draft, least);
        }
    }

    /// Contract-level findings, where releases are told per contract.
    fn contracts(&mut self, measured: &Measured, since: &Since, order_id: impl Fn(i64) -> String) {
        let p = &measured.position;
        if !p.contract_level || p.mode == Some(CustodyMode::Deposit) {
            return;
        }
        let covered = p.uncovered == Money::ZERO;
        for c in &measured.contracts {
            let began = since
                .contracts
                .get(&c.contract_no)
                .copied()
                .unwrap_or_default();
            let today = self.day;
            let state = |code, amount: Money, first_day: Option<Day>, evidence| Draft {
                code,
                subject: order_id(c.contract_no),
                account_no: 0,
                date: None,
                amount: amount.fen(),
                n: 0,
                first_day: first_day.unwrap_or(today),
                evidence,
            };
            let mut drafts = Vec::new();
            if c.negative > Money::ZERO {
                let evidence = Evidence::NegativeCash {
                    refunded: c.refunded,
                    released: c.released,
                    cleared: c.cleared,
                };
                drafts.push(state(
                    FlagCode::NegativeContract,
                    c.negative,
                    began.negative,
                    evidence,
                ));
            }
            if covered && c.short > Money::ZERO {
                let evidence = Evidence::ContractShort {
                    owed: c.required,
                    cleared: c.cleared,
                    refunded: c.refunded,
                    released: c.released,
                    in_transit: c.in_transit,
                };
                drafts.push(state(
                    FlagCode::ContractShort,
                    c.short,
                    began.short,
                    evidence,
                ));
            }
            if c.premature > Money::ZERO {
                let evidence = Evidence::ReleasedBeyond {
                    released: c.released,
                    earned: c.allowed,
                };
                drafts.push(state(
                    FlagCode::PrematureRelease,
                    c.premature,
                    began.premature,
                    evidence,
                ));
            }
            drafts.into_iter().for_each(|d| self.push(d));
        }
    }
}
