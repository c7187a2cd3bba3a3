//! What is carried and the open facts beside it as bytes: numbers of varying length, one after the other.
//!
//! Invariant: [`decode`] gives back what [`encode`] was given, or nothing; a format that is not this one is
//! nothing, and all facts are read again.

use std::sync::Arc;

use super::bytes::{Reader, Writer};
use super::{AccountCarried, Carried, ContractCarried, DaysCarried, ProofCarried, SweptCarried};
use crate::base::Money;
use crate::feed::store::Settlement;
use crate::ledger;
use crate::reconcile::facts::{
    Approval, ContractTerms, Facts, LessonSums, Line, Payment, StatedDay,
};
use crate::reconcile::known::{Folding, Known, LessonRow};
use crate::reconcile::statements::{Against, BrokenDay};
use crate::registry::Terms;

/// Changes with the format and with every formula whose sums are carried.
const FORMAT: i64 = 1;

/// What was carried, and whether records of the institution have to be read beside it.
pub struct Decoded {
    pub known: Known,
    pub has_records: bool,
}

pub fn encode(known: &Known, has_records: bool) -> Vec<u8> {
    let mut w = Writer::default();
    w.int(FORMAT);
    w.int(known.seq);
    w.bool(has_records);
    let f = &known.facts;
    w.carried(&f.carried);
    w.list(&f.payments, |w, p| {
        w.int(p.seq);
        w.day(p.day);
        w.int(p.contract_no);
        w.int(p.account_no);
        w.money(p.amount);
        w.int(p.channel);
        w.text(f.text(p.id));
        w.text(f.text(p.reference));
    });
    for lines in [&f.credits, &f.debits] {
        w.list(lines, |w, l| {
            w.int(l.seq);
            w.day(l.day);
            w.int(l.account_no);
            w.money(l.amount);
            w.int(l.channel);
            let code = u8::try_from(l.code).unwrap_or(0);
            w.int(i64::from(ledger::line_state(code, l.correction)));
            w.text(f.text(l.id));
            w.text(f.text(l.reference));
        });
    }
    for approvals in [&f.refunds, &f.releases] {
        w.list(approvals, |w, a| {
            w.int(a.seq);
            w.day(a.day);
            w.int(a.contract_no);
            w.int(a.account_no);
            w.money(a.amount);
            w.int(a.state);
            w.text(f.text(a.id));
        });
    }
    w.list(&f.contracts, |w, c| {
        w.int(c.contract_no);
        w.day(c.ordered_on);
        w.money(c.terms.lesson_amount);
        w.int(c.terms.lessons);
        w.int(c.terms.gift_lessons);
        w.int(c.amount.fen() - c.terms.lesson_amount.fen());
        w.opt_day(c.starts_on);
        w.opt_day(c.ends_on);
        w.bool(c.by_time);
    });
    w.list(&f.days, |w, d| {
        w.int(d.account_no);
        w.day(d.day);
        w.int(d.version);
        w.int(d.opening);
        w.int(d.closing);
    });
    w.list(&f.settlements, |w, s| {
        w.int(s.account_no);
        w.text(&s.batch_no);
        for n in [
            s.channel,
            s.period_from_day,
            s.period_to_day,
            s.gross_fen,
            s.fee_fen,
            s.refund_fen,
            s.net_fen,
        ] {
            w.int(n);
        }
        w.int(s.expected_day.map_or(0, |day| day + 1));
    });
    w.list(&known.lessons, |w, r| {
        w.int(r.contract_no);
        w.day(r.day);
        w.opt_day(r.confirmed_on);
        w.int(i64::from(r.state));
        w.int(r.n);
    });
    w.into_bytes()
}

