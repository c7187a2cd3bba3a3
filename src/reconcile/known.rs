//! What is known of one institution, of any day: what is carried, open facts, and what was learned since.

use std::collections::HashSet;

use super::facts::{Facts, LessonDay, LessonSums};
use crate::base::Day;
use crate::decision::Side;
use crate::feed::store::{Freeze, Settlement};
use crate::ledger::LessonState;
use crate::store::days;

/// Lessons of one posting; negative where they are taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LessonRow {
    pub contract_no: i64,
    pub day: Day,
    /// Confirmed only then, later than the day.
    pub confirmed_on: Option<Day>,
    pub state: u8,
    pub n: i64,
}

impl LessonRow {
    /// The day from which it has its whole effect.
    pub fn counts_from(&self) -> Day {
        self.confirmed_on.unwrap_or(self.day)
    }
}

/// When facts are folded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Folding {
    /// When the institution's turn comes.
    #[default]
    InTurn,
    /// At once: what was carried no longer holds.
    Now,
    /// Not by this run: what is carried is of a later day.
    Never,
}

/// Facts of any day.
#[derive(Clone, Default)]
pub struct Known {
    /// Movements, records and what is carried; `lessons` and `lesson_days` are empty.
    pub facts: Facts,
    pub lessons: Vec<LessonRow>,
    /// Every posting up to this number is here or carried.
    pub seq: i64,
    /// Open facts that were taken back since they were carried.
    pub gone: Vec<i64>,
    /// When it is to be folded.
    pub folding: Folding,
}

impl Known {
    /// What had happened by a day.
    pub fn as_of(&self, day: Day) -> Facts {
        self.clone().into_as_of(day)
    }

    pub fn into_as_of(self, day: Day) -> Facts {
        let Known {
            facts: mut f,
            lessons,
            ..
        } = self;
        f.payments.retain(|p| p.day <= day);
        f.credits.retain(|l| l.day <= day);
        f.debits.retain(|l| l.day <= day);
        f.refunds.retain(|a| a.day <= day);
        f.releases.retain(|a| a.day <= day);
        f.contracts.retain(|c| c.ordered_on <= day);
        f.days.retain(|d| d.day <= day);
        f.claims.retain(|c| c.day <= day);
        let number = days::number(day);
        f.settlements.retain(|s| s.period_from_day <= number);
        f.freezes.retain(|x| x.from_day.unwrap_or(0) <= number);
        sum(&mut f, &lessons, day);
        f
    }
}

/// Sums lessons by contract, and lists those that count by the day they count from.
fn sum(facts: &mut Facts, rows: &[LessonRow], day: Day) {
    let carried = facts.carried.contracts.iter().map(|c| c.contract_no);
    let most = carried.chain(rows.iter().map(|r| r.contract_no)).max();
    let most = usize::try_from(most.unwrap_or(0)).unwrap_or(0);
    // Contract numbers are dense, so they index the sums.
    let mut sums: Vec<LessonSums> = (1..=most as i64)
        .map(|contract_no| LessonSums {
            contract_no,
            ..LessonSums::default()
        })
        .collect();
    let place = |contract_no: i64| usize::try_from(contract_no - 1).unwrap_or(usize::MAX);
    for c in &facts.carried.contracts {
        if let Some(s) = sums.get_mut(place(c.contract_no)) {
            *s = LessonSums {
                contract_no: c.contract_no,
                ..c.lessons
            };
        }
    }
    let mut by_day: Vec<LessonDay> = Vec::new();
    for r in rows.iter().filter(|r| r.day <= day) {
        let Some(s) = sums.get_mut(place(r.contract_no)) else {
            continue;
        };
        // A lesson that was confirmed after the day is claimed on it.
        let waits = r.confirmed_on.is_some_and(|on| on > day);
        let state = if waits {
            LessonState::Claimed.number()
        } else {
            r.state
        };
        if LessonState::counts(state) {
            s.confirmed += r.n;
            if state == LessonState::Deemed.number() {
                s.deemed += r.n;
            }
            s.delivered += r.n;
            by_day.push(LessonDay {
                contract_no: r.contract_no,
                day: r.counts_from(),
                confirmed: r.n,
            });
        } else if state == LessonState::Claimed.number() {
            s.delivered += r.n;
        }
    }
    by_day.sort_unstable_by_key(|l| (l.contract_no, l.day));
    by_day.dedup_by(|next, sum| {
        let same = (next.contract_no, next.day) == (sum.contract_no, sum.day);
        if same {
            sum.confirmed += next.confirmed;
        }
        same
    });
    facts.lessons = sums;
    facts.lesson_days = by_day;
}

/// What was learned since facts were carried, as far as it is not a posting.
#[derive(Default)]
pub struct News {
    /// Contracts; of several versions the newest is the last.
    pub contracts: Vec<super::ContractTerms>,
    /// Statement days, likewise.
    pub days: Vec<super::StatedDay>,
    /// Settlements, likewise.
    pub settlements: Vec<Settlement>,
    /// The first day that a new freeze, exemption or claim speaks of.
    pub records_from: Option<Day>,
    /// All of these, new and old.
    pub records: Records,
}

/// Records of an institution that are few and always read whole.
#[derive(Clone, Default)]
pub struct Records {
    pub freezes: Vec<Freeze>,
    pub exemptions: Vec<super::Exemption>,
    pub claims: Vec<super::Claim>,
    pub decisions: Vec<crate::decision::Decision>,
}

