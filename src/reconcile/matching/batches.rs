//! Credits that a channel pays for several payments at once.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::outcome::{By, Doubt, Review, RuleAt};
use super::subset::{Choice, choose};
use super::{Era, Matcher, channel};
use crate::base::Day;
use crate::ledger;
use crate::policy::Within;
use crate::reconcile::MatchKind;
use crate::store::days;

/// Open credits of one channel of which groups are formed; of more none is.
const GROUPED_MAX: usize = 8;

/// What a search for the only choice may try.
#[derive(Clone, Copy)]
pub(super) struct Search {
    pub(super) within: Within,
    /// Open payments.
    pub(super) candidates: usize,
    /// Credits together.
    pub(super) credits: usize,
}

/// Credits and the only choice of payments that adds up to them.
struct Found {
    credits: Vec<usize>,
    payments: Vec<usize>,
}

impl Matcher<'_> {
    /// Credits whose batch the channel has described: no other rule guesses what is in them.
    pub(super) fn described(&self) -> Vec<bool> {
        let facts = self.facts;
        if facts.settlements.is_empty() {
            return Vec::new();
        }
        let numbers: HashSet<(i64, &str)> = (facts.settlements.iter())
            .map(|s| (s.account_no, s.batch_no.as_str()))
            .collect();
        (facts.credits.iter())
            .map(|l| numbers.contains(&(l.account_no, facts.text(l.reference))))
            .collect()
    }

    fn order(&self, credit: usize) -> (Day, &str) {
        let l = &self.facts.credits[credit];
        (l.day, self.facts.text(l.id))
    }

    /// A settlement the channel itself described: its number is the credit's reference, its net the
    /// credit's amount, its gross the sum of the payments it covers.
    pub(super) fn by_settlement(&mut self, (at, era): (RuleAt, Era)) {
        let facts = self.facts;
        if facts.settlements.is_empty() {
            return;
        }
        let mut by_reference: HashMap<(i64, &str), Vec<usize>> = HashMap::new();
        for (i, line) in facts.credits.iter().enumerate() {
            if self.credits[i].is_none() {
                let key = (line.account_no, facts.text(line.reference));
                by_reference.entry(key).or_default().push(i);
            }
        }
        let mut by_channel: HashMap<(i64, i64), Vec<(i64, usize)>> = HashMap::new();
        for (i, p) in facts.payments.iter().enumerate() {
            if self.payments[i].is_none() {
                let open = by_channel.entry((p.account_no, p.channel)).or_default();
                open.push((days::number(p.day), i));
            }
        }
        (by_channel.values_mut()).for_each(|open| open.sort_unstable());
        let ends = |day: i64| days::day(day, "settlement").is_ok_and(|day| era.holds(day));
        let mut settlements: Vec<_> = (facts.settlements.iter())
            .filter(|s| ends(s.period_to_day))
            .collect();
        settlements.sort_by(|a, b| {
            (a.account_no, a.period_from_day, &a.batch_no).cmp(&(
                b.account_no,
                b.period_from_day,
                &b.batch_no,
            ))
        });
        for s in settlements {
            let Some(lines) = by_reference.get(&(s.account_no, s.batch_no.as_str())) else {
                continue;
            };
            let fits = |i: &usize| {
                self.credits[*i].is_none() && facts.credits[*i].amount.fen() == s.net_fen
            };
            if !lines.iter().any(fits) {
                continue;
            }
            let open = by_channel
                .get(&(s.account_no, s.channel))
                .map_or(&[][..], Vec::as_slice);
            let from = open.partition_point(|(day, _)| *day < s.period_from_day);
            let members: Vec<usize> = open[from..]
                .iter()
                .take_while(|(day, _)| *day <= s.period_to_day)
                .map(|(_, i)| *i)
                .filter(|i| self.payments[*i].is_none())
                .collect();
            if members.is_empty() || self.sum(&members) != i128::from(s.gross_fen) {
                continue;
            }
            let credit = (lines.iter().copied())
                .filter(|i| fits(i) && !self.are_kept_apart(&members, &[*i]))
                .min_by_key(|i| self.order(*i));
            let Some(credit) = credit else {
                continue;
            };
            let batch = (By::Rule(at), MatchKind::Batch);
            self.settle(batch, (&members, &[credit]), (0, s.fee_fen.max(0)));
        }
    }

    fn sum(&self, payments: &[usize]) -> i128 {
        let fen = |i: &usize| i128::from(self.facts.payments[*i].amount.fen());
        payments.iter().map(fen).sum()
    }

    /// Terminals without a reference: all payments of one account, channel and day are one credit of
    /// that channel with their sum, inside the window. Where several fit, the earliest batch takes the
    /// earliest credit.
    pub(super) fn by_day(&mut self, (at, era): (RuleAt, Era), within: Within, described: &[bool]) {
        let facts = self.facts;
        let mut groups: HashMap<(i64, i64, Day), Vec<usize>> = HashMap::new();
        for (i, p) in facts.payments.iter().enumerate() {
            if self.payments[i].is_none()
                && channel(p.channel).settles_in_batches()
                && era.holds(p.day)
            {
                let key = (p.account_no, p.channel, p.day);
                groups.entry(key).or_default().push(i);
            }
        }
        if groups.is_empty() {
            return;
        }
        let mut credits: HashMap<(i64, i64, i64), Vec<usize>> = HashMap::new();
        for (i, l) in facts.credits.iter().enumerate() {
            if self.is_open_settlement(i, described) {
                let key = (l.account_no, l.channel, l.amount.fen());
                credits.entry(key).or_default().push(i);
            }
        }
        for lines in credits.values_mut() {
            lines.sort_unstable_by_key(|i| self.order(*i));
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_unstable_by_key(|(key, _)| *key);
        for ((account_no, channel_no, day), members) in groups {
            let Ok(sum) = i64::try_from(self.sum(&members)) else {
                continue;
            };
            let Some(lines) = credits.get(&(account_no, channel_no, sum)) else {
                continue;
            };
            let last = within.last(day);
            let credit = lines.iter().copied().find(|i| {
                let l = &facts.credits[*i];
                let open = self.credits[*i].is_none() && l.day >= day && l.day <= last;
                open && !self.are_kept_apart(&members, &[*i])
            });
            if let Some(credit) = credit {
                let batch = (By::Rule(at), MatchKind::Batch);
                self.settle(batch, (&members, &[credit]), (0, 0));
            }
        }
    }

    fn is_open_settlement(&self, credit: usize, described: &[bool]) -> bool {
        self.credits[credit].is_none()
            && self.facts.credits[credit].code == i64::from(ledger::LINE_SETTLEMENT)
            && !described.get(credit).is_some_and(|d| *d)
    }

    /// Credits of a channel and the only choice of its open payments that adds up to them. All credits are
    /// asked at once, and what two of them want goes to neither; what is settled may leave one choice where
    /// there were several, so it is asked again until nothing more is settled.
    pub(super) fn by_choice(
        &mut self,
        (at, era): (RuleAt, Era),
        search: Search,
        described: &[bool],
    ) {
        let facts = self.facts;
        let mut blocks: BTreeMap<(i64, i64), Vec<usize>> = BTreeMap::new();
        for (i, l) in facts.credits.iter().enumerate() {
            if self.is_open_settlement(i, described) && l.channel != 0 && era.holds(l.day) {
                blocks.entry((l.account_no, l.channel)).or_default().push(i);
            }
        }
        if blocks.is_empty() {
            return;
        }
        for ((account_no, channel_no), mut credits) in blocks {
            let mut open: Vec<usize> = (0..facts.payments.len())
                .filter(|i| {
                    let p = &facts.payments[*i];
                    let own = (p.account_no, p.channel) == (account_no, channel_no);
                    own && p.amount.fen() > 0 && self.goes_without_reference(*i)
                })
                .collect();
            open.sort_unstable_by_key(|i| {
                (facts.payments[*i].day, facts.text(facts.payments[*i].id))
            });
            credits.sort_unstable_by_key(|i| self.order(*i));
            loop {
                open.retain(|i| self.payments[*i].is_none());
                credits.retain(|i| self.credits[*i].is_none());
                let mut reviews = Vec::new();
                let found = self.choices((at, search), &credits, &open, &mut reviews);
                let settled = self.take_uncontested(at, found, &mut reviews);
                if !settled {
                    self.made.reviews.append(&mut reviews);
                    break;
                }
            }
        }
    }

    /// A payment that no reference leads to a line of its own.
    fn goes_without_reference(&self, payment: usize) -> bool {
        let p = &self.facts.payments[payment];
        self.payments[payment].is_none()
            && (channel(p.channel).settles_in_batches() || self.facts.text(p.reference).is_empty())
    }

    fn choices(
        &self,
        (at, search): (RuleAt, Search),
        credits: &[usize],
        open: &[usize],
        reviews: &mut Vec<Review>,
    ) -> Vec<Found> {
        let facts = self.facts;
        let mut found = Vec::new();
        let sets = if search.credits == 1 {
            credits.iter().map(|i| vec![*i]).collect()
        } else if credits.len() <= GROUPED_MAX {
            together(credits, search.credits)
        } else {
            Vec::new()
        };
        for set in sets {
            let (first, last) = (
                facts.credits[set[0]].day,
                facts.credits[set[set.len() - 1]].day,
            );
            let fits = |i: &usize| {
                let day = facts.payments[*i].day;
                let near = day <= first && last <= search.within.last(day);
                near && !self.are_kept_apart(&[*i], &set)
            };
            let candidates: Vec<usize> = open.iter().copied().filter(fits).collect();
            let target: i128 = set
                .iter()
                .map(|i| i128::from(facts.credits[*i].amount.fen()))
                .sum();
            let Ok(target) = i64::try_from(target) else {
                continue;
            };
            if candidates.len() < set.len() || self.sum(&candidates) < i128::from(target) {
                continue;
            }
            let mut doubt = |doubt, candidates: Vec<usize>| {
                reviews.push(Review {
                    rule: at,
                    credit: set[0],
                    doubt,
                    candidates,
                });
            };
            if candidates.len() > search.candidates {
                let candidates_len = candidates.len();
                doubt(
                    Doubt::TooMany {
                        candidates: candidates_len,
                    },
                    candidates,
                );
                continue;
            }
            let amounts: Vec<i64> = candidates
                .iter()
                .map(|i| facts.payments[*i].amount.fen())
                .collect();
            let chosen = |places: Vec<usize>| places.into_iter().map(|at| candidates[at]).collect();
            match choose(&amounts, target) {
                Choice::None => {}
                Choice::One(places) => found.push(Found {
                    payments: chosen(places),
                    credits: set,
                }),
                Choice::Many(places) => doubt(Doubt::Ambiguous, chosen(places)),
            }
        }
        found
    }

    /// Settles what no other choice wants a part of; true where there was such.
    fn take_uncontested(
        &mut self,
        at: RuleAt,
        found: Vec<Found>,
        reviews: &mut Vec<Review>,
    ) -> bool {
        let mut wanted: HashMap<(bool, usize), usize> = HashMap::new();
        let parts = |f: &Found| -> Vec<(bool, usize)> {
            let payments = f.payments.iter().map(|i| (true, *i));
            payments
                .chain(f.credits.iter().map(|i| (false, *i)))
                .collect()
        };
        for part in found.iter().flat_map(parts) {
            *wanted.entry(part).or_default() += 1;
        }
        let mut settled = false;
        for f in found {
            if parts(&f).iter().any(|part| wanted[part] > 1) {
                reviews.push(Review {
                    rule: at,
                    credit: f.credits[0],
                    doubt: Doubt::Contested,
                    candidates: f.payments,
                });
                continue;
            }
            let kind = MatchKind::of(f.payments.len(), f.credits.len());
            self.settle((By::Rule(at), kind), (&f.payments, &f.credits), (0, 0));
            settled = true;
        }
        settled
    }
}

/// Sets of two up to `most` credits, each in order.
fn together(credits: &[usize], most: usize) -> Vec<Vec<usize>> {
    let mut sets: Vec<Vec<usize>> = Vec::new();
    for mask in 0_u32..1 << credits.len() {
        let n = mask.count_ones() as usize;
        if (2..=most).contains(&n) {
            let chosen = (0..credits.len()).filter(|i| mask & (1 << i) != 0);
            sets.push(chosen.map(|i| credits[i]).collect());
        }
    }
    sets
}
