//! Folding facts that are settled for good into what is carried forward.
//!
//! Invariants: a fact is folded only where nothing that happens later can change what became of it, and what did
//! become of it is no finding; what is folded is told by its sums and known by its names.
//!
//! What stays open, though it is settled: what people decided about, what a rule chose among several
//! (`subset`, `group`), since a later line may contest the choice, and what another fact repeats.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::formulae::{Measured, reserve_ends};
use super::proof::{AccountProof, ItemKind};
use super::since::Stood;
use crate::base::{Day, Money};
use crate::decision::Side;
use crate::ledger::{self, REFUND_SETTLED};
use crate::policy::{CHINA, Method, Policy, Regime, RulePack};
use crate::reconcile::carried::{AccountCarried, Carried, ContractCarried, DaysCarried, hash};
use crate::reconcile::known::{Known, LessonRow};
use crate::reconcile::{
    Approval, By, CreditOutcome, DebitOutcome, Facts, Line, Matching, Payment, PaymentOutcome, Span,
};
use crate::registry::{self, AccountKind};
use crate::store::days;

/// Days that stay open whatever became of them: what is reported a holiday late is still no news of a day that
/// is over.
pub const OPEN_DAYS: i32 = 14;
/// How far behind these a day is looked for on which every account's statement is proven.
const LOOKED_BACK_DAYS: i32 = 31;

/// The day up to which facts may be folded: every custody account states and proves it, so that each proof
/// is of that day or a later one. `None` where there is no such day.
pub fn foldable_until(
    registered: &[&registry::Account],
    facts: &Facts,
    measured: &Measured,
    day: Day,
) -> Option<Day> {
    let owing = || {
        measured
            .accounts
            .iter()
            .filter(|a| a.kind.owes_statements())
    };
    // A closed account may come to owe days again that it did not.
    if registered
        .iter()
        .any(|a| a.kind.owes_statements() && a.is_closed())
    {
        return None;
    }
    let claimed = facts.claims.iter().map(|c| c.day.plus(-1)).min();
    let last = day.plus(-OPEN_DAYS);
    let last = claimed.map_or(last, |claimed| last.min(claimed));
    let proven = |until: Day| {
        owing().all(|a| {
            let stated =
                (facts.days.iter()).rfind(|d| d.account_no == a.account_no && d.day <= until);
            stated.is_none_or(|d| {
                let closes = a
                    .days
                    .closings
                    .binary_search_by_key(&d.day, |c| c.0)
                    .is_ok();
                closes && (a.kind != AccountKind::Custody || d.day == until)
            })
        })
    };
    let before = facts.carried.until;
    (0..=LOOKED_BACK_DAYS)
        .map(|n| last.plus(-n))
        .take_while(|until| before.is_none_or(|before| *until > before))
        .find(|until| proven(*until))
        .or(before)
}

/// What is folded, by the facts' places.
struct Settled {
    payments: Vec<bool>,
    credits: Vec<bool>,
    debits: Vec<bool>,
    refunds: Vec<bool>,
    releases: Vec<bool>,
}

/// One institution as a run has judged it.
#[derive(Clone, Copy)]
pub struct Judged<'a> {
    pub registered: &'a [&'a registry::Account],
    pub facts: &'a Facts,
    pub matching: &'a Matching,
    pub measured: &'a Measured,
    pub proofs: &'a [AccountProof],
    pub policy: &'a Policy,
    pub packs: &'a [(Day, &'a RulePack)],
}

/// Folds what is settled up to `until`, at the end of which the institution `stood` so. `known` is what
/// the facts are a view of.
pub fn fold(judged: Judged<'_>, known: &Known, until: Day, stood: &Stood) -> Known {
    let folding = Folding { judged, until };
    let settled = folding.settled();
    let carried = folding.carried(known, &settled, stood);
    folding.rest(known, &settled, carried)
}

struct Folding<'a> {
    judged: Judged<'a>,
    until: Day,
}

