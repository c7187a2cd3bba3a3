//! Why something is as a run has it: what a line, a payment or an approval was matched with and by which rule,
//! or why each candidate near it was not; and what the findings about a subject rest on.
//!
//! Matching is done again for the institutions that know the id, with the run's day, knowledge and policy
//! version, so that the answer is the run's own.

pub mod store;

use std::collections::HashMap;

use serde_json::{Value, json};

use super::store::{FindingRecord, Run, findings_about};
use crate::base::{Day, Money};
use crate::decision::{Decision, DecisionKind};
use crate::policy::{self, Expected};
use crate::position::{self, AccountProof};
use crate::reconcile::match_lines;
use crate::reconcile::store::{Seen, expected_range, facts};
use crate::reconcile::why::{At, Explainer, Moved, Why};
use crate::registry::{self, Account, AccountKind, Registry};
use crate::store::{Result, Tx};

/// What is known of one id in one institution.
#[derive(Debug)]
pub struct Explanation {
    pub institution_id: String,
    pub institution: String,
    pub movements: Vec<Why>,
    pub findings: Vec<FindingRecord>,
    /// Where the id is a custody account's: its proof, item by item.
    pub proof: Option<AccountProof>,
    /// Approved ones.
    decisions: Vec<Decision>,
    /// Account ids by their numbers, for the accounts that are named.
    accounts: HashMap<i64, String>,
}

/// Explains an id as a run has it: of a bank line, a payment, a release, a refund, or of a finding's subject
/// (`CODE/SUBJECT`, or the subject alone). Empty where the run knows no such id.
///
/// # Errors
/// A database error.
pub async fn explain(tx: &mut Tx, run: &Run, id: &str) -> Result<Vec<Explanation>> {
    let registry = registry::store::load(tx, run.source_cut).await?;
    let (code, subject) = match id.split_once('/') {
        Some((code, subject))
            if crate::base::FlagCode::ALL
                .iter()
                .any(|c| c.as_str() == code) =>
        {
            (Some(code), subject)
        }
        _ => (None, id),
    };
    let findings = findings_about(tx, run, subject).await?;
    let mut inst_ids = store::holders(tx, subject, run.source_cut).await?;
    inst_ids.extend(findings.iter().map(|f| f.inst_id));
    inst_ids.extend(registry.accounts.get(subject).map(|a| a.inst_id.0));
    inst_ids.sort_unstable();
    inst_ids.dedup();
    let mut told = Vec::new();
    for inst_id in inst_ids {
        let about =
            |f: &&FindingRecord| f.inst_id == inst_id && code.is_none_or(|c| f.code.as_str() == c);
        let findings: Vec<FindingRecord> = findings.iter().filter(about).cloned().collect();
        let explained = one(tx, run, &registry, (inst_id, subject), findings).await?;
        let says = |e: &Explanation| {
            !e.movements.is_empty() || !e.findings.is_empty() || e.proof.is_some()
        };
        told.extend(explained.filter(says));
    }
    Ok(told)
}

async fn one(
    tx: &mut Tx,
    run: &Run,
    registry: &Registry,
    (inst_id, subject): (i64, &str),
    findings: Vec<FindingRecord>,
) -> Result<Option<Explanation>> {
    let known = registry.institutions.iter().find(|(id, _)| id.0 == inst_id);
    let Some((_, institution)) = known else {
        return Ok(None);
    };
    let version = policy::numbered(tx, run.policy_no).await?;
    let seen = Seen {
        day: run.head.as_of,
        source_cut: run.source_cut,
    };
    let facts = facts(tx, inst_id, inst_id, seen)
        .await?
        .pop()
        .unwrap_or_default();
    let accounts: Vec<&Account> = (registry.accounts.iter())
        .filter(|a| a.inst_id.0 == inst_id)
        .collect();
    let kind_of = |no: i64| {
        let account = accounts.iter().find(|a| a.account_no.0 == no);
        account.map_or(AccountKind::Undeclared, |a| a.kind)
    };
    let packs = version.packs(&institution.district_id);
    let matching = match_lines(&facts, (&version, &packs), seen.day, kind_of);
    let open: Vec<i64> = (facts.credits.iter())
        .chain(&facts.debits)
        .map(|l| l.seq)
        .collect();
    let counterparties = store::counterparties(tx, inst_id, &open).await?;
    let explainer = Explainer {
        facts: &facts,
        matching: &matching,
        packs: &packs,
        counterparties: &counterparties,
        payee: &institution.name,
    };
    let found: Vec<At> = explainer.find(subject);
    let own = accounts.iter().find(|a| a.account_id == subject);
    let range = match version.statements.expected {
        Expected::Bundle => expected_range(tx, run.source_cut).await?,
        Expected::Working => None,
    };
    let proof = own.and_then(|account| {
        let view = (&version, range, seen.day);
        let measured = position::measure(institution, &accounts, &facts, &matching, view);
        let proofs = position::prove_accounts(&measured.accounts, &facts, &matching, &version);
        (proofs.into_iter()).find(|p| p.account_no == account.account_no.0)
    });
    Ok(Some(Explanation {
        institution_id: institution.institution_id.clone(),
        institution: institution.name.clone(),
        movements: found.into_iter().map(|at| explainer.why(at)).collect(),
        findings,
        proof,
        decisions: facts.decisions.clone(),
        accounts: (accounts.iter())
            .map(|a| (a.account_no.0, a.account_id.clone()))
            .collect(),
    }))
}

