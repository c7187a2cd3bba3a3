//! Sums of settled facts, added to those that are carried.

use std::collections::HashMap;

use super::{Folding, Judged, Settled, places};
use crate::base::{Day, Money};
use crate::ledger::{self, REFUND_SETTLED};
use crate::position::Account;
use crate::position::proof::ItemKind;
use crate::position::since::Stood;
use crate::reconcile::carried::{AccountCarried, Carried, ContractCarried, DaysCarried, hash};
use crate::reconcile::known::{Known, LessonRow};
use crate::reconcile::{DebitOutcome, Facts, PaymentOutcome, Span};
use crate::registry::AccountKind;

impl Folding<'_> {
    pub(super) fn carried(&self, known: &Known, settled: &Settled, stood: &Stood) -> Carried {
        let Judged {
            facts,
            matching,
            policy,
            measured,
            ..
        } = self.judged;
        let before = &facts.carried;
        let mut contracts: HashMap<i64, ContractCarried> = before
            .contracts
            .iter()
            .map(|c| (c.contract_no, *c))
            .collect();
        for c in facts
            .contracts
            .iter()
            .filter(|c| c.ordered_on <= self.until)
        {
            contracts
                .entry(c.contract_no)
                .or_insert_with(|| ContractCarried::of(c.contract_no));
        }
        let mut accounts: Vec<AccountCarried> = (measured.accounts.iter())
            .map(|a| self.account(a))
            .collect();
        accounts.sort_unstable_by_key(|a| a.account_no);
        let mut carried = Carried {
            until: Some(self.until),
            contracts: Vec::new(),
            accounts,
            names: before.names.clone(),
            first_payment: before.first_payment,
            settled: before.settled,
            has_whole_releases: before.has_whole_releases,
            released: before.released,
            swept: stood.swept.clone(),
            past: 0,
        };
        let add = |to: &mut Money, amount: Money| *to = to.saturating_add(amount);
        let of = |contracts: &mut HashMap<i64, ContractCarried>,
                  no: i64,
                  change: &dyn Fn(&mut ContractCarried)| {
            change(
                contracts
                    .entry(no)
                    .or_insert_with(|| ContractCarried::of(no)),
            );
        };
        for (i, p) in places(&facts.payments, &settled.payments) {
            let cleared = match matching.payments[i] {
                PaymentOutcome::Settled { group, .. }
                    if self.kind(p.account_no) == AccountKind::Custody =>
                {
                    matching.arrived(facts, group, p).1
                }
                _ => Money::ZERO,
            };
            let filed = measured
                .accounts
                .iter()
                .any(|a| a.account_no == p.account_no && a.filed);
            let counts = policy.held.unfiled_accounts_count || filed;
            of(&mut contracts, p.contract_no, &|c| {
                add(&mut c.paid, p.amount);
                add(&mut c.cleared, cleared);
                add(&mut c.credited, if counts { cleared } else { Money::ZERO });
                let paid = (p.day, p.account_no);
                c.first_paid = Some(c.first_paid.map_or(paid, |first| first.min(paid)));
            });
            carried.first_payment = [carried.first_payment, Some(p.day)]
                .into_iter()
                .flatten()
                .min();
            used(&mut carried, p.account_no, p.day);
            carried.name(facts, p.reference);
        }
        for (_, a) in places(&facts.refunds, &settled.refunds) {
            if a.state == i64::from(REFUND_SETTLED) {
                of(&mut contracts, a.contract_no, &|c| {
                    add(&mut c.refunded, a.amount)
                });
            }
            carried.name(facts, a.id);
        }
        for (_, a) in places(&facts.releases, &settled.releases) {
            if a.contract_no == 0 {
                carried.has_whole_releases = true;
            } else {
                of(&mut contracts, a.contract_no, &|c| {
                    add(&mut c.released, a.amount)
                });
            }
            if self.kind(a.account_no) == AccountKind::Custody {
                add(&mut carried.released, a.amount);
            }
            carried.name(facts, a.id);
        }
        for r in known.lessons.iter().filter(|r| self.is_over(r)) {
            of(&mut contracts, r.contract_no, &|c| count(c, r));
        }
        self.lines(&mut carried, settled);
        for (no, c) in &mut contracts {
            let (since, completed) = stood.contracts.get(no).copied().unwrap_or_default();
            (c.short, c.negative, c.premature) = (since.short, since.negative, since.premature);
            c.completed = completed;
        }
        carried.contracts = contracts.into_values().collect();
        carried.contracts.sort_unstable_by_key(|c| c.contract_no);
        carried.names.sort_unstable();
        carried.names.dedup();
        carried
    }

    /// Settled lines, and what they make of each account's proof.
    fn lines(&self, carried: &mut Carried, settled: &Settled) {
        let Judged {
            facts, matching, ..
        } = self.judged;
        let credits = places(&facts.credits, &settled.credits).map(|(_, l)| (l, 1));
        let debits = places(&facts.debits, &settled.debits).map(|(_, l)| (l, -1));
        for (l, sign) in credits.chain(debits) {
            used(carried, l.account_no, l.day);
            carried.name(facts, l.reference);
            if let Some(a) = account_mut(carried, l.account_no) {
                a.moved = a.moved.saturating_add(sign * l.amount.fen());
            }
        }
        for (place, g) in matching.groups.iter().enumerate() {
            let Some(first) = matching
                .credits_of(place)
                .next()
                .filter(|i| settled.credits[*i])
            else {
                continue;
            };
            let paid: i64 = matching
                .payments_of(place)
                .map(|i| facts.payments[i].amount.fen())
                .sum();
            let banked: i64 = matching
                .credits_of(place)
                .map(|i| facts.credits[i].amount.fen())
                .sum();
            let rest = banked - paid - g.difference + g.fee;
            carried.settled += i64::try_from(matching.credits_of(place).len()).unwrap_or(0);
            if let Some(a) = account_mut(carried, facts.credits[first].account_no) {
                let p = &mut a.proof;
                p.cash += paid;
                p.fee -= g.fee;
                p.fees += i64::from(g.fee != 0);
                p.batch_refund += rest;
                p.batch_refunds += i64::from(rest != 0);
            }
        }
        for (i, l) in places(&facts.debits, &settled.debits) {
            let contract_no = match matching.debits[i] {
                DebitOutcome::Release { release } => facts.releases[release].contract_no,
                DebitOutcome::Refund { refund } => facts.refunds[refund].contract_no,
                _ => continue,
            };
            if let Some(a) = account_mut(carried, l.account_no) {
                let p = &mut a.proof;
                let sum = if contract_no == 0 {
                    &mut p.unallocated
                } else {
                    &mut p.cash
                };
                *sum -= l.amount.fen();
            }
        }
    }

    fn account(&self, a: &Account) -> AccountCarried {
        let Judged { facts, proofs, .. } = self.judged;
        let before = facts
            .carried
            .account(a.account_no)
            .cloned()
            .unwrap_or_default();
        let up_to = |days: &[Day]| days[..days.partition_point(|d| *d <= self.until)].to_vec();
        let stated = facts
            .days
            .iter()
            .find(|d| d.account_no == a.account_no && d.day <= self.until);
        let proof = proofs.iter().find(|p| p.account_no == a.account_no);
        let items = |kind: ItemKind| {
            let items = proof.into_iter().flat_map(|p| &p.items);
            items.filter(move |i| i.kind == kind && i.opened_on <= self.until)
        };
        let first = before
            .days
            .brought_forward
            .map(|(day, _)| day)
            .or(stated.map(|d| d.day));
        let brought: i64 = items(ItemKind::BroughtForward)
            .map(|i| i.amount.fen())
            .sum();
        let expected = &a.days.expected;
        let expected = expected[..expected.partition_point(|d| *d <= self.until)]
            .last()
            .copied();
        AccountCarried {
            account_no: a.account_no,
            filed: a.filed,
            days: DaysCarried {
                missing: up_to(&a.days.missing),
                exempt: up_to(&a.days.exempt),
                broken: a
                    .days
                    .broken
                    .iter()
                    .filter(|b| b.day <= self.until)
                    .copied()
                    .collect(),
                last_expected: expected.or(before.days.last_expected),
                brought_forward: first.map(|day| (day, brought)),
                gaps: items(ItemKind::Gap)
                    .map(|i| (i.opened_on, i.amount.fen()))
                    .collect(),
            },
            ..before
        }
    }
}

fn account_mut(carried: &mut Carried, account_no: i64) -> Option<&mut AccountCarried> {
    let at = carried
        .accounts
        .binary_search_by_key(&account_no, |a| a.account_no);
    at.ok().map(|at| &mut carried.accounts[at])
}

fn used(carried: &mut Carried, account_no: i64, day: Day) {
    if let Some(a) = account_mut(carried, account_no) {
        a.first_use = [a.first_use, Some(day)].into_iter().flatten().min();
    }
}

fn count(c: &mut ContractCarried, r: &LessonRow) {
    let (counts, deemed) = (
        ledger::LessonState::counts(r.state),
        r.state == ledger::LessonState::Deemed.number(),
    );
    if counts {
        c.lessons.confirmed += r.n;
        c.lessons.deemed += if deemed { r.n } else { 0 };
    }
    if counts || r.state == ledger::LessonState::Claimed.number() {
        c.lessons.delivered += r.n;
    }
}

impl Carried {
    fn name(&mut self, facts: &Facts, name: Span) {
        let text = facts.text(name);
        if !text.is_empty() {
            self.names.push(hash(text));
        }
    }
}
