//! From what people name to what is meant: ids to movements of one institution, a code and subject to a finding.

use std::collections::{BTreeSet, HashMap};

use super::look::{Look, Site};
use super::{Members, NamedFinding, Proposal, What};
use crate::base::Money;
use crate::decision::{self, About, Decision, DecisionId, Member, Side};
use crate::intake::ImportError;
use crate::report::Run;
use crate::report::store::{FindingRecord, findings_about};
use crate::store::{DbError, Tx};

/// Ids that one decision may name: nobody looks at more.
const MEMBERS_MAX: usize = 200;

fn refused<T>(why: String) -> Result<T, ImportError> {
    Err(ImportError::Refused(why))
}

/// The finding a decision is about, in a run.
pub(super) async fn finding_of(
    tx: &mut Tx,
    run: &Run,
    decision: &Decision,
) -> Result<Option<FindingRecord>, DbError> {
    let Some(about) = &decision.about else {
        return Ok(None);
    };
    let findings = findings_about(tx, run, &about.subject).await?;
    Ok(findings.into_iter().find(|f| {
        let date = (!f.is_state).then_some(f.date);
        f.inst_id == decision.id.inst_id
            && f.code == about.code
            && f.account_no == about.account_no
            && date == about.date
    }))
}

impl Site {
    /// A proposal as a decision without a number.
    pub(super) async fn draft(
        &self,
        tx: &mut Tx,
        proposal: &Proposal,
    ) -> Result<Decision, ImportError> {
        let mut decision = Decision {
            id: DecisionId {
                inst_id: 0,
                decision_no: 0,
            },
            kind: proposal.what.kind(),
            about: None,
            members: Vec::new(),
            amount: Money::ZERO,
            expires: proposal.expires,
            proposed_by: proposal.by.trim().to_owned(),
            reason: proposal.reason.trim().to_owned(),
            proposed_at: tx.now(),
            said: Vec::new(),
        };
        let institution = proposal.institution.as_deref();
        match &proposal.what {
            What::Match {
                members,
                difference,
            } => {
                let (inst_id, members) = self.members(tx, members, institution).await?;
                let sum = |side| {
                    let of_side = members.iter().filter(move |m: &&Member| m.side == side);
                    of_side.fold(Money::ZERO, |sum, m| sum.saturating_add(m.amount))
                };
                let (paid, banked) = (sum(Side::Payment), sum(Side::Line));
                let differs = Money::from_fen(banked.fen().saturating_sub(paid.fen()));
                if differs != *difference {
                    return refused(format!(
                        "the payments are {paid} and the lines {banked}; if the difference of {differs} is \
                         accepted, say so: --difference={differs}"
                    ));
                }
                decision.amount = differs;
                decision.id.inst_id = inst_id;
                decision.members = members;
            }
            What::Unmatch(members) => {
                let (inst_id, members) = self.members(tx, members, institution).await?;
                decision.id.inst_id = inst_id;
                decision.members = members;
            }
            What::WriteOff(named) | What::Waive(named) => {
                let f = self.finding(tx, named, institution).await?;
                decision.id.inst_id = f.inst_id;
                decision.amount = f.amount;
                decision.about = Some(About {
                    code: f.code,
                    date: (!f.is_state).then_some(f.date),
                    subject: f.subject,
                    account_no: f.account_no,
                });
            }
        }
        Ok(decision)
    }

