//! OFX 1 (SGML) and OFX 2 (XML): statements of bank accounts (`STMTRS`) and cards (`CCSTMTRS`).
//!
//! Invariants: `LEDGERBAL` is the closing balance and there is no opening, so a statement is
//! one-sided; `TRNAMT` carries its own sign, whatever `TRNTYPE` says; the booking day is the day
//! `DTPOSTED` writes, in the bank's own zone, whatever the suffix (`[+8:CST]`, `[-:EST]`) says; a
//! correction (`CORRECTFITID`) is kept, marked as a reversal, and named; a file that does not end
//! with `</OFX>` is refused; an aggregate must close, a leaf need not.
//! Absent on purpose: investment statements, which state securities and no account of money; an
//! opening worked out backwards, which would make every statement prove itself.

mod tags;
mod text;
mod values;

use super::amount::some_text;
use super::xml::{DEPTH_MAX, TOKEN_MAX_BYTES, clip};
use super::{Entry, EntryStatus, Item, Reversal, ReversalKind, Sink, Statement};
use tags::{Tags, Token};
use text::Dialect;
use values::{Draft, EntryDraft, amount, bad, currency, day, instant};

pub(crate) use tags::resolve;
pub(crate) use text::recognises;

use crate::base::{Defect, DefectCode, Instant};

/// The innermost aggregate a leaf belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// Outside of what is read.
    Other,
    Status,
    Statement,
    Account,
    Entry,
    /// A part of an entry whose names are not the entry's own.
    Payee,
    Currency,
    LedgerBalance,
    /// An investment statement; everything below it is left alone.
    Investment,
}

/// Aggregates that are looked into or must be told apart; all others are stepped through.
fn aggregate(name: &str) -> Option<Scope> {
    Some(match name {
        "OFX" | "BANKMSGSRSV1" | "CREDITCARDMSGSRSV1" | "SIGNONMSGSRSV1" | "SONRS"
        | "STMTTRNRS" | "CCSTMTTRNRS" | "FI" | "AVAILBAL" | "BALLIST" | "BAL" | "BANKACCTTO"
        | "CCACCTTO" | "ORIGCURRENCY" | "IMAGEDATA" => Scope::Other,
        "STATUS" => Scope::Status,
        "STMTRS" | "CCSTMTRS" | "BANKTRANLIST" | "BANKTRANLISTP" => Scope::Statement,
        "BANKACCTFROM" | "CCACCTFROM" => Scope::Account,
        "STMTTRN" | "STMTTRNP" => Scope::Entry,
        "PAYEE" => Scope::Payee,
        "CURRENCY" => Scope::Currency,
        "LEDGERBAL" => Scope::LedgerBalance,
        "INVSTMTMSGSRSV1" | "INVSTMTRS" => Scope::Investment,
        _ => return None,
    })
}

/// Reads one file.
///
/// # Errors
/// The defect that refuses it.
pub(crate) fn read(bytes: Vec<u8>, sink: &mut Sink<'_>) -> Result<(), Defect> {
    let (dialect, text) = text::decode(bytes)?;
    let mut tags = Tags::new(&text);
    tags.skip_to_tag();
    let mut fold = Fold {
        sink,
        dialect,
        levels: Vec::new(),
        statement: None,
        entry: None,
        status: Status::default(),
        made_at: None,
        statements: 0,
        investment: false,
        closed: false,
    };
    while !fold.closed {
        match tags.next()? {
            Token::Open(name) => fold.open(name, &tags)?,
            Token::Close(name) => fold.close(&name, &tags)?,
            Token::Empty(name) => {
                fold.open(name.clone(), &tags)?;
                fold.close(&name, &tags)?;
            }
            Token::Text(text) => fold.text(&text, &tags)?,
            Token::End => {
                let found = "the file ends before </OFX>";
                return Err(tags.defect(DefectCode::Truncated, found));
            }
        }
    }
    let behind = |c: char| !c.is_whitespace() && !matches!(c, '\0' | '\u{1a}');
    if tags.rest().contains(behind) {
        let found = "something follows </OFX>: several documents in one file";
        return Err(tags.defect(DefectCode::Malformed, found));
    }
    fold.end(&tags)
}

struct Level {
    name: String,
    scope: Scope,
    is_aggregate: bool,
    text: String,
}

/// What a `STATUS` says of a request.
#[derive(Default)]
struct Status {
    code: String,
    severity: String,
    message: String,
    /// The first error of the file.
    error: Option<String>,
}

struct Fold<'f, 's> {
    sink: &'f mut Sink<'s>,
    dialect: Dialect,
    levels: Vec<Level>,
    statement: Option<Draft>,
    entry: Option<EntryDraft>,
    status: Status,
    made_at: Option<Instant>,
    statements: usize,
    investment: bool,
    closed: bool,
}

