//! `jintuo statement inspect`: what a file says and whether it proves itself, without storing
//! anything.

use std::io::{BufRead, Read};

use rust_decimal::Decimal;
use serde::Serialize;

use super::proof::{Proof, Sum};
use super::sniff::sniff_head;
use super::verify::{EntriesDigest, Outline, continuity_of};
use super::{
    Assumptions, Balance, Format, Item, STATEMENTS_MAX, Statement, Verdict, sniff, stream_with,
    too_many_statements,
};
use crate::base::{Day, Defect, DefectCode};

/// One statement of a file as `interchange.md` prints it. Amounts are decimal strings; `credits`
/// and `debits` are positive and count every entry, booked or not; the verdict counts booked ones
/// only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inspection {
    pub file: String,
    /// `null` where the format is not known.
    pub format: Option<String>,
    pub account: Option<String>,
    pub currency: Option<String>,
    pub opening: Option<String>,
    pub closing: Option<String>,
    pub entries: u64,
    pub credits: String,
    pub debits: String,
    /// How many of the entries are not booked.
    pub pending: u64,
    pub verdict: Verdict,
    pub defects: Vec<Defect>,
    /// What the file does not say and was filled in; left out where nothing was.
    #[serde(skip_serializing_if = "Assumptions::is_empty")]
    pub assumed: Assumptions,
    /// Not part of the printed object.
    #[serde(skip)]
    pub booked: Booked,
}

/// What the verdict counts: the booked entries' sums, both positive, and the days between.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Booked {
    pub from: Option<Day>,
    pub to: Option<Day>,
    pub credits: String,
    pub debits: String,
}

/// Inspects one file: one object per statement, and one for a file that is refused.
pub fn inspect(file: &str, bytes: &[u8]) -> Vec<Inspection> {
    inspect_reader(file, bytes)
}

/// Inspects one file while it is read. A camt file of any length needs fixed memory: entries are
/// counted, summed and let go; a statement is at most [`super::STATEMENTS_MAX`]-th of its file.
pub fn inspect_reader(file: &str, reader: impl BufRead) -> Vec<Inspection> {
    inspect_with(file, reader, &Assumptions::default())
}

/// [`inspect_reader`] with what a file may leave open.
pub fn inspect_with(
    file: &str,
    mut reader: impl BufRead,
    assumed: &Assumptions,
) -> Vec<Inspection> {
    let head = match sniff_head(&mut reader) {
        Ok(head) => head,
        Err(e) => {
            let found = format!("the file could not be read: {e}");
            return vec![refused(
                file,
                None,
                vec![Defect::new(DefectCode::Unreadable, found)],
            )];
        }
    };
    let whole = head.as_slice().chain(reader);
    let Some(format) = sniff(&head) else {
        return vec![refused(file, None, vec![unknown(whole)])];
    };
    let mut fold = Fold::default();
    stream_with(format, whole, assumed, &mut |item| fold.take(item));
    fold.inspections(file, format)
}

/// A statement whose entries have been let go.
struct Judged {
    head: Statement,
    entries: EntriesDigest,
    inspection: Inspection,
}

#[derive(Default)]
struct Fold {
    judged: Vec<Judged>,
    proof: Proof,
    open: bool,
    defects: Vec<(usize, Defect)>,
    refused: bool,
}

impl Fold {
    fn take(&mut self, item: Item) {
        match item {
            Item::Open(_) => self.open = true,
            Item::Entry(entry) => self.proof.add(&entry),
            Item::Close(head) => {
                self.open = false;
                let proof = std::mem::take(&mut self.proof);
                if self.judged.len() < STATEMENTS_MAX {
                    self.judged.push(judge(head, proof));
                } else if !self.refused {
                    self.remark(too_many_statements());
                    self.refused = true;
                }
            }
            Item::Defect(defect) => self.remark(defect),
            Item::Refused(defect) => {
                self.remark(defect);
                self.refused = true;
            }
        }
    }

    fn remark(&mut self, defect: Defect) {
        let latest = self.judged.len();
        let at = if self.open {
            latest
        } else {
            latest.saturating_sub(1)
        };
        self.defects.push((at, defect));
    }