impl Folding<'_> {
    fn kind(&self, account_no: i64) -> AccountKind {
        let accounts = &self.judged.measured.accounts;
        let found = accounts.iter().find(|a| a.account_no == account_no);
        found.map_or(AccountKind::Undeclared, |a| a.kind)
    }

    /// True where a rule of the pack that is asked before this one chooses among what is open.
    fn is_chosen(&self, by: By) -> bool {
        let By::Rule(at) = by else {
            return true;
        };
        let Some((_, pack)) = self.judged.packs.get(at.pack) else {
            return true;
        };
        let chooses = |m: &Method| matches!(m, Method::Subset { .. } | Method::Group { .. });
        pack.rules
            .iter()
            .take(at.rule + 1)
            .any(|r| chooses(&r.method))
    }

    fn has_choice(&self) -> bool {
        let chooses = |m: &Method| matches!(m, Method::Subset { .. } | Method::Group { .. });
        let mut rules = self.judged.packs.iter().flat_map(|(_, p)| &p.rules);
        rules.any(|r| chooses(&r.method))
    }

    /// The last day on which a line may settle a payment that names none.
    fn reach(&self, p: &Payment) -> Day {
        let rules = self.judged.packs.iter().flat_map(|(_, p)| &p.rules);
        let last = rules.filter_map(|r| match &r.method {
            Method::Batch { within }
            | Method::Subset { within, .. }
            | Method::Group { within, .. } => Some(within.last(p.day)),
            _ => None,
        });
        last.max().unwrap_or(p.day)
    }

    /// Payments and credits that are to stay open: repeated by others, decided about, candidates of a review.
    fn marked(&self) -> (HashSet<usize>, HashSet<usize>) {
        let Judged {
            facts, matching, ..
        } = self.judged;
        let mut payments: HashSet<usize> = HashSet::new();
        let mut credits: HashSet<usize> = HashSet::new();
        for outcome in &matching.payments {
            if let PaymentOutcome::Duplicate { of } = outcome {
                payments.insert(*of);
            }
        }
        for outcome in &matching.credits {
            if let CreditOutcome::Duplicate { of } = outcome {
                credits.insert(*of);
            }
        }
        payments.extend(matching.reviews.iter().flat_map(|r| &r.candidates));
        let members = || facts.decisions.iter().flat_map(|d| &d.members);
        if members().next().is_some() {
            let named: HashSet<(Side, &str)> = members().map(|m| (m.side, m.id.as_str())).collect();
            let is_named = |side, id: Span| named.contains(&(side, facts.text(id)));
            let of = |(i, named): (usize, bool)| named.then_some(i);
            let named_payments = facts.payments.iter().map(|p| is_named(Side::Payment, p.id));
            payments.extend(named_payments.enumerate().filter_map(of));
            let named_lines = facts.credits.iter().map(|l| is_named(Side::Line, l.id));
            credits.extend(named_lines.enumerate().filter_map(of));
        }
        // Of a contract's payments on one day into two accounts none may be told by a sum.
        let mut account: HashMap<(i64, Day), (i64, bool)> = HashMap::new();
        for p in &facts.payments {
            let known = account
                .entry((p.contract_no, p.day))
                .or_insert((p.account_no, false));
            known.1 |= known.0 != p.account_no;
        }
        let split = |p: &Payment| account.get(&(p.contract_no, p.day)).is_some_and(|a| a.1);
        payments.extend((0..facts.payments.len()).filter(|i| split(&facts.payments[*i])));
        (payments, credits)
    }

    fn settled(&self) -> Settled {
        let Judged {
            facts,
            matching,
            policy,
            ..
        } = self.judged;
        let until = self.until;
        let mut settled = Settled {
            payments: vec![false; facts.payments.len()],
            credits: vec![false; facts.credits.len()],
            debits: vec![false; facts.debits.len()],
            refunds: vec![false; facts.refunds.len()],
            releases: vec![false; facts.releases.len()],
        };
        let (marked_payments, marked_credits) = self.marked();
        let in_window = |p: &Payment| {
            policy.release.regime == Regime::ReserveRatio && reserve_ends(policy, p.day) > until
        };
        for (place, g) in matching.groups.iter().enumerate() {
            let pack = match g.by {
                By::Rule(at) => self.judged.packs.get(at.pack).filter(|_| at.pack > 0),
                By::Decision(_) => continue,
            };
            let judged_by_it = |day: Day| pack.is_none_or(|(from, _)| day >= *from);
            let payment_fits = |i: usize| {
                let p = &facts.payments[i];
                let in_time = matches!(matching.payments[i], PaymentOutcome::Settled { late_days, .. } if late_days <= 0);
                in_time
                    && p.day <= until
                    && judged_by_it(p.day)
                    && !in_window(p)
                    && !marked_payments.contains(&i)
            };
            let credit_fits = |i: usize| {
                let l = &facts.credits[i];
                let fee_over =
                    g.fee == 0 || l.day.plus(policy.explained.fee_window_days + 1) <= until;
                l.day <= until && fee_over && judged_by_it(l.day) && !marked_credits.contains(&i)
            };
            let fits = g.difference == 0
                && !self.is_chosen(g.by)
                && matching.payments_of(place).all(payment_fits)
                && matching.credits_of(place).all(credit_fits);
            if fits {
                matching
                    .payments_of(place)
                    .for_each(|i| settled.payments[i] = true);
                matching
                    .credits_of(place)
                    .for_each(|i| settled.credits[i] = true);
            }
        }
        for (i, p) in facts.payments.iter().enumerate() {
            if matching.payments[i] == PaymentOutcome::NotTested
                && !in_window(p)
                && self.reach(p) <= until
                && p.day <= until
                && !marked_payments.contains(&i)
            {
                settled.payments[i] = true;
            }
        }
        let chooses = self.has_choice();
        for (i, l) in facts.credits.iter().enumerate() {
            if l.day > until || marked_credits.contains(&i) {
                continue;
            }
            match matching.credits[i] {
                CreditOutcome::Undone { debit } if facts.debits[debit].day <= until => {
                    settled.credits[i] = true;
                    settled.debits[debit] = true;
                }
                CreditOutcome::NotTested => {
                    let pooled = l.code == i64::from(ledger::LINE_SETTLEMENT) && l.channel != 0;
                    settled.credits[i] = !(pooled && chooses);
                }
                _ => {}
            }
        }
        for (i, l) in facts
            .debits
            .iter()
            .enumerate()
            .filter(|(_, l)| l.day <= until)
        {
            match matching.debits[i] {
                DebitOutcome::Release { release } if facts.releases[release].day <= until => {
                    settled.debits[i] = true;
                    settled.releases[release] = true;
                }
                DebitOutcome::Refund { refund } if facts.refunds[refund].day <= until => {
                    settled.debits[i] = true;
                    settled.refunds[refund] = true;
                }
                DebitOutcome::NotTested => settled.debits[i] = l.day <= until,
                _ => {}
            }
        }
        settled
    }

    fn carried(&self, known: &Known, settled: &Settled, stood: &Stood) -> Carried {
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

    /// True for lessons that time does nothing more to.
    fn is_over(&self, r: &LessonRow) -> bool {
        let policy = self.judged.policy;
        let due = match policy.release.regime {
            Regime::OrderEnd => {
                CHINA
                    .add_working_days(r.counts_from(), policy.release.order_end_days)
                    .day
            }
            _ => r.counts_from(),
        };
        r.day <= self.until && due <= self.until && r.counts_from() <= self.until
    }

    fn account(&self, a: &super::Account) -> AccountCarried {
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

    /// What stays a fact.
    fn rest(&self, known: &Known, settled: &Settled, carried: Carried) -> Known {
        let facts = self.judged.facts;
        let mut gone: HashSet<i64> = HashSet::new();
        gone.extend(places(&facts.payments, &settled.payments).map(|(_, p)| p.seq));
        gone.extend(places(&facts.credits, &settled.credits).map(|(_, l)| l.seq));
        gone.extend(places(&facts.debits, &settled.debits).map(|(_, l)| l.seq));
        gone.extend(places(&facts.refunds, &settled.refunds).map(|(_, a)| a.seq));
        gone.extend(places(&facts.releases, &settled.releases).map(|(_, a)| a.seq));
        let k = &known.facts;
        let open = |l: &&Line| !gone.contains(&l.seq);
        let pending = |a: &&Approval| !gone.contains(&a.seq);
        let mut rest = Facts::default();
        rest.inst_id = k.inst_id;
        rest.carried = Arc::new(carried);
        rest.contracts.clone_from(&k.contracts);
        rest.append(k.only(|p| !gone.contains(&p.seq), |l| open(&l), |a| pending(&a)));
        rest.days = (k.days.iter().enumerate())
            .filter(|(i, d)| {
                let next = k.days.get(i + 1).filter(|n| n.account_no == d.account_no);
                // The last one until the day stays: what comes next goes on from it.
                d.day > self.until || next.is_none_or(|n| n.day > self.until)
            })
            .map(|(_, d)| *d)
            .collect();
        let credit_of = |s: &crate::feed::store::Settlement, folded: bool| {
            k.credits.iter().any(|l| {
                let named = l.account_no == s.account_no && k.text(l.reference) == s.batch_no;
                named && gone.contains(&l.seq) == folded
            })
        };
        let over = |s: &crate::feed::store::Settlement| {
            days::day(s.period_to_day, "settlement").is_ok_and(|day| day <= self.until)
        };
        rest.settlements = (k.settlements.iter())
            .filter(|s| !(over(s) && credit_of(s, true) && !credit_of(s, false)))
            .cloned()
            .collect();
        (rest.freezes, rest.exemptions) = (k.freezes.clone(), k.exemptions.clone());
        (rest.claims, rest.decisions) = (k.claims.clone(), k.decisions.clone());
        Known {
            facts: rest,
            lessons: known
                .lessons
                .iter()
                .filter(|r| !self.is_over(r))
                .copied()
                .collect(),
            seq: known.seq,
            gone: Vec::new(),
        }
    }
}

fn places<'a, T>(list: &'a [T], settled: &'a [bool]) -> impl Iterator<Item = (usize, &'a T)> {
    list.iter()
        .enumerate()
        .zip(settled)
        .filter(|(_, settled)| **settled)
        .map(|(one, _)| one)
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