/// `None` for bytes that are not of this format.
pub fn decode(inst_id: i64, bytes: &[u8]) -> Option<Decoded> {
    let mut r = Reader::of(bytes);
    if r.int()? != FORMAT {
        return None;
    }
    let seq = r.int()?;
    let has_records = r.bool()?;
    let mut f = Facts::default();
    f.inst_id = inst_id;
    f.carried = Arc::new(r.carried()?);
    for _ in 0..r.len()? {
        let (seq, day) = (r.int()?, r.day()?);
        let (contract_no, account_no) = (r.int()?, r.int()?);
        let (amount, channel) = (r.money()?, r.int()?);
        let (id, reference) = (f.keep(r.text()?), f.keep(r.text()?));
        f.payments.push(Payment {
            seq,
            day,
            contract_no,
            account_no,
            amount,
            channel,
            id,
            reference,
        });
    }
    for credit in [true, false] {
        for _ in 0..r.len()? {
            let (seq, day, account_no) = (r.int()?, r.day()?, r.int()?);
            let (amount, channel) = (r.money()?, r.int()?);
            let (code, correction) = ledger::read_line_state(r.int()?);
            let (id, reference) = (f.keep(r.text()?), f.keep(r.text()?));
            let line = Line {
                seq,
                day,
                account_no,
                amount,
                channel,
                code,
                correction,
                id,
                reference,
            };
            if credit {
                f.credits.push(line);
            } else {
                f.debits.push(line);
            }
        }
    }
    for refund in [true, false] {
        for _ in 0..r.len()? {
            let (seq, day, contract_no) = (r.int()?, r.day()?, r.int()?);
            let (account_no, amount, state) = (r.int()?, r.money()?, r.int()?);
            let id = f.keep(r.text()?);
            let approval = Approval {
                seq,
                day,
                contract_no,
                account_no,
                amount,
                state,
                id,
            };
            if refund {
                f.refunds.push(approval);
            } else {
                f.releases.push(approval);
            }
        }
    }
    f.contracts = r.list(|r| {
        let (contract_no, ordered_on) = (r.int()?, r.day()?);
        let terms = Terms {
            lesson_amount: r.money()?,
            lessons: r.int()?,
            gift_lessons: r.int()?,
        };
        let amount = Money::from_fen(terms.lesson_amount.fen() + r.int()?);
        let (starts_on, ends_on, by_time) = (r.opt_day()?, r.opt_day()?, r.bool()?);
        Some(ContractTerms {
            contract_no,
            ordered_on,
            terms,
            amount,
            starts_on,
            ends_on,
            by_time,
        })
    })?;
    f.days = r.list(|r| {
        let (account_no, day, version) = (r.int()?, r.day()?, r.int()?);
        Some(StatedDay {
            account_no,
            day,
            version,
            opening: r.int()?,
            closing: r.int()?,
        })
    })?;
    f.settlements = r.list(|r| {
        Some(Settlement {
            inst_id,
            account_no: r.int()?,
            batch_no: r.text()?.to_owned(),
            channel: r.int()?,
            period_from_day: r.int()?,
            period_to_day: r.int()?,
            gross_fen: r.int()?,
            fee_fen: r.int()?,
            refund_fen: r.int()?,
            net_fen: r.int()?,
            expected_day: Some(r.int()?).filter(|n| *n != 0).map(|n| n - 1),
        })
    })?;
    let lessons = r.list(|r| {
        let (contract_no, day, confirmed_on) = (r.int()?, r.day()?, r.opt_day()?);
        let state = u8::try_from(r.int()?).ok()?;
        Some(LessonRow {
            contract_no,
            day,
            confirmed_on,
            state,
            n: r.int()?,
        })
    })?;
    let known = Known {
        facts: f,
        lessons,
        seq,
        gone: Vec::new(),
        folding: Folding::default(),
    };
    r.is_at_end().then_some(Decoded { known, has_records })
}

impl Writer {
    fn carried(&mut self, c: &Carried) {
        self.opt_day(c.until);
        self.list(&c.contracts, |w, c| w.contract(c));
        self.list(&c.accounts, |w, a| w.account(a));
        self.len(c.names.len());
        c.names.iter().for_each(|n| self.raw(&n.to_le_bytes()));
        self.opt_day(c.first_payment);
        self.int(c.settled);
        self.bool(c.has_whole_releases);
        self.money(c.released);
        let s = &c.swept;
        for day in [s.uncovered, s.covered, s.premature] {
            self.opt_day(day);
        }
        self.list(&s.deposits, |w, (no, day)| {
            w.int(*no);
            w.day(*day);
        });
        self.raw(&c.past.to_le_bytes());
    }

    fn contract(&mut self, c: &ContractCarried) {
        self.int(c.contract_no);
        for m in [c.paid, c.refunded, c.released, c.cleared, c.credited] {
            self.money(m);
        }
        for n in [c.lessons.confirmed, c.lessons.deemed, c.lessons.delivered] {
            self.int(n);
        }
        self.opt_day(c.first_paid.map(|(day, _)| day));
        self.int(c.first_paid.map_or(0, |(_, no)| no));
        for day in [c.short, c.negative, c.premature, c.completed] {
            self.opt_day(day);
        }
    }