impl Explanation {
    /// One object: `institution_id`, `movements`, `findings`.
    pub fn to_json(&self) -> Value {
        let findings: Vec<Value> = (self.findings.iter())
            .map(|f| {
                json!({
                    "code": f.code.as_str(),
                    "subject": f.subject,
                    "date": f.date,
                    "amount_fen": f.amount.fen(),
                    "severity": f.severity.as_str(),
                    "due_on": f.due_on,
                    "evidence": f.evidence,
                    "decision": self.decision_of(f).map(|d| d.id.to_string()),
                    "text": f.evidence.english(),
                    "text_zh": f.evidence.chinese(),
                })
            })
            .collect();
        let movements: Vec<Value> = self.movements.iter().map(|w| self.movement(w)).collect();
        let proof = self.proof.as_ref().map(|p| {
            json!({
                "account_id": self.account(p.account_no),
                "day": p.day,
                "closing_fen": p.closing.fen(),
                "adjusted_bank_fen": p.adjusted_bank().fen(),
                "book_fen": p.book().fen(),
                "unexplained_fen": p.unexplained().fen(),
                "contract_cash_fen": p.contract_cash.fen(),
                "unallocated_fen": p.unallocated.fen(),
                "items": p.items,
            })
        });
        json!({
            "institution_id": self.institution_id,
            "movements": movements,
            "findings": findings,
            "proof": proof,
        })
    }

    fn movement(&self, why: &Why) -> Value {
        let moved = |m: &Moved| {
            json!({
                "kind": m.kind,
                "id": m.id,
                "account_id": self.account(m.account_no),
                "day": m.day,
                "amount_fen": m.amount.fen(),
                "reference": m.reference,
                "channel": m.channel,
            })
        };
        let near: Vec<Value> = (why.near.iter())
            .map(|n| {
                let text = n.vetoes.iter().map(|v| v.english());
                let text_zh = n.vetoes.iter().map(|v| v.chinese());
                json!({
                    "candidate": moved(&n.candidate),
                    "vetoes": n.vetoes,
                    "text": text.collect::<Vec<_>>(),
                    "text_zh": text_zh.collect::<Vec<_>>(),
                })
            })
            .collect();
        let with: Vec<Value> = why.with.iter().map(moved).collect();
        json!({
            "subject": moved(&why.subject),
            "outcome": why.outcome,
            "rule": why.rule,
            "decision": why.decision,
            "compared": self.compared(why),
            "with": with,
            "difference_fen": why.difference.fen(),
            "fee_fen": why.fee.fen(),
            "near": near,
        })
    }

    /// The write-off or waiver that covers a finding.
    fn decision_of(&self, f: &FindingRecord) -> Option<&Decision> {
        let of = |d: &&Decision| d.id.decision_no == f.decision_no;
        self.decisions.iter().find(of)
    }

    fn account(&self, no: i64) -> &str {
        self.accounts.get(&no).map_or("", String::as_str)
    }

    fn compared(&self, why: &Why) -> Vec<(&'static str, String, String)> {
        let account = |no: &str| no.parse().map_or(no, |no| self.account(no)).to_owned();
        (why.compared.iter())
            .map(|c| match c.field {
                "account" => (c.field, account(&c.reported), account(&c.banked)),
                _ => (c.field, c.reported.clone(), c.banked.clone()),
            })
            .collect()
    }

