//! What is known at this moment, and whether a decision fits it.

use std::collections::HashMap;

use super::find::finding_of;
use crate::base::{Clock, Day, InstId};
use crate::decision::{Decision, DecisionId, DecisionKind, Side};
use crate::feed;
use crate::flag::has_grown;
use crate::policy::{self, Policy};
use crate::reconcile::store::{Seen, facts};
use crate::reconcile::{By, CreditOutcome, Facts, Matching, Named, PaymentOutcome, match_lines};
use crate::registry::{self, AccountKind, Institution, Registry};
use crate::report::{self, Run, Wanted};
use crate::store::{DbError, Result, Tx};

/// How many ids of one side are spelled out.
const NAMED_MAX: usize = 10;

/// Everything known, whatever day it speaks of.
pub(super) struct Site {
    pub(super) registry: Registry,
    pub(super) source_cut: i64,
    pub(super) today: Day,
    /// The newest run, whose findings people see.
    pub(super) run: Option<Run>,
    policy: Policy,
}

/// One institution's movements and what becomes of them today.
pub(super) struct Look<'a> {
    site: &'a Site,
    institution: &'a Institution,
    kinds: HashMap<i64, AccountKind>,
    pub(super) facts: Facts,
    pub(super) matching: Matching,
}

impl Site {
    pub(super) async fn known(tx: &mut Tx, clock: &Clock) -> Result<Site> {
        let now = tx.now();
        let visible = feed::store::latest_visible(tx).await?;
        let source_cut = feed::store::cut(tx, visible.map_or(now, |v| v.max(now))).await?;
        let run = report::find_run(tx, &Wanted::default()).await?;
        let policy = match &run {
            Some(run) => policy::numbered(tx, run.policy_no).await?,
            None => Policy::built_in(policy::DEFAULT)
                .ok_or_else(|| DbError::Inconsistent("there is no default policy".to_owned()))?,
        };
        Ok(Site {
            registry: registry::store::load(tx, source_cut).await?,
            source_cut,
            today: clock.day_of(now),
            run,
            policy,
        })
    }

    pub(super) fn institution(&self, inst_id: i64) -> Option<&Institution> {
        let mut all = self.registry.institutions.iter();
        all.find(|(id, _)| *id == InstId(inst_id)).map(|(_, i)| i)
    }

    pub(super) fn institution_id(&self, inst_id: i64) -> &str {
        self.institution(inst_id)
            .map_or("", |i| i.institution_id.as_str())
    }

    /// The sender's id of an account.
    pub(super) fn account_id(&self, inst_id: i64, account_no: i64) -> &str {
        let of = |a: &&registry::Account| (a.inst_id.0, a.account_no.0) == (inst_id, account_no);
        (self.registry.accounts.iter().find(of)).map_or("", |a| a.account_id.as_str())
    }

    /// Looks at an institution: all it has moved, with the decisions that hold today.
    pub(super) async fn look(&self, tx: &mut Tx, inst_id: i64) -> Result<Option<Look<'_>>> {
        let Some(institution) = self.institution(inst_id) else {
            return Ok(None);
        };
        let seen = Seen {
            day: Day::MAX,
            source_cut: self.source_cut,
        };
        let mut facts = facts(tx, inst_id, inst_id, seen)
            .await?
            .pop()
            .unwrap_or_default();
        facts.inst_id = inst_id;
        let packs = self.policy.packs(&institution.district_id);
        let kinds: HashMap<i64, AccountKind> = (self.registry.accounts.iter())
            .filter(|a| a.inst_id.0 == inst_id)
            .map(|a| (a.account_no.0, a.kind))
            .collect();
        let kind_of = |no| kind_of(&kinds, no);
        let matching = match_lines(&facts, (&self.policy, &packs), self.today, kind_of);
        Ok(Some(Look {
            site: self,
            institution,
            kinds,
            facts,
            matching,
        }))
    }

    /// Why a proposal does not fit what is known; `None` where it does.
    pub(super) async fn refuses(&self, tx: &mut Tx, decision: &Decision) -> Result<Option<String>> {
        match decision.kind {
            DecisionKind::Match | DecisionKind::Unmatch => {
                let look = self.look(tx, decision.id.inst_id).await?;
                Ok(look.map_or_else(
                    || Some("its institution is not registered".to_owned()),
                    |look| look.refuses(decision),
                ))
            }
            DecisionKind::WriteOff | DecisionKind::Waive => {
                self.refuses_finding(tx, decision).await
            }
        }
    }

    async fn refuses_finding(&self, tx: &mut Tx, decision: &Decision) -> Result<Option<String>> {
        let (Some(run), Some(about)) = (&self.run, &decision.about) else {
            return Ok(Some("nothing has been reconciled yet".to_owned()));
        };
        let (code, subject, day) = (about.code, &about.subject, run.head.as_of);
        let found = finding_of(tx, run, decision).await?;
        Ok(match found {
            None => Some(format!("the run of {day} has no finding {code}/{subject}")),
            Some(f) if f.decision_no != 0 => {
                let id = DecisionId {
                    inst_id: f.inst_id,
                    decision_no: f.decision_no,
                };
                Some(format!("{code}/{subject} is covered by {id} already"))
            }
            Some(f) if has_grown(decision.amount, f.amount) => Some(format!(
                "{code}/{subject} is {} now, and was {}",
                f.amount, decision.amount
            )),
            Some(_) => None,
        })
    }
}

