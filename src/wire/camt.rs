//! ISO 20022 cash management statements: camt.052 (report), camt.053 (statement), camt.054
//! (notification), any version, read as a stream of tags.
//!
//! Versions are folded into one model by local names (`feeds.md` §1.2): `Sts` or `Sts/Cd`,
//! `Dbtr/Nm` or `Dbtr/Pty/Nm`, `Id/IBAN`, `Id/Othr/Id` or `Id/PrtryAcct/Id`.
//!
//! Invariants: one entry per `Ntry`, never per `TxDtls`, which only explain it; the sign is
//! `CdtDbtInd` alone, `RvslInd` only marks; anything but `BOOK` is pending; an amount, sign or day
//! that cannot be read refuses the file.
//! Absent on purpose: an allow-list of versions, and validation against the schemas, which banks do
//! not keep to.

use std::io::BufRead;
use std::sync::LazyLock;

use super::amount::iso_instant;
use super::camt_entry::Draft;
use super::camt_statement::Open;
use super::xml::{Node, XmlReader};
use super::{Item, Sink, Statement};
use crate::base::{Defect, DefectCode, Instant};

macro_rules! tags {
    ($($tag:ident),* $(,)?) => {
        /// The elements the fold looks at.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Tag { Statement, Message, Iban, Other, $($tag),* }

        impl Tag {
            /// The names that are one tag each.
            const NAMED: &[(&str, Tag)] = &[
                ("Stmt", Tag::Statement),
                ("Rpt", Tag::Statement),
                ("Ntfctn", Tag::Statement),
                ("IBAN", Tag::Iban),
                $((stringify!($tag), Tag::$tag),)*
            ];
        }
    };
}

tags! {
    Acct, AcctSvcrRef, AddtlNtryInf, Amt, AmtDtls, Bal, BkTxCd, BookgDt, Btch, Ccy, Cd, CdOrPrtry,
    CdtDbtInd, Cdtr, CpyDplctInd, CreDtTm, Dbtr, Domn, Dt, DtTm, ElctrncSeqNb, EndToEndId, Fmly,
    FrDtTm, FrToDt, GrpHdr, Id, InstrId, NbOfNtries, NbOfTxs, Nm, NtfctnPgntn, Ntry, NtryDtls,
    NtryRef, Othr, PgNb, Prtry, PrtryAcct, Pty, Refs, RltdPties, RmtInf, RptPgntn, RtrInf, RvslInd,
    StmtPgntn, Sts, SubFmlyCd, Sum, ToDtTm, Tp, TtlAmt, TtlCdtNtries, TtlDbtNtries, TtlNtries,
    TxAmt, TxDtls, TxId, TxsSummry, Ustrd, ValDt,
}

/// Names by their length and outer letters: a file is mostly tags, and one bucket holds few names.
static BUCKETS: LazyLock<Vec<Vec<(&'static str, Tag)>>> = LazyLock::new(|| {
    let mut buckets = vec![Vec::new(); BUCKETS_COUNT];
    for (name, tag) in Tag::NAMED {
        buckets[bucket(name)].push((*name, *tag));
    }
    buckets
});
const BUCKETS_COUNT: usize = 256;

fn bucket(name: &str) -> usize {
    let bytes = name.as_bytes();
    let (first, last) = (bytes.first(), bytes.last());
    let letter = |byte: Option<&u8>| byte.copied().map_or(0, usize::from);
    (bytes.len() * 37 + letter(first) * 5 + letter(last)) % BUCKETS_COUNT
}

