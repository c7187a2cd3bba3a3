//! `jintuo statement inspect`: what a file says and whether it proves itself, without storing
//! anything.

use rust_decimal::Decimal;
use serde::Serialize;

use super::verify::is_booked;
use super::{Balance, Collected, Statement, Verdict, continuity, sniff, stream, verify};
use crate::base::{Defect, DefectCode};

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
}

/// Inspects one file: one object per statement, and one for a file that is refused.
pub fn inspect(file: &str, bytes: &[u8]) -> Vec<Inspection> {
    let Some(format) = sniff(bytes) else {
        return vec![refused(file, None, vec![unknown(bytes)])];
    };
    let mut parsed = Collected::default();
    stream(format, bytes, &mut |item| parsed.push(item));
    let Collected {
        statements,
        defects,
        refused: is_refused,
        ..
    } = parsed.finish();
    if is_refused {
        let name = format.as_str().to_owned();
        return vec![refused(
            file,
            Some(name),
            defects.into_iter().map(|(_, d)| d).collect(),
        )];
    }
    let mut inspections: Vec<Inspection> = statements
        .iter()
        .map(|statement| judge(file, statement))
        .collect();
    for (at, defect) in defects.into_iter().chain(continuity(&statements)) {
        if let Some(inspection) = inspections.get_mut(at) {
            inspection.defects.push(defect.file(file));
        }
    }
    inspections
}

fn judge(file: &str, statement: &Statement) -> Inspection {
    let (verdict, defects) = verify(statement);
    let (mut credits, mut debits) = (Some(Decimal::ZERO), Some(Decimal::ZERO));
    for entry in &statement.entries {
        let side = if entry.amount.is_sign_negative() {
            &mut debits
        } else {
            &mut credits
        };
        *side = side.and_then(|sum| sum.checked_add(entry.amount.abs()));
    }
    let booked = statement
        .entries
        .iter()
        .filter(|entry| is_booked(entry))
        .count();
    let balance = |b: &Option<Balance>| b.as_ref().map(|b| b.amount.to_string());
    // The parsers refuse a file whose sums overflow; a text in place of a number would be a lie.
    let sum = |sum: Option<Decimal>| sum.unwrap_or(Decimal::MAX).to_string();
    Inspection {
        file: file.to_owned(),
        format: Some(statement.format.clone()),
        account: statement.account.clone(),
        currency: statement.currency.clone(),
        opening: balance(&statement.opening),
        closing: balance(&statement.closing),
        entries: statement.entries.len() as u64,
        credits: sum(credits),
        debits: sum(debits),
        pending: (statement.entries.len() - booked) as u64,
        verdict,
        defects: defects
            .into_iter()
            .map(|defect| defect.file(file))
            .collect(),
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
    }
}

/// Why no format fits: an empty file and a broken charset have remedies of their own.
fn unknown(bytes: &[u8]) -> Defect {
    match super::decode::read_text(bytes) {
        Err(defect) => defect,
        Ok(_) => {
            let found = "the bytes are no camt, MT940/942 or bank CSV with known columns";
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