impl Fold<'_, '_> {
    fn open(&mut self, name: String, tags: &Tags<'_>) -> Result<(), Defect> {
        // A leaf of SGML ends where the next tag begins.
        if self
            .levels
            .last()
            .is_some_and(|l| !l.is_aggregate && !l.text.is_empty())
        {
            self.pop(tags)?;
        }
        if self.levels.is_empty() && name != "OFX" {
            let found = format!("the document begins with <{}>, not with <OFX>", clip(&name));
            return Err(tags.defect(DefectCode::Malformed, found));
        }
        if self.levels.len() >= DEPTH_MAX {
            let found = format!("elements nest deeper than {DEPTH_MAX} (limit DEPTH_MAX)");
            return Err(tags.defect(DefectCode::Forbidden, found));
        }
        let outer = self.levels.last().map_or(Scope::Other, |l| l.scope);
        let own = aggregate(&name);
        let scope = match (outer, own) {
            (Scope::Investment, _) => Scope::Investment,
            (outer, own) => own.unwrap_or(outer),
        };
        if own.is_some() {
            self.begin(&name, scope, tags)?;
        }
        let (is_aggregate, text) = (own.is_some(), String::new());
        self.levels.push(Level {
            name,
            scope,
            is_aggregate,
            text,
        });
        Ok(())
    }