impl Tag {
    fn of(name: &str, buckets: &[Vec<(&'static str, Tag)>]) -> Tag {
        let own = buckets[bucket(name)]
            .iter()
            .find(|(other, _)| *other == name);
        match own {
            Some((_, tag)) => *tag,
            None if message_kind(name).is_some() => Tag::Message,
            None => Tag::Other,
        }
    }
}

/// `camt.052` … by the local name of the message element, versions of 2005 carry a suffix.
fn message_kind(name: &str) -> Option<&'static str> {
    const KINDS: [(&str, &str); 3] = [
        ("BkToCstmrAcctRpt", "camt.052"),
        ("BkToCstmrStmt", "camt.053"),
        ("BkToCstmrDbtCdtNtfctn", "camt.054"),
    ];
    KINDS
        .iter()
        .find(|(local, _)| name.starts_with(local))
        .map(|(_, kind)| *kind)
}

/// `camt.053.001.08` where a text carries the name of a statement message.
pub(crate) fn version_in(text: &str) -> Option<&str> {
    for (at, _) in text.match_indices("camt.05") {
        let name = text.get(at..at + 15).unwrap_or_default();
        let bytes = name.as_bytes();
        let fits = bytes.len() == 15
            && matches!(bytes[7], b'2'..=b'4')
            && name.get(8..13) == Some(".001.")
            && bytes[13].is_ascii_digit()
            && bytes[14].is_ascii_digit();
        if fits {
            return Some(name);
        }
    }
    None
}

/// Whether a tag name marks a statement message.
pub(crate) fn is_message(local_name: &str) -> bool {
    message_kind(local_name).is_some()
}

/// Reads one file.
///
/// # Errors
/// The defect that refuses it.
pub(crate) fn read(source: impl BufRead, sink: &mut Sink<'_>) -> Result<(), Defect> {
    let mut xml = XmlReader::new(source);
    let mut fold = Fold {
        sink,
        buckets: &BUCKETS,
        path: Vec::new(),
        base: 0,
        format: None,
        made_at: None,
        open: None,
        statements: 0,
        entries: 0,
    };
    loop {
        match xml.next()? {
            Node::Start => fold.start(&xml)?,
            Node::End => fold.end(&mut xml)?,
            Node::Done => break,
        }
    }
    if fold.statements == 0 {
        let found = "the file holds no statement, report or notification element";
        return Err(xml.defect(DefectCode::Malformed, found));
    }
    Ok(())
}

struct Fold<'f, 's> {
    sink: &'f mut Sink<'s>,
    buckets: &'static [Vec<(&'static str, Tag)>],
    path: Vec<Tag>,
    /// How many elements stand around the inside of the open statement.
    base: usize,
    format: Option<String>,
    /// When the message was made; a statement may say it of itself.
    made_at: Option<Instant>,
    open: Option<Open>,
    statements: usize,
    entries: u64,
}

impl Fold<'_, '_> {
    fn start(&mut self, xml: &XmlReader<impl BufRead>) -> Result<(), Defect> {
        if let Some(version) = xml.namespaces.iter().find_map(|uri| version_in(uri)) {
            self.format = Some(version.to_owned());
        }
        let tag = Tag::of(&xml.name, self.buckets);
        self.path.push(tag);
        match (tag, self.path.as_slice()) {
            (Tag::Message, _) if self.format.is_none() => {
                self.format = message_kind(&xml.name).map(str::to_owned);
            }
            (Tag::Statement, [.., Tag::Message, _]) if self.open.is_some() => {
                return Err(xml.defect(DefectCode::Malformed, "a statement stands inside another"));
            }
            (Tag::Statement, [.., Tag::Message, _]) => {
                let format = self.format.clone().unwrap_or_default();
                let head = Statement {
                    format,
                    made_at: self.made_at,
                    ..Statement::default()
                };
                self.open = Some(Open::new(head));
                self.base = self.path.len();
                self.statements += 1;
            }
            (_, [.., Tag::Message, Tag::Statement, Tag::Bal]) => self.reset_draft(),
            (_, [.., Tag::Message, Tag::Statement, Tag::Ntry]) => {
                self.entries += 1;
                self.reset_draft();
                self.announce();
            }
            (Tag::TxDtls, _) => {
                if let Some(open) = &mut self.open {
                    open.draft.start_detail();
                }
            }
            (Tag::Amt, [.., Tag::TxDtls, _] | [.., Tag::TxDtls, Tag::AmtDtls, Tag::TxAmt, _]) => {
                if let Some(open) = &mut self.open {
                    open.draft.detail.currency.clone_from(&xml.currency);
                }
            }
            (Tag::Amt, [.., Tag::Statement, Tag::Bal | Tag::Ntry, _]) => {
                if let Some(open) = &mut self.open {
                    open.draft.currency.clone_from(&xml.currency);
                }
            }
            _ => {}
        }
        if self.statements > 0 && self.format.is_none() {
            return Err(xml.defect(DefectCode::UnknownFormat, "no camt.052/.053/.054 message"));
        }
        Ok(())
    }

    fn reset_draft(&mut self) {
        if let Some(open) = &mut self.open {
            open.draft = Draft::default();
        }
    }

    /// Tells the sink that the statement has begun, before its first entry.
    fn announce(&mut self) {
        if let Some(open) = self.open.as_mut().filter(|open| !open.announced) {
            open.announced = true;
            open.settle();
            (self.sink)(Item::Open(open.head.clone()));
        }
    }

    fn end(&mut self, xml: &mut XmlReader<impl BufRead>) -> Result<(), Defect> {
        let text = std::mem::take(&mut xml.text);
        let made = [Tag::Message, Tag::GrpHdr, Tag::CreDtTm];
        if self.open.is_none() && self.path.ends_with(&made) {
            self.made_at = iso_instant(text.trim());
        }
        if self.open.is_some() {
            let path = self.path.get(self.base..).unwrap_or_default();
            if let Some(open) = &mut self.open {
                match path {
                    [] => {}
                    [Tag::Bal] => open.close_balance(xml)?,
                    [Tag::Ntry] => {
                        let entry = open.close_entry(xml, self.entries)?;
                        let remark = open.batch_remark.take();
                        let currency = open.check_currency(&entry, self.entries);
                        for defect in [remark, currency].into_iter().flatten() {
                            (self.sink)(Item::Defect(defect));
                        }
                        (self.sink)(Item::Entry(entry));
                    }
                    [Tag::Ntry, rest @ ..] => open.entry_text(rest, text.trim(), xml)?,
                    [Tag::Bal, rest @ ..] => open.balance_text(rest, text.trim(), xml)?,
                    rest => open.head_text(rest, text.trim()),
                }
                if path.is_empty() {
                    self.close_statement();
                }
            }
        }
        xml.text = text;
        xml.text.clear();
        self.path.pop();
        Ok(())
    }

