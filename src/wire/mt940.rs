//! SWIFT MT940 customer statements and MT942 interim reports: a line scanner.
//!
//! A file is a run of messages, with or without `{1:}{2:}{4:` blocks and `-` trailers; each
//! message, also each page of a `60M`/`62M` chain, is a statement of its own. A line that begins
//! with a known tag starts a field; any other line continues the field before it (banks wrap times
//! such as `:12:11` to the head of a line, so an unknown tag is text).
//!
//! Invariants: one entry per `:61:`; `:86:` and `:NS:` of an entry are kept verbatim as its memo,
//! line breaks included; a `:61:` or balance that cannot be read refuses the file.
//! Absent on purpose: reading the structure of `:86:`, which has a dialect per bank; only the name
//! in the German `?32`/`?33` subfields is taken, as counterparty. An entry without entry date is
//! booked on its value date. Value dates of a 30/360 calendar (30 February) become the month's last
//! day, with a remark.

use rust_decimal::Decimal;

use super::mt_field::{balance, declared, floor_currency, report_day, statement_line};
use super::verify::is_booked;
use super::xml::clip;
use super::{Entry, Item, MEMO_MAX_BYTES, Sink, Statement};
use crate::base::{Day, Defect, DefectCode};

/// Tags that start a field; longest first where one is the head of another.
const TAGS: [&str; 22] = [
    "20", "21", "25P", "25", "28C", "28D", "28", "60F", "60M", "61", "62F", "62M", "64", "65",
    "86", "90C", "90D", "13D", "13", "34F", "NS", "940",
];

/// Splits a line into tag and text if it starts a field.
pub(crate) fn field_of(line: &str) -> Option<(&'static str, &str)> {
    let rest = line.strip_prefix(':')?;
    TAGS.iter().find_map(|tag| {
        rest.strip_prefix(tag)
            .and_then(|rest| rest.strip_prefix(':'))
            .map(|text| (*tag, text))
    })
}

/// Reads one file.
///
/// # Errors
/// The defect that refuses it.
pub(crate) fn read(text: &str, sink: &mut Sink<'_>) -> Result<(), Defect> {
    let mut scanner = Scanner {
        sink,
        message: None,
        field: None,
        messages: 0,
    };
    for (number, line) in (1_u64..).zip(text.split('\n')) {
        scanner.line(clean(line), number)?;
    }
    scanner.end_message()?;
    if scanner.messages == 0 {
        let found = "the file holds no field of an MT940 or MT942 message";
        return Err(Defect::new(DefectCode::Malformed, found));
    }
    Ok(())
}

/// A line without its return, and without the control characters some banks frame messages with.
fn clean(line: &str) -> &str {
    line.strip_suffix('\r')
        .unwrap_or(line)
        .trim_start_matches(['\u{1}', '\u{2}', '\u{feff}'])
}

struct Scanner<'f, 's> {
    sink: &'f mut Sink<'s>,
    message: Option<Message>,
    field: Option<Field>,
    messages: u64,
}

struct Field {
    tag: &'static str,
    text: String,
    line: u64,
}

/// A message being read.
#[derive(Default)]
struct Message {
    head: Statement,
    announced: bool,
    entry: Option<Entry>,
    interim: bool,
    closed: bool,
    trailer: bool,
    last_line: u64,
    /// Number and sum each way: of all entries, of booked ones.
    totals: [[(u64, Decimal); 2]; 2],
    reported_on: Option<Day>,
    first_booked: Option<Day>,
    declared: [Option<(u64, Decimal)>; 2],
}

impl Scanner<'_, '_> {
    fn line(&mut self, line: &str, number: u64) -> Result<(), Defect> {
        if let Some(blocks) = line.strip_prefix("{1:") {
            self.end_message()?;
            self.message = Some(self.new_message(number));
            if let Some((_, rest)) = blocks.split_once("{4:") {
                if blocks.contains("{2:O942") || blocks.contains("{2:I942") {
                    self.message_at(number).interim = true;
                }
                return if rest.is_empty() {
                    Ok(())
                } else {
                    self.line(rest, number)
                };
            }
            return Ok(());
        }
        if is_trailer(line) {
            self.end_field()?;
            if let Some(message) = &mut self.message {
                message.trailer = true;
            }
            return Ok(());
        }
        let known = field_of(line).filter(|(tag, text)| !self.is_wrapped_time(tag, text));
        let Some((tag, text)) = known else {
            return self.continuation(line, number);
        };
        self.end_field()?;
        if tag == "25"
            && self
                .message
                .as_ref()
                .is_some_and(|message| message.announced)
        {
            return self.stray_account(line, number);
        }
        if tag == "20" && self.message.as_ref().is_some_and(|m| !m.is_bare()) {
            self.end_message()?;
        }
        self.message_at(number);
        self.field = Some(Field {
            tag,
            text: text.to_owned(),
            line: number,
        });
        Ok(())
    }

