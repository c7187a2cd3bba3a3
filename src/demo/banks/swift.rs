//! MT940: one message an account, one file a day.
//!
//! `:61:` carries the reference as customer reference and the bank's own id after `//`; `:86:` is
//! plain ASCII, inside the SWIFT character set.

use crate::base::Day;
use crate::demo::books::{Statement, Yuan};

/// The file of a business day: messages ended by `-`, lines by CR LF.
pub(in crate::demo) fn file(statements: &[Statement<'_>]) -> String {
    statements.iter().map(message).collect()
}

fn message(statement: &Statement<'_>) -> String {
    let Statement {
        book,
        number,
        day,
        previous,
        opening,
        closing,
        entries,
        version: _,
    } = statement;
    let today = short(*day);
    let mut lines = vec![
        format!(":20:{today}{}", tail(&book.account_id)),
        format!(":25:{}", book.account_id),
        format!(":28C:{number:05}/001"),
        format!(
            ":60F:{}{}CNY{}",
            side(*opening),
            short(*previous),
            Yuan(opening.abs(), ',')
        ),
    ];
    for entry in *entries {
        let (mark, amount) = (side(entry.amount), Yuan(entry.amount.abs(), ','));
        let (label, reference) = (entry.label.as_str(), &entry.reference);
        let month_day = &today[2..];
        // What the standard has for no reference.
        let references = match (reference.as_str(), entry.id.as_str()) {
            ("", "") => "NONREF".to_owned(),
            (reference, id) => format!("{reference}//{id}"),
        };
        lines.push(format!(
            ":61:{today}{month_day}{mark}{amount}N{label}{references}"
        ));
        lines.push(
            format!(":86:{} {reference}", entry.memo)
                .trim_end()
                .to_owned(),
        );
    }
    lines.push(format!(
        ":62F:{}{today}CNY{}",
        side(*closing),
        Yuan(closing.abs(), ',')
    ));
    lines.push("-".to_owned());
    lines.join("\r\n") + "\r\n"
}

fn side(fen: i64) -> char {
    if fen < 0 { 'D' } else { 'C' }
}

/// The last eight digits tell the simulator's accounts apart; with the day they fit `:20:`.
fn tail(account: &str) -> &str {
    account
        .get(account.len().saturating_sub(8)..)
        .unwrap_or(account)
}

/// `YYMMDD`.
fn short(day: Day) -> String {
    day.to_string().replace('-', "").split_off(2)
}