    /// Lines for people.
    pub fn english(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for why in &self.movements {
            self.tell(why, &mut lines);
        }
        if let Some(proof) = &self.proof {
            prove(proof, self.account(proof.account_no), &mut lines);
        }
        for f in &self.findings {
            let (code, severity, amount) = (f.code.as_str(), f.severity.as_str(), f.amount);
            let due = f
                .due_on
                .map_or(String::new(), |d: Day| format!(", due {d}"));
            lines.push(format!(
                "finding {code} {severity} of {} ({amount}){due}",
                f.date
            ));
            lines.push(format!("  {}", f.evidence.english()));
            lines.extend(self.decision_of(f).map(covered));
        }
        lines
    }

    fn moved(&self, m: &Moved) -> String {
        let account = self.account(m.account_no);
        let mut text = format!("{} {} of {}, {}", m.kind, m.id, m.day, m.amount);
        if !account.is_empty() {
            text += &format!(", account {account}");
        }
        if !m.reference.is_empty() {
            text += &format!(", reference {}", m.reference);
        }
        if let Some(channel) = m.channel {
            text += &format!(", {channel}");
        }
        text
    }

    fn tell(&self, why: &Why, lines: &mut Vec<String>) {
        let outcome = why.outcome.replace('_', " ");
        lines.push(format!("{}: {outcome}", self.moved(&why.subject)));
        if let Some(rule) = &why.rule {
            lines.push(format!(
                "  by rule {} ({}) of pack {}",
                rule.rule, rule.method, rule.pack
            ));
        }
        if let Some(decision) = &why.decision {
            lines.push(format!("  by {}", decision.english()));
        }
        for (field, reported, banked) in self.compared(why) {
            let sign = if reported == banked { "=" } else { "|" };
            lines.push(format!("    {field}: {reported} {sign} {banked}"));
        }
        if why.difference.fen() != 0 {
            lines.push(format!("    difference {}", why.difference));
        }
        if why.fee.fen() != 0 {
            lines.push(format!("    kept by the channel {}", why.fee));
        }
        for with in &why.with {
            lines.push(format!("  with {}", self.moved(with)));
        }
        for near in &why.near {
            lines.push(format!("  not with {}:", self.moved(&near.candidate)));
            lines.extend(near.vetoes.iter().map(|v| format!("    {}", v.english())));
        }
        if why.with.is_empty() && why.near.is_empty() {
            lines.push(
                "  nothing near it: no line or report with its reference or amount".to_owned(),
            );
        }
    }
}

/// Both sides of an account's proof, item by item.
fn prove(proof: &AccountProof, account_id: &str, lines: &mut Vec<String>) {
    let mut side = |title: String, under_way: bool, (name, sum): (&str, Money)| {
        lines.push(title);
        for item in proof
            .items
            .iter()
            .filter(|i| i.kind.is_under_way() == under_way)
        {
            let kind = serde_json::to_value(item.kind).unwrap_or_default();
            let kind = kind.as_str().unwrap_or_default().replace('_', " ");
            let until = item
                .expires_on
                .map_or(String::new(), |d| format!(", until {d}"));
            let (id, opened, amount) = (&item.id, item.opened_on, item.amount);
            lines.push(format!("    {amount}  {kind} {id} since {opened}{until}"));
        }
        lines.push(format!("  = {name} {sum}"));
    };
    let bank = format!(
        "account {account_id} as of {}: the bank's closing {}",
        proof.day, proof.closing
    );
    side(bank, true, ("adjusted bank", proof.adjusted_bank()));
    let (cash, rest) = (proof.contract_cash, proof.unallocated);
    let books = format!("  contract cash {cash}, releases without a contract {rest}");
    side(books, false, ("book", proof.book()));
    lines.push(format!("  unexplained {}", proof.unexplained()));
}

/// `written off by decision D1.3 of NAME, approved by NAME: REASON`.
fn covered(d: &Decision) -> String {
    let what = match d.kind {
        DecisionKind::WriteOff => "written off",
        _ => "waived",
    };
    let until = d
        .expires
        .map_or(String::new(), |day| format!(" up to {day}"));
    let approved = d.approved().map_or("", |s| &s.by);
    format!(
        "  {what}{until} by decision {} of {}, approved by {approved}: {}",
        d.id, d.proposed_by, d.reason
    )
}