impl Look<'_> {
    fn id(&self, decision_no: i64) -> DecisionId {
        DecisionId {
            inst_id: self.facts.inst_id,
            decision_no,
        }
    }

    /// Why a match or unmatch does not fit.
    pub(super) fn refuses(&self, decision: &Decision) -> Option<String> {
        let named = Named::of(&self.facts);
        let members = match named.members(decision) {
            Ok(members) => members,
            Err(lapse) => return Some(lapse.english(self.facts.inst_id)),
        };
        let (f, m) = (&self.facts, &self.matching);
        let pairs =
            (members.payments.iter()).flat_map(|p| members.credits.iter().map(move |c| (*p, *c)));
        if decision.kind == DecisionKind::Unmatch {
            for (p, c) in pairs.clone() {
                if let (PaymentOutcome::Settled { group, .. }, CreditOutcome::Settles { group: g }) =
                    (m.payments[p], m.credits[c])
                    && group == g
                    && let By::Decision(no) = m.groups[group].by
                {
                    let id = self.id(no);
                    return Some(format!(
                        "people matched them by {id}; take that back: jintuo decide undo {id}"
                    ));
                }
            }
            let mut apart = pairs.map(|pair| m.kept_apart.get(&pair));
            let first = apart.next().flatten().copied();
            return (first.filter(|_| apart.all(|by| by.is_some())))
                .map(|no| format!("{} keeps them apart already", self.id(no)));
        }
        let inst_id = f.inst_id;
        if let Err(why) = named.may_settle(&members, &|no| kind_of(&self.kinds, no)) {
            return Some(why.english(inst_id));
        }
        for i in &members.payments {
            if let PaymentOutcome::Settled { group, .. } = m.payments[*i] {
                let id = f.text(f.payments[*i].id);
                return Some(format!("payment {id} {}", self.settled(group)));
            }
        }
        for i in &members.credits {
            let id = f.text(f.credits[*i].id);
            match m.credits[*i] {
                CreditOutcome::Settles { group } => {
                    return Some(format!("line {id} {}", self.settled(group)));
                }
                CreditOutcome::Undone { .. } => return Some(format!("the bank took {id} back")),
                _ => {}
            }
        }
        (pairs.into_iter().find_map(|pair| m.kept_apart.get(&pair))).map(|no| {
            let id = self.id(*no);
            format!("{id} keeps them apart; take that back: jintuo decide undo {id}")
        })
    }

    /// With what a movement is settled, and what comes first.
    fn settled(&self, group: usize) -> String {
        let f = &self.facts;
        let inst_id = f.inst_id;
        let payments = self.matching.payments_of(group);
        let payments: Vec<&str> = (payments.map(|i| f.text(f.payments[i].id)))
            .take(NAMED_MAX)
            .collect();
        let credits = self.matching.credits_of(group).map(|i| {
            let l = &f.credits[i];
            let account = self.site.account_id(inst_id, l.account_no);
            format!("{account}/{}", f.text(l.id))
        });
        let credits: Vec<String> = credits.take(NAMED_MAX).collect();
        let (payments, credits) = (payments.join(" "), credits.join(" "));
        match self.matching.groups[group].by {
            By::Decision(no) => {
                let id = self.id(no);
                format!(
                    "is settled by people ({id}: {payments} with {credits}); take that back first: \
                     jintuo decide undo {id}"
                )
            }
            By::Rule(at) => {
                let packs = self.site.policy.packs(&self.institution.district_id);
                let rule = packs.get(at.pack).and_then(|(_, pack)| {
                    let rule = pack.rules.get(at.rule)?;
                    Some(format!("{}/{}", pack.name, rule.name))
                });
                format!(
                    "is settled by rule {} ({payments} with {credits}); keep them apart first: jintuo \
                     decide unmatch --payment {payments} --line {credits}",
                    rule.unwrap_or_default()
                )
            }
        }
    }
}

fn kind_of(kinds: &HashMap<i64, AccountKind>, account_no: i64) -> AccountKind {
    let kind = kinds.get(&account_no).copied();
    kind.unwrap_or(AccountKind::Undeclared)
}

/// What a decision is about, in words.
pub(super) fn words(site: &Site, decision: &Decision) -> String {
    let inst_id = decision.id.inst_id;
    let side = |side: Side| -> String {
        let of_side = decision.members.iter().filter(|m| m.side == side);
        let named = of_side.map(|m| match m.side {
            Side::Payment => format!("{} ({})", m.id, m.amount),
            Side::Line => {
                let account = site.account_id(inst_id, m.account_no);
                format!("{account}/{} ({})", m.id, m.amount)
            }
        });
        named.collect::<Vec<_>>().join(", ")
    };
    let (payments, lines) = (side(Side::Payment), side(Side::Line));
    let until = decision
        .expires
        .map_or(String::new(), |day| format!(", up to {day}"));
    let about = decision.about.as_ref().map_or(String::new(), |a| {
        let account = match a.account_no {
            0 => String::new(),
            no => format!("{}/", site.account_id(inst_id, no)),
        };
        let date = a.date.map_or(String::new(), |day| format!(" of {day}"));
        format!(
            "{}/{account}{}{date} ({})",
            a.code, a.subject, decision.amount
        )
    });
    match decision.kind {
        DecisionKind::Match if decision.amount.fen() != 0 => format!(
            "match {payments} with {lines}, difference {}{until}",
            decision.amount
        ),
        DecisionKind::Match => format!("match {payments} with {lines}{until}"),
        DecisionKind::Unmatch => format!("keep {payments} and {lines} apart{until}"),
        DecisionKind::WriteOff => format!("write off {about}"),
        DecisionKind::Waive => format!("waive {about}{until}"),
    }
}