/// Postings learned since.
#[derive(Default)]
pub struct NewPostings {
    /// Movements, in a text of their own; reversals left out.
    pub facts: Facts,
    pub lessons: Vec<LessonRow>,
    /// Numbers of earlier postings that these take back.
    pub reversed: Vec<i64>,
    /// Numbers of postings among these that later ones take back: a run may have seen them stand.
    pub undone: Vec<i64>,
    pub seq: i64,
}

impl Known {
    /// Adds what was learned since; false where it reaches behind what is carried, or touches it: then only all
    /// facts tell.
    pub fn learn(&mut self, postings: NewPostings, news: News) -> bool {
        self.takes_postings(postings) && self.takes_news(news)
    }

    fn takes_postings(&mut self, new: NewPostings) -> bool {
        let carried = &self.facts.carried;
        let n = &new.facts;
        let early = n
            .payments
            .iter()
            .map(|p| p.day)
            .chain(n.credits.iter().chain(&n.debits).map(|l| l.day));
        let early = early.chain(n.refunds.iter().chain(&n.releases).map(|a| a.day));
        let early = early.chain(new.lessons.iter().map(|l| l.day));
        let names = n.payments.iter().map(|p| p.reference);
        let names = names.chain(n.credits.iter().chain(&n.debits).map(|l| l.reference));
        let names = names.chain(n.refunds.iter().chain(&n.releases).map(|a| a.id));
        if early.into_iter().any(|day| carried.covers(day))
            || names.into_iter().any(|s| carried.knows(n.text(s)))
        {
            return false;
        }
        self.lessons.extend(new.lessons);
        self.seq = new.seq.max(self.seq);
        let f = &mut self.facts;
        f.append(&new.facts, |_| true);
        self.gone.clone_from(&new.reversed);
        self.gone.extend(new.undone);
        let mut dead: HashSet<i64> = new.reversed.into_iter().collect();
        if dead.is_empty() {
            return true;
        }
        let until = f.carried.until;
        let mut late = true;
        let mut stays = |seq: i64, day: Day| {
            let gone = dead.remove(&seq);
            late &= !gone || until.is_none_or(|until| day > until);
            !gone
        };
        f.payments.retain(|p| stays(p.seq, p.day));
        f.credits.retain(|l| stays(l.seq, l.day));
        f.debits.retain(|l| stays(l.seq, l.day));
        f.refunds.retain(|a| stays(a.seq, a.day));
        f.releases.retain(|a| stays(a.seq, a.day));
        late && dead.is_empty()
    }

    fn takes_news(&mut self, news: News) -> bool {
        let f = &mut self.facts;
        for c in news.contracts {
            match f
                .contracts
                .binary_search_by_key(&c.contract_no, |k| k.contract_no)
            {
                Ok(_) => return false,
                Err(_) if f.carried.covers(c.ordered_on) => return false,
                Err(at) => f.contracts.insert(at, c),
            }
        }
        for d in news.days {
            if f.carried.covers(d.day) {
                return false;
            }
            match f
                .days
                .binary_search_by_key(&(d.account_no, d.day), |s| (s.account_no, s.day))
            {
                Ok(at) => f.days[at] = d,
                Err(at) => f.days.insert(at, d),
            }
        }
        for s in news.settlements {
            let from = days::day(s.period_from_day, "settlement");
            if f.carried.knows(&s.batch_no)
                || from.is_err()
                || from.is_ok_and(|day| f.carried.covers(day))
            {
                return false;
            }
            let is_at = |known: &Settlement| {
                (known.account_no, &known.batch_no).cmp(&(s.account_no, &s.batch_no))
            };
            match f.settlements.binary_search_by(is_at) {
                Ok(at) => f.settlements[at] = s,
                Err(at) => f.settlements.insert(at, s),
            }
        }
        if news.records_from.is_some_and(|day| f.carried.covers(day)) {
            return false;
        }
        let Records {
            freezes,
            exemptions,
            claims,
            decisions,
        } = news.records;
        (f.freezes, f.exemptions) = (freezes, exemptions);
        (f.claims, f.decisions) = (claims, decisions);
        self.has_all_members()
    }

    /// True where every movement that a decision names is an open fact; one that is not may be carried.
    fn has_all_members(&self) -> bool {
        let f = &self.facts;
        if f.decisions.iter().all(|d| d.members.is_empty()) {
            return true;
        }
        let payments: HashSet<&str> = f.payments.iter().map(|p| f.text(p.id)).collect();
        let lines: HashSet<(i64, &str)> = f
            .credits
            .iter()
            .map(|l| (l.account_no, f.text(l.id)))
            .collect();
        (f.decisions.iter().flat_map(|d| &d.members)).all(|m| match m.side {
            Side::Payment => payments.contains(m.id.as_str()),
            Side::Line => lines.contains(&(m.account_no, m.id.as_str())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lesson_confirmed_later_is_claimed_before() {
        let day = |text: &str| text.parse::<Day>().unwrap();
        let row = LessonRow {
            contract_no: 2,
            day: day("2026-06-01"),
            confirmed_on: Some(day("2026-06-05")),
            state: LessonState::Deemed.number(),
            n: 3,
        };
        let known = Known {
            lessons: vec![row],
            ..Known::default()
        };
        let sums = |on: &str| {
            let s = known
                .as_of(day(on))
                .lessons
                .last()
                .copied()
                .unwrap_or_default();
            (s.contract_no, s.confirmed, s.deemed, s.delivered)
        };
        assert_eq!(sums("2026-05-31"), (2, 0, 0, 0));
        assert_eq!(sums("2026-06-04"), (2, 0, 0, 3));
        assert_eq!(sums("2026-06-05"), (2, 3, 3, 3));
    }
}