    /// Whether a tag of two digits is the middle of a time that a bank wrapped inside `:86:`: the
    /// `:20:15` of `18:20:15`.
    fn is_wrapped_time(&self, tag: &str, text: &str) -> bool {
        let in_memo = self.field.as_ref().is_some_and(|field| field.tag == "86")
            && self
                .message
                .as_ref()
                .is_some_and(|message| message.entry.is_some() && !message.closed);
        let seconds = text.len() >= 2 && text.bytes().take(2).all(|b| b.is_ascii_digit());
        let ends = text
            .chars()
            .nth(2)
            .is_none_or(|c| !c.is_ascii_alphanumeric() && c != '/');
        in_memo
            && tag.len() == 2
            && matches!(tag, "13" | "20" | "21" | "25" | "28")
            && seconds
            && ends
    }

    fn continuation(&mut self, line: &str, number: u64) -> Result<(), Defect> {
        let Some(field) = &mut self.field else {
            return Ok(());
        };
        if field.text.len() + line.len() > MEMO_MAX_BYTES {
            let found = format!(
                "field :{}: is longer than {MEMO_MAX_BYTES} bytes (limit MEMO_MAX_BYTES)",
                field.tag
            );
            return Err(Defect::new(DefectCode::TooLarge, found).line(number));
        }
        field.text.push('\n');
        field.text.push_str(line);
        Ok(())
    }

    /// A second `:25:` behind an entry is a broken `:86:`: its text stays with the entry.
    fn stray_account(&mut self, line: &str, number: u64) -> Result<(), Defect> {
        let found = "a second :25: inside the message; its text is kept as the entry's memo";
        (self.sink)(Item::Defect(
            Defect::new(DefectCode::Malformed, found)
                .line(number)
                .column(":25:"),
        ));
        self.field = Some(Field {
            tag: "86",
            text: line.to_owned(),
            line: number,
        });
        Ok(())
    }

    fn message_at(&mut self, number: u64) -> &mut Message {
        if self.message.is_none() {
            self.message = Some(self.new_message(number));
        }
        self.message.get_or_insert_default()
    }

    fn new_message(&mut self, number: u64) -> Message {
        Message {
            last_line: number,
            ..Message::default()
        }
    }

    fn end_field(&mut self) -> Result<(), Defect> {
        let (Some(field), Some(message)) = (self.field.take(), self.message.as_mut()) else {
            return Ok(());
        };
        message.last_line = field.line;
        let text = field.text.trim_end();
        let bad = |found: String| {
            let found = format!("{found} in {:?}", clip(text));
            Defect::new(DefectCode::Malformed, found)
                .line(field.line)
                .column(format!(":{}:", field.tag))
        };
        let remark = match field.tag {
            "25" | "25P" => message.set_account(text),
            "28C" | "28" | "28D" => message.set_number(text),
            "60F" | "60M" | "62F" | "62M" => message.set_balance(field.tag, text).map_err(bad)?,
            "13D" => message.set_reported(text),
            "34F" => message.set_floor(text),
            "90C" => message.set_declared(0, text),
            "90D" => message.set_declared(1, text),
            "61" => {
                if message.trailer {
                    let found =
                        "an entry stands behind the message's end; it is counted with the message";
                    let place = Defect::new(DefectCode::Malformed, found).line(field.line);
                    (self.sink)(Item::Defect(place.column(":61:")));
                }
                message.announce(self.sink);
                message
                    .start_entry(text, field.line, self.sink)
                    .map_err(bad)?
            }
            "86" | "NS" => message.add_memo(text),
            _ => None,
        };
        if let Some(remark) = remark {
            let code = match field.tag {
                "34F" | "90C" | "90D" => DefectCode::BadAmount,
                _ => DefectCode::BadDate,
            };
            let defect = Defect::new(code, remark).line(field.line);
            (self.sink)(Item::Defect(defect.column(format!(":{}:", field.tag))));
        }
        Ok(())
    }