    fn close_statement(&mut self) {
        self.announce();
        let Some(mut open) = self.open.take() else {
            return;
        };
        open.settle();
        if let Some(defect) = open.check_declared() {
            (self.sink)(Item::Defect(defect));
        }
        (self.sink)(Item::Close(open.head));
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

    use super::super::{Entry, EntryStatus, Format, ReversalKind, parse};
    use super::*;

    fn entry(inside: &str) -> Result<Entry, DefectCode> {
        let text = format!(
            "<Document><BkToCstmrStmt><Stmt><Ntry>{inside}</Ntry></Stmt></BkToCstmrStmt></Document>"
        );
        let (mut statements, defects) = parse(Format::Camt, text.as_bytes());
        match statements.pop() {
            Some(mut statement) => Ok(statement.entries.remove(0)),
            None => Err(defects[0].code),
        }
    }

    #[test]
    fn the_sign_is_the_direction_and_a_reversal_only_marks() {
        let body = |side: &str| {
            format!("<Amt Ccy='CNY'>5</Amt><CdtDbtInd>{side}</CdtDbtInd><RvslInd>true</RvslInd>")
        };
        let credit = entry(&body("CRDT")).unwrap();
        assert_eq!(
            (credit.amount, credit.reversal.map(|r| r.kind)),
            (Decimal::from(5), Some(ReversalKind::Reversed))
        );
        assert_eq!(entry(&body("DBIT")).unwrap().amount, Decimal::from(-5));
    }

    #[test]
    fn both_shapes_of_status_and_party() {
        let body = |status: &str, name: &str| {
            format!(
                "<Amt Ccy='CNY'>5</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>{status}</Sts><NtryRef>n</NtryRef>\
                 <NtryDtls><TxDtls><Refs><EndToEndId>NOTPROVIDED</EndToEndId></Refs>\
                 <RltdPties><Dbtr>{name}</Dbtr></RltdPties></TxDtls></NtryDtls>"
            )
        };
        let old = entry(&body("BOOK", "<Nm>余</Nm>")).unwrap();
        let new = entry(&body("<Cd>BOOK</Cd>", "<Pty><Nm>余</Nm></Pty>")).unwrap();
        assert_eq!(old, new);
        assert_eq!(
            (old.counterparty.as_deref(), old.customer_ref),
            (Some("余"), None)
        );
        assert_eq!(
            (old.bank_ref.as_deref(), old.status),
            (Some("n"), EntryStatus::Booked)
        );
        for status in ["PDNG", "<Cd>INFO</Cd>", "<Cd>FUTR</Cd>", "<Prtry>x</Prtry>"] {
            assert_eq!(
                entry(&body(status, "")).unwrap().status,
                EntryStatus::Pending,
                "{status}"
            );
        }
    }

    #[test]
    fn refuses_an_entry_it_cannot_read() {
        let amount = "<Amt Ccy='CNY'>5</Amt>";
        let side = "<CdtDbtInd>CRDT</CdtDbtInd>";
        for (inside, code) in [
            (amount.to_owned(), DefectCode::MissingValue),
            (side.to_owned(), DefectCode::MissingValue),
            (format!("<Amt>12..34</Amt>{side}"), DefectCode::BadAmount),
            (format!("{amount}{amount}{side}"), DefectCode::Malformed),
            (format!("{amount}{side}{side}"), DefectCode::Malformed),
            (
                "<BkToCstmrStmt><Stmt/></BkToCstmrStmt>".to_owned(),
                DefectCode::Malformed,
            ),
            (format!("<Amt>-5</Amt>{side}"), DefectCode::BadAmount),
            (
                format!("{amount}<CdtDbtInd>CR</CdtDbtInd>"),
                DefectCode::BadCode,
            ),
            (
                format!("{amount}{side}<BookgDt><Dt>2026-02-30</Dt></BookgDt>"),
                DefectCode::BadDate,
            ),
        ] {
            assert_eq!(entry(&inside), Err(code), "{inside}");
        }
    }

    #[test]
    fn versions_are_recognised_by_pattern() {
        assert_eq!(
            version_in("urn:iso:std:iso:20022:tech:xsd:camt.054.001.13"),
            Some("camt.054.001.13")
        );
        assert_eq!(version_in("camt.055.001.08 camt.05"), None);
        assert_eq!(message_kind("BkToCstmrAcctRptV01"), Some("camt.052"));
    }
}