    fn begin(&mut self, name: &str, scope: Scope, tags: &Tags<'_>) -> Result<(), Defect> {
        match (name, scope) {
            (_, Scope::Investment) => self.investment = true,
            ("STMTRS" | "CCSTMTRS", _) => {
                if self.statement.is_some() {
                    return Err(nested(name, tags));
                }
                let mut draft = Draft::default();
                draft.head.format = self.dialect.as_str().to_owned();
                draft.head.made_at = self.made_at;
                self.statement = Some(draft);
            }
            ("STMTTRN" | "STMTTRNP", _) => {
                if self.statement.is_none() || self.entry.is_some() {
                    return Err(nested(name, tags));
                }
                let (pending, line) = (name == "STMTTRNP", tags.line());
                self.entry = Some(EntryDraft {
                    pending,
                    line,
                    ..EntryDraft::default()
                });
            }
            ("STATUS", _) => {
                let error = self.status.error.take();
                self.status = Status {
                    error,
                    ..Status::default()
                };
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, name: &str, tags: &Tags<'_>) -> Result<(), Defect> {
        let Some(at) = self.levels.iter().rposition(|level| level.name == name) else {
            let found = format!("</{}> closes nothing", clip(name));
            return Err(tags.defect(DefectCode::Malformed, found));
        };
        if let Some(open) = self.levels[at + 1..]
            .iter()
            .find(|level| level.is_aggregate)
        {
            let found = format!("</{}> comes before </{}>", clip(name), open.name);
            return Err(tags.defect(DefectCode::Malformed, found));
        }
        while self.levels.len() > at {
            self.pop(tags)?;
        }
        self.closed = self.levels.is_empty();
        Ok(())
    }

    fn text(&mut self, text: &str, tags: &Tags<'_>) -> Result<(), Defect> {
        match self.levels.last_mut() {
            Some(level) if !level.is_aggregate => {
                if level.text.len() + text.len() > TOKEN_MAX_BYTES {
                    let found = format!(
                        "a text is longer than {TOKEN_MAX_BYTES} bytes (limit TOKEN_MAX_BYTES)"
                    );
                    return Err(tags.defect(DefectCode::TooLarge, found));
                }
                level.text.push_str(text);
                Ok(())
            }
            _ => {
                let found = format!("text {:?} belongs to no element", clip(text));
                Err(tags.defect(DefectCode::Malformed, found))
            }
        }
    }

    fn pop(&mut self, tags: &Tags<'_>) -> Result<(), Defect> {
        let Some(level) = self.levels.pop() else {
            return Ok(());
        };
        if !level.is_aggregate {
            return self.leaf(&level, tags);
        }
        match (level.name.as_str(), level.scope) {
            (_, Scope::Investment) => {}
            ("STMTTRN" | "STMTTRNP", _) => self.end_entry()?,
            ("STMTRS" | "CCSTMTRS", _) => self.end_statement(),
            ("STATUS", _) => self.end_status(),
            _ => {}
        }
        Ok(())
    }

    fn leaf(&mut self, level: &Level, tags: &Tags<'_>) -> Result<(), Defect> {
        let Some(value) = some_text(&level.text) else {
            return Ok(());
        };
        let name = level.name.as_str();
        match level.scope {
            Scope::Other if name == "DTSERVER" => self.made_at = instant(&value),
            Scope::Other | Scope::Investment => {}
            Scope::Status => match name {
                "CODE" => self.status.code = value,
                "SEVERITY" => self.status.severity = value.to_ascii_uppercase(),
                "MESSAGE" => self.status.message = value,
                _ => {}
            },
            Scope::Statement | Scope::Account | Scope::LedgerBalance => {
                let Some(draft) = &mut self.statement else {
                    return Ok(());
                };
                match (level.scope, name) {
                    (Scope::Statement, "CURDEF") => draft.head.currency = currency(&value),
                    (Scope::Statement, "DTSTART") => draft.from = day(&value),
                    (Scope::Statement, "DTEND") => draft.to = day(&value),
                    (Scope::Account, "ACCTID") => draft.head.account = Some(value),
                    (Scope::LedgerBalance, "BALAMT") => {
                        draft.closing =
                            Some(amount(&value).ok_or_else(|| bad(name, &value, tags))?);
                    }
                    (Scope::LedgerBalance, "DTASOF") => draft.closing_day = day(&value),
                    _ => {}
                }
            }
            Scope::Entry | Scope::Payee | Scope::Currency => {
                if let Some(entry) = &mut self.entry {
                    entry.take(level.scope, name, value, tags)?;
                }
            }
        }
        Ok(())
    }

    fn end_entry(&mut self) -> Result<(), Defect> {
        let (Some(draft), Some(entry)) = (&mut self.statement, self.entry.take()) else {
            return Ok(());
        };
        let missing = |name: &str| {
            let id = entry.id.as_deref().unwrap_or("without FITID");
            let found = format!("transaction {} has no {name}", clip(id));
            Defect::new(DefectCode::MissingValue, found)
                .line(entry.line)
                .column(name)
        };
        let amount = entry.amount.ok_or_else(|| missing("TRNAMT"))?;
        if entry.booked_on.is_none() && !entry.pending {
            return Err(missing("DTPOSTED"));
        }
        if !draft.opened {
            draft.opened = true;
            draft.settle();
            (self.sink)(Item::Open(draft.head.clone()));
        }
        if let Some(corrected) = &entry.corrects {
            let action = entry
                .correction
                .as_deref()
                .unwrap_or("without CORRECTACTION");
            let id = entry.id.as_deref().unwrap_or("without FITID");
            let (id, corrected, action) = (clip(id), clip(corrected), clip(action));
            let found = format!("transaction {id} corrects {corrected} ({action}); both are kept");
            let defect = Defect::new(DefectCode::Conflict, found);
            (self.sink)(Item::Defect(defect.line(entry.line).column("CORRECTFITID")));
        }
        let own = draft.head.currency.clone().unwrap_or_default();
        (self.sink)(Item::Entry(Entry {
            status: if entry.pending {
                EntryStatus::Pending
            } else {
                EntryStatus::Booked
            },
            amount,
            currency: entry.currency.unwrap_or(own),
            booked_on: entry.booked_on,
            value_on: entry.value_on,
            customer_ref: entry.reference.or(entry.cheque),
            bank_ref: entry.id,
            code: entry.code,
            counterparty: entry.name,
            memo: entry.memo,
            reversal: entry.corrects.map(|original| Reversal {
                kind: ReversalKind::Reversed,
                original: Some(original),
                original_on: None,
            }),
            details: Vec::new(),
            line: entry.line,
        }));
        Ok(())
    }

    fn end_statement(&mut self) {
        let Some(mut draft) = self.statement.take() else {
            return;
        };
        draft.settle();
        if !draft.opened {
            (self.sink)(Item::Open(Statement {
                closing: None,
                ..draft.head.clone()
            }));
        }
        (self.sink)(Item::Close(draft.head));
        self.statements += 1;
    }

    fn end_status(&mut self) {
        if self.status.severity == "ERROR" && self.status.error.is_none() {
            let (code, message) = (clip(&self.status.code), clip(&self.status.message));
            self.status.error = Some(format!("the bank answered with error {code} {message:?}"));
        }
    }

    /// What a file says that holds no statement, or more than statements.
    fn end(self, tags: &Tags<'_>) -> Result<(), Defect> {
        let investment = "an investment statement states securities and is no bank statement";
        if self.statements > 0 {
            let remark = |code, found: String| Item::Defect(Defect::new(code, found));
            if let Some(error) = self.status.error {
                (self.sink)(remark(DefectCode::Gap, error + "; a statement is missing"));
            }
            if self.investment {
                (self.sink)(remark(DefectCode::UnknownFormat, investment.to_owned()));
            }
            return Ok(());
        }
        if self.investment {
            return Err(Defect::new(DefectCode::UnknownFormat, investment));
        }
        let found = self.status.error.unwrap_or_else(|| {
            "the file holds no statement of a bank account or card (STMTRS, CCSTMTRS)".to_owned()
        });
        Err(tags.defect(DefectCode::Malformed, found))
    }
}

fn nested(name: &str, tags: &Tags<'_>) -> Defect {
    let found = format!("<{name}> stands where it may not");
    tags.defect(DefectCode::Malformed, found)
}

#[cfg(test)]
mod tests;