    fn end_message(&mut self) -> Result<(), Defect> {
        self.end_field()?;
        let Some(mut message) = self.message.take() else {
            return Ok(());
        };
        if message.is_bare() {
            return Ok(());
        }
        self.messages += 1;
        message.announce(self.sink);
        message.flush_entry(self.sink);
        if !message.closed && !message.interim && message.head.opening.is_some() {
            let found = "the message ends without a closing balance :62F: or :62M:";
            let defect = Defect::new(DefectCode::Truncated, found).line(message.last_line);
            (self.sink)(Item::Defect(defect.column(":62F:")));
        }
        if let Some(day) = message.reported_on {
            let first = message.first_booked.unwrap_or(day);
            message.head.period = (first <= day).then_some((first, day));
        }
        if let Some(defect) = message.check_declared() {
            (self.sink)(Item::Defect(defect));
        }
        (self.sink)(Item::Close(message.head));
        Ok(())
    }
}

impl Message {
    /// Whether nothing has been read into it but an envelope or a reference.
    fn is_bare(&self) -> bool {
        !self.announced
            && self.head.account.is_none()
            && self.head.number.is_none()
            && self.head.opening.is_none()
            && self.head.closing.is_none()
            && self.declared == [None; 2]
    }

    fn set_account(&mut self, text: &str) -> Option<String> {
        self.head.account = super::amount::some_text(text.lines().next().unwrap_or_default());
        None
    }

    fn set_number(&mut self, text: &str) -> Option<String> {
        self.head.number = super::amount::some_text(text);
        let page = text.trim().rsplit_once('/').map(|(_, page)| page.parse());
        self.head.pages = page.and_then(Result::ok).map(|page| (page, page));
        None
    }

    fn set_balance(&mut self, tag: &str, text: &str) -> Result<Option<String>, String> {
        let scanned = balance(text.lines().next().unwrap_or_default(), tag)?;
        if self.head.currency.is_none() {
            self.head.currency = super::amount::some_text(&scanned.value.currency);
        }
        if tag.starts_with("60") {
            self.head.opening = Some(scanned.value.balance);
        } else {
            self.head.closing = Some(scanned.value.balance);
            self.closed = true;
        }
        Ok(scanned.remark)
    }

    /// `:13D:` says when an MT942 was made. The report covers its booked entries up to that day, as
    /// the bank's own clock shows it.
    fn set_reported(&mut self, text: &str) -> Option<String> {
        self.interim = true;
        self.reported_on = report_day(text);
        (self.reported_on.is_none()).then(|| format!("{:?} is not YYMMDDhhmm±hhmm", clip(text)))
    }

    /// `:34F:` names the currency of an MT942, which has no balances, and the amount below which
    /// entries are left out: what is reported is never the whole.
    fn set_floor(&mut self, text: &str) -> Option<String> {
        self.interim = true;
        let currency = floor_currency(text);
        if self.head.currency.is_none() {
            self.head.currency = currency.map(str::to_owned);
        }
        (currency.is_none()).then(|| format!("{:?} is no floor limit", clip(text)))
    }

    fn set_declared(&mut self, side: usize, text: &str) -> Option<String> {
        self.interim = true;
        self.declared[side] = declared(text);
        (self.declared[side].is_none()).then(|| format!("{:?} is no declared total", clip(text)))
    }

    fn announce(&mut self, sink: &mut Sink<'_>) {
        if !self.announced {
            self.announced = true;
            self.head.format = if self.interim { "mt942" } else { "mt940" }.to_owned();
            sink(Item::Open(self.head.clone()));
        }
    }

    fn start_entry(
        &mut self,
        text: &str,
        line: u64,
        sink: &mut Sink<'_>,
    ) -> Result<Option<String>, String> {
        self.flush_entry(sink);
        let (first, supplement) = text.split_once('\n').unwrap_or((text, ""));
        let currency = self.head.currency.clone().unwrap_or_default();
        let scanned = statement_line(first.trim_end(), &currency, line)?;
        let mut entry = scanned.value;
        supplement.trim_end().clone_into(&mut entry.memo);
        let side = usize::from(entry.amount < Decimal::ZERO);
        let booked = usize::from(is_booked(&entry));
        // Of all entries, and of the booked ones among them.
        for totals in &mut self.totals[..=booked] {
            totals[side].0 += 1;
            totals[side].1 = totals[side]
                .1
                .checked_add(entry.amount.abs())
                .ok_or_else(|| "the sum of the entries overflows".to_owned())?;
        }
        if is_booked(&entry) {
            self.first_booked = self.first_booked.into_iter().chain(entry.booked_on).min();
        }
        self.entry = Some(entry);
        Ok(scanned.remark)
    }