    /// `ACCOUNT/ENTRY` where the first part is an account; an entry's own id may hold a slash too.
    fn of_account<'t>(&self, text: &'t str) -> Option<(i64, i64, &'t str)> {
        let (account, entry) = text.split_once('/')?;
        let account = self.registry.accounts.get(account)?;
        Some((account.inst_id.0, account.account_no.0, entry))
    }

    async fn members(
        &self,
        tx: &mut Tx,
        named: &Members,
        institution: Option<&str>,
    ) -> Result<(i64, Vec<Member>), ImportError> {
        if named.payments.is_empty() || named.lines.is_empty() {
            return refused("name at least one --payment and one --line".to_owned());
        }
        if named.payments.len() + named.lines.len() > MEMBERS_MAX {
            return refused(format!("a decision names {MEMBERS_MAX} ids at most"));
        }
        let inst_id = self.institution_of(tx, named, institution).await?;
        let Some(look) = self.look(tx, inst_id).await? else {
            return refused("its institution is not registered".to_owned());
        };
        let mut members = Vec::new();
        for id in &named.payments {
            members.push(look.payment(id)?);
        }
        for text in &named.lines {
            members.push(look.line(self, text)?);
        }
        let mut seen = BTreeSet::new();
        for m in &members {
            if !seen.insert((m.side.number(), m.account_no, m.id.as_str())) {
                return refused(format!("{} {} is named twice", m.side.as_str(), m.id));
            }
        }
        Ok((inst_id, members))
    }

    /// The one institution that knows all ids.
    async fn institution_of(
        &self,
        tx: &mut Tx,
        named: &Members,
        institution: Option<&str>,
    ) -> Result<i64, ImportError> {
        let only = match institution {
            None => None,
            Some(id) => match self.registry.institutions.get(id) {
                Some((inst_id, _)) => Some(inst_id.0),
                None => return refused(format!("--institution {id} is not registered")),
            },
        };
        let mut wanted: Vec<(Side, &str)> = (named.payments.iter())
            .map(|id| (Side::Payment, id.as_str()))
            .collect();
        for text in &named.lines {
            wanted.push((Side::Line, text));
            wanted.extend(
                self.of_account(text)
                    .map(|(_, _, entry)| (Side::Line, entry)),
            );
        }
        let mut holders: HashMap<(Side, String), BTreeSet<i64>> = HashMap::new();
        for (side, id, inst_id) in decision::store::holders(tx, &wanted, self.source_cut).await? {
            if only.is_none_or(|only| only == inst_id) {
                holders.entry((side, id)).or_default().insert(inst_id);
            }
        }
        let held = |side: Side, id: &str| {
            let found = holders.get(&(side, id.to_owned()));
            found.cloned().unwrap_or_default()
        };
        let mut common: Option<(String, BTreeSet<i64>)> = None;
        let payments = (named.payments.iter()).map(|id| (id, held(Side::Payment, id), "payment"));
        let lines = named.lines.iter().map(|text| {
            let mut found = held(Side::Line, text);
            if let Some((inst_id, _, entry)) = self.of_account(text) {
                found.extend(
                    held(Side::Line, entry)
                        .into_iter()
                        .filter(|id| *id == inst_id),
                );
            }
            (text, found, "line")
        });
        for (id, found, what) in payments.chain(lines) {
            if found.is_empty() {
                let of = institution.map_or(String::new(), |i| format!(" of {i}"));
                return refused(format!(
                    "no {what}{of} is called {id}; ids are in the bundles and in the breaks and reviews reports"
                ));
            }
            common = Some(match common {
                None => (id.clone(), found),
                Some((first, all)) => {
                    let both: BTreeSet<i64> = all.intersection(&found).copied().collect();
                    if both.is_empty() {
                        let of = |ids: &BTreeSet<i64>| self.names(ids);
                        return refused(format!(
                            "{first} is of {} and {id} of {}; what one institution reported is never settled \
                             by another's money",
                            of(&all),
                            of(&found)
                        ));
                    }
                    (first, both)
                }
            });
        }
        let ids = common.map(|(_, ids)| ids).unwrap_or_default();
        match (ids.len(), ids.first()) {
            (1, Some(inst_id)) => Ok(*inst_id),
            _ => refused(format!(
                "{} know these ids; say which: --institution ID",
                self.names(&ids)
            )),
        }
    }

    fn names(&self, ids: &BTreeSet<i64>) -> String {
        let names: Vec<&str> = ids.iter().map(|id| self.institution_id(*id)).collect();
        names.join(", ")
    }

    async fn finding(
        &self,
        tx: &mut Tx,
        named: &NamedFinding,
        institution: Option<&str>,
    ) -> Result<FindingRecord, ImportError> {
        let Some(run) = &self.run else {
            return refused(
                "nothing has been reconciled yet, so there are no findings; run: jintuo reconcile --as-of DATE"
                    .to_owned(),
            );
        };
        let wanted = |f: &FindingRecord| {
            f.code == named.code
                && named.date.is_none_or(|day| day == f.date)
                && institution.is_none_or(|id| id == f.institution_id)
        };
        let mut found = findings_about(tx, run, &named.subject).await?;
        found.retain(wanted);
        if found.is_empty()
            && let Some((inst_id, account_no, entry)) = self.of_account(&named.subject)
        {
            found = findings_about(tx, run, entry).await?;
            found.retain(|f| wanted(f) && (f.inst_id, f.account_no) == (inst_id, account_no));
        }
        let (code, subject, day) = (named.code, &named.subject, run.head.as_of);
        if found.len() > 1 {
            let each: Vec<String> = (found.iter())
                .map(|f| {
                    let account = match f.account_no {
                        0 => String::new(),
                        no => format!(", account {}", self.account_id(f.inst_id, no)),
                    };
                    format!("{} of {}{account}", f.date, f.institution_id)
                })
                .collect();
            return refused(format!(
                "{code}/{subject} is {} findings ({}); say which: --date DATE, --institution ID or \
                 {code}/ACCOUNT/ENTRY",
                found.len(),
                each.join("; ")
            ));
        }
        match found.pop() {
            Some(f) => Ok(f),
            None => refused(format!(
                "the run of {day} has no finding {code}/{subject}; see: jintuo report breaks"
            )),
        }
    }
}

impl Look<'_> {
    fn payment(&self, id: &str) -> Result<Member, ImportError> {
        let f = &self.facts;
        match f.payments.iter().find(|p| f.text(p.id) == id) {
            Some(p) => Ok(Member {
                side: Side::Payment,
                account_no: 0,
                id: id.to_owned(),
                amount: p.amount,
            }),
            None => refused(format!("payment {id} no longer stands")),
        }
    }

    fn line(&self, site: &Site, text: &str) -> Result<Member, ImportError> {
        let f = &self.facts;
        let mut found: Vec<_> = (f.credits.iter())
            .filter(|l| f.text(l.id) == text)
            .collect();
        if found.is_empty()
            && let Some((_, account_no, entry)) = site.of_account(text)
        {
            let is =
                |l: &&crate::reconcile::Line| l.account_no == account_no && f.text(l.id) == entry;
            found = f.credits.iter().filter(is).collect();
        }
        match found[..] {
            [l] => Ok(Member {
                side: Side::Line,
                account_no: l.account_no,
                id: f.text(l.id).to_owned(),
                amount: l.amount,
            }),
            [] => {
                let entry = site.of_account(text).map_or(text, |(_, _, entry)| entry);
                let out = (f.debits.iter()).any(|l| [text, entry].contains(&f.text(l.id)));
                refused(if out {
                    format!("line {text} is money out; payments are matched with money in")
                } else {
                    format!("line {text} no longer stands")
                })
            }
            _ => {
                let of = found
                    .iter()
                    .map(|l| site.account_id(f.inst_id, l.account_no));
                let of: Vec<&str> = of.collect();
                refused(format!(
                    "line {text} is on the accounts {}; say which: --line ACCOUNT/{text}",
                    of.join(", ")
                ))
            }
        }
    }
}