    fn account(&mut self, a: &AccountCarried) {
        self.int(a.account_no);
        self.bool(a.filed);
        self.opt_day(a.first_use);
        self.int(a.moved);
        let d = &a.days;
        self.list(&d.missing, |w, day| w.day(*day));
        self.list(&d.exempt, |w, day| w.day(*day));
        self.list(&d.broken, |w, b| {
            w.day(b.day);
            w.int(b.difference);
            w.int(match b.against {
                Against::Lines => 0,
                Against::DayBefore => 1,
                Against::OtherStatement => 2,
            });
        });
        self.opt_day(d.last_expected);
        self.opt_day(d.brought_forward.map(|(day, _)| day));
        self.int(d.brought_forward.map_or(0, |(_, fen)| fen));
        self.list(&d.gaps, |w, (day, fen)| {
            w.day(*day);
            w.int(*fen);
        });
        let p = &a.proof;
        for n in [
            p.cash,
            p.unallocated,
            p.fee,
            p.fees,
            p.batch_refund,
            p.batch_refunds,
        ] {
            self.int(n);
        }
    }
}

impl Reader<'_> {
    fn carried(&mut self) -> Option<Carried> {
        let until = self.opt_day()?;
        let contracts = self.list(Reader::contract)?;
        let accounts = self.list(Reader::account)?;
        let names = self.len()?;
        let names = self.take(names.checked_mul(4)?)?;
        let names = names
            .chunks_exact(4)
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        Some(Carried {
            until,
            contracts,
            accounts,
            names,
            first_payment: self.opt_day()?,
            settled: self.int()?,
            has_whole_releases: self.bool()?,
            released: self.money()?,
            swept: SweptCarried {
                uncovered: self.opt_day()?,
                covered: self.opt_day()?,
                premature: self.opt_day()?,
                deposits: self.list(|r| Some((r.int()?, r.day()?)))?,
            },
            past: u64::from_le_bytes(self.take(8)?.try_into().ok()?),
        })
    }

    fn contract(&mut self) -> Option<ContractCarried> {
        let contract_no = self.int()?;
        let (paid, refunded, released) = (self.money()?, self.money()?, self.money()?);
        let (cleared, credited) = (self.money()?, self.money()?);
        let lessons = LessonSums {
            contract_no,
            confirmed: self.int()?,
            deemed: self.int()?,
            delivered: self.int()?,
        };
        let (first_day, first_account) = (self.opt_day()?, self.int()?);
        Some(ContractCarried {
            contract_no,
            paid,
            refunded,
            released,
            cleared,
            credited,
            lessons,
            first_paid: first_day.map(|day| (day, first_account)),
            short: self.opt_day()?,
            negative: self.opt_day()?,
            premature: self.opt_day()?,
            completed: self.opt_day()?,
        })
    }

    fn account(&mut self) -> Option<AccountCarried> {
        let (account_no, filed) = (self.int()?, self.bool()?);
        let (first_use, moved) = (self.opt_day()?, self.int()?);
        let missing = self.list(Reader::day)?;
        let exempt = self.list(Reader::day)?;
        let broken = self.list(|r| {
            let (day, difference) = (r.day()?, r.int()?);
            let against = match r.int()? {
                0 => Against::Lines,
                1 => Against::DayBefore,
                2 => Against::OtherStatement,
                _ => return None,
            };
            Some(BrokenDay {
                day,
                difference,
                against,
            })
        })?;
        let last_expected = self.opt_day()?;
        let (first, fen) = (self.opt_day()?, self.int()?);
        let gaps = self.list(|r| Some((r.day()?, r.int()?)))?;
        let days = DaysCarried {
            missing,
            exempt,
            broken,
            last_expected,
            brought_forward: first.map(|day| (day, fen)),
            gaps,
        };
        let proof = ProofCarried {
            cash: self.int()?,
            unallocated: self.int()?,
            fee: self.int()?,
            fees: self.int()?,
            batch_refund: self.int()?,
            batch_refunds: self.int()?,
        };
        Some(AccountCarried {
            account_no,
            filed,
            first_use,
            moved,
            days,
            proof,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_or_strange_bytes_are_nothing() {
        let whole = encode(&Known::default(), true);
        assert!(decode(1, &whole).is_some_and(|d| d.has_records));
        for n in 0..whole.len() {
            assert!(decode(1, &whole[..n]).is_none(), "{n} bytes");
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert!(decode(1, &longer).is_none());
        let mut other = whole;
        other[0] ^= 2;
        assert!(decode(1, &other).is_none());
    }
}