    /// `:86:` and `:NS:` belong to the `:61:` before them; elsewhere they describe the message.
    fn add_memo(&mut self, text: &str) -> Option<String> {
        let entry = self
            .entry
            .as_mut()
            .filter(|_| !self.closed || self.trailer)?;
        if entry.memo.len() + text.len() >= MEMO_MAX_BYTES || text.is_empty() {
            return None;
        }
        if !entry.memo.is_empty() {
            entry.memo.push('\n');
        }
        entry.memo.push_str(text);
        entry.counterparty = entry.counterparty.take().or_else(|| subfield_name(text));
        None
    }

    fn flush_entry(&mut self, sink: &mut Sink<'_>) {
        if let Some(entry) = self.entry.take() {
            sink(Item::Entry(entry));
        }
    }

    fn check_declared(&self) -> Option<Defect> {
        for (side, tag) in ["90C", "90D"].into_iter().enumerate() {
            // Banks count expected entries or leave them out; both agree.
            let either = self.totals.map(|totals| totals[side]);
            let (count, sum) = either[0];
            if let Some(said) = self.declared[side].filter(|said| !either.contains(said)) {
                let found = format!(
                    "declares {} entries of {}, {count} of {sum} are present",
                    said.0, said.1
                );
                return Some(
                    Defect::new(DefectCode::DeclaredTotals, found).column(format!(":{tag}:")),
                );
            }
        }
        None
    }
}

/// `-`, `-}`, `-XXX`, `-` and a control character: the end of a message's text block.
fn is_trailer(line: &str) -> bool {
    let Some(rest) = line.trim_end().strip_prefix('-') else {
        return false;
    };
    rest.starts_with('}') || rest.chars().all(|c| c == 'X' || c.is_control())
}

/// The name in the subfields `?32` and `?33` of a German-style `:86:`.
fn subfield_name(text: &str) -> Option<String> {
    let joined: String = text.lines().collect();
    if !joined.as_bytes().get(..3)?.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut name = String::new();
    for part in joined.split('?').skip(1) {
        if let Some(value) = part.strip_prefix("32").or_else(|| part.strip_prefix("33")) {
            name.push_str(value);
        }
    }
    super::amount::some_text(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_tags_only_start_a_field() {
        assert_eq!(field_of(":28C:1/1"), Some(("28C", "1/1")));
        assert_eq!(field_of(":12:11"), None);
        assert_eq!(field_of(":26:37 Fo?25lgenr. 007"), None);
        assert!(
            is_trailer("-") && is_trailer("-}{5:}") && is_trailer("-XXX") && is_trailer("-\u{3}")
        );
        assert!(!is_trailer("- Foo") && !is_trailer("-8A1B"));
    }

    #[test]
    fn a_wrapped_time_stays_in_the_memo_and_pages_are_statements() {
        let text = ":20:A\n:25:1\n:28C:1/1\n:60F:C260101CNY1,\n:61:2601020102C1,NTRF\n:86:刷卡 18\n:20:15 门店\n\
                    :62M:C260102CNY2,\n-\n:20:A\n:25:1\n:28C:1/2\n:60M:C260102CNY2,\n:62F:C260102CNY2,\n";
        let mut closed = Vec::new();
        let mut memos = Vec::new();
        read(text, &mut |item| match item {
            Item::Close(statement) => closed.push(statement.number.unwrap()),
            Item::Entry(entry) => memos.push(entry.memo),
            Item::Defect(defect) => panic!("{defect}"),
            _ => {}
        })
        .unwrap();
        assert_eq!(closed, ["1/1", "1/2"]);
        assert_eq!(memos, ["刷卡 18\n:20:15 门店"]);
    }

    #[test]
    fn a_name_is_joined_over_wrapped_lines() {
        let text = "166?00GUTSCHRIFT?20EREF?32KARL\n?33        KAUF\nMANN?70x";
        assert_eq!(subfield_name(text).as_deref(), Some("KARL        KAUFMANN"));
        assert_eq!(subfield_name("FACTUUR ?32x"), None);
    }
}