    fn inspections(self, file: &str, format: Format) -> Vec<Inspection> {
        if self.refused {
            let name = format.as_str().to_owned();
            let defects = self.defects.into_iter().map(|(_, defect)| defect);
            return vec![refused(file, Some(name), defects.collect())];
        }
        let outlines: Vec<Outline<'_>> = (self.judged.iter())
            .map(|judged| Outline {
                head: &judged.head,
                entries: judged.entries,
            })
            .collect();
        let breaks = continuity_of(&outlines);
        let mut inspections: Vec<Inspection> = self
            .judged
            .into_iter()
            .map(|judged| judged.inspection)
            .collect();
        for (at, defect) in self.defects.into_iter().chain(breaks) {
            if let Some(inspection) = inspections.get_mut(at) {
                inspection.defects.push(defect);
            }
        }
        for inspection in &mut inspections {
            file.clone_into(&mut inspection.file);
            for defect in &mut inspection.defects {
                file.clone_into(&mut defect.place.file);
            }
        }
        inspections
    }
}

fn judge(head: Statement, proof: Proof) -> Judged {
    let balance = |b: &Option<Balance>| b.as_ref().map(|b| b.amount.to_string());
    // The parsers refuse a file whose sums overflow; a text in place of a number would be a lie.
    let sum = |sum: Sum| sum.0.unwrap_or(Decimal::MAX).to_string();
    let (entries, count, booked) = (proof.entries(), proof.count, proof.booked);
    let (credits, debits) = (sum(proof.credits), sum(proof.debits));
    let proved = Booked {
        from: head.period.map(|p| p.0).or_else(|| day_of(&head.opening)),
        to: head.period.map(|p| p.1).or_else(|| day_of(&head.closing)),
        credits: sum(proof.booked_credits),
        debits: sum(proof.booked_debits),
    };
    let (verdict, defects) = proof.judge(&head);
    let inspection = Inspection {
        file: String::new(),
        format: Some(head.format.clone()),
        account: head.account.clone(),
        currency: head.currency.clone(),
        opening: balance(&head.opening),
        closing: balance(&head.closing),
        entries: count,
        credits,
        debits,
        pending: count - booked,
        verdict,
        defects,
        assumed: head.assumed.clone(),
        booked: proved,
    };
    Judged {
        head,
        entries,
        inspection,
    }
}

fn refused(file: &str, format: Option<String>, defects: Vec<Defect>) -> Inspection {
    Inspection {
        file: file.to_owned(),
        format,
        account: None,
        currency: None,
        opening: None,
        closing: None,
        entries: 0,
        credits: "0".to_owned(),
        debits: "0".to_owned(),
        pending: 0,
        verdict: Verdict::Refused,
        defects: defects
            .into_iter()
            .map(|defect| defect.file(file))
            .collect(),
        assumed: Assumptions::default(),
        booked: Booked::default(),
    }
}

fn day_of(balance: &Option<Balance>) -> Option<Day> {
    balance.as_ref().and_then(|b| b.day)
}

/// Why no format fits: an empty file and a broken charset have remedies of their own.
fn unknown(reader: impl BufRead) -> Defect {
    match super::decode::read_text(reader) {
        Err(defect) => defect,
        Ok(_) => {
            let found = "the bytes are no statement, bill or bank reply in a format that is read";
            Defect::new(DefectCode::UnknownFormat, found)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_give_one_object() {
        for (bytes, code) in [
            (&b""[..], DefectCode::Truncated),
            (b"hello", DefectCode::UnknownFormat),
            (b"\xd3\xe0\xb6", DefectCode::BadEncoding),
            (
                b"<Document xmlns='urn:iso:std:iso:20022:tech:xsd:camt.053.001.08'>",
                DefectCode::Truncated,
            ),
        ] {
            let found = inspect("f", bytes);
            assert_eq!(
                (found.len(), found[0].entries, found[0].verdict),
                (1, 0, Verdict::Refused)
            );
            assert_eq!(
                (
                    found[0].defects[0].code,
                    found[0].defects[0].place.file.as_str()
                ),
                (code, "f")
            );
        }
    }

    #[test]
    fn the_object_has_exactly_the_fields_of_the_interchange() {
        let value = serde_json::to_value(&inspect("f", b"")[0]).unwrap();
        let names: Vec<&str> = value
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let mut expected = vec![
            "file", "format", "account", "currency", "opening", "closing", "entries", "credits",
            "debits", "pending", "verdict", "defects",
        ];
        expected.sort_unstable();
        let mut names = names;
        names.sort_unstable();
        assert_eq!(names, expected);
    }
}
