//! camt.053 in versions 02 and 08: one document a day, one `Stmt` an account.
//!
//! The versions differ in the shape of `Sts` and of the party, as real feeds do (`feeds.md` §1.2).
//! `EndToEndId` is the reference, `AcctSvcrRef` the bank's own id.

use std::fmt::Write as _;

use crate::base::Day;
use crate::demo::books::{Bank, Entry, Statement, Yuan};

/// The document of a business day.
pub(in crate::demo) fn document(bank: Bank, day: Day, statements: &[Statement<'_>]) -> String {
    let version = if bank == Bank::CamtEight { "08" } else { "02" };
    let mut out = String::with_capacity(2_000 * (statements.len() + 1));
    let compact = compact(day);
    put(
        &mut out,
        format_args!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.{version}\">\n\
         <BkToCstmrStmt>\n<GrpHdr><MsgId>{}-{compact}</MsgId>\
         <CreDtTm>{day}T18:30:00+08:00</CreDtTm></GrpHdr>\n",
            bank.code()
        ),
    );
    for statement in statements {
        account(&mut out, bank, statement);
    }
    out.push_str("</BkToCstmrStmt>\n</Document>\n");
    out
}

fn account(out: &mut String, bank: Bank, statement: &Statement<'_>) {
    let Statement {
        book,
        number,
        version,
        day,
        previous,
        opening,
        closing,
        entries,
    } = statement;
    let account = &book.account_id;
    let hour = 18 + version;
    put(
        out,
        format_args!(
            "<Stmt><Id>{account}-{number:04}</Id><ElctrncSeqNb>{number}</ElctrncSeqNb>\
         <CreDtTm>{day}T{hour}:30:00+08:00</CreDtTm>\n\
         <FrToDt><FrDtTm>{day}T00:00:00+08:00</FrDtTm><ToDtTm>{day}T23:59:59+08:00</ToDtTm></FrToDt>\n\
         <Acct><Id><Othr><Id>{account}</Id></Othr></Id><Ccy>CNY</Ccy><Nm>{}</Nm></Acct>\n",
            book.holder
        ),
    );
    balance(out, "OPBD", *opening, *previous);
    balance(out, "CLBD", *closing, *day);
    summary(out, entries);
    for entry in *entries {
        line(out, bank, *day, entry);
    }
    out.push_str("</Stmt>\n");
}

fn balance(out: &mut String, kind: &str, fen: i64, day: Day) {
    put(
        out,
        format_args!(
            "<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp><Amt Ccy=\"CNY\">{}</Amt>\
         <CdtDbtInd>{}</CdtDbtInd><Dt><Dt>{day}</Dt></Dt></Bal>\n",
            Yuan(fen.abs(), '.'),
            side(fen)
        ),
    );
}

fn summary(out: &mut String, entries: &[Entry]) {
    let sums = |credit: bool| {
        let side = entries.iter().filter(|e| (e.amount >= 0) == credit);
        side.fold((0, 0), |(n, sum), e| (n + 1, sum + e.amount.abs()))
    };
    let (credits, in_fen) = sums(true);
    let (debits, out_fen) = sums(false);
    put(
        out,
        format_args!(
            "<TxsSummry><TtlCdtNtries><NbOfNtries>{credits}</NbOfNtries><Sum>{}</Sum></TtlCdtNtries>\
         <TtlDbtNtries><NbOfNtries>{debits}</NbOfNtries><Sum>{}</Sum></TtlDbtNtries></TxsSummry>\n",
            Yuan(in_fen, '.'),
            Yuan(out_fen, '.')
        ),
    );
}

fn line(out: &mut String, bank: Bank, day: Day, entry: &Entry) {
    let new = bank == Bank::CamtEight;
    let (status, amount) = (
        if new { "<Cd>BOOK</Cd>" } else { "BOOK" },
        Yuan(entry.amount.abs(), '.'),
    );
    let detail = if new {
        format!(
            "<Amt Ccy=\"CNY\">{amount}</Amt><CdtDbtInd>{}</CdtDbtInd>",
            side(entry.amount)
        )
    } else {
        format!("<AmtDtls><TxAmt><Amt Ccy=\"CNY\">{amount}</Amt></TxAmt></AmtDtls>")
    };
    let [ntry_ref, bank_ref, end_to_end] = [
        ("NtryRef", &entry.id),
        ("AcctSvcrRef", &entry.id),
        ("EndToEndId", &entry.reference),
    ]
    .map(|(tag, text)| match text.as_str() {
        "" => String::new(),
        text => format!("<{tag}>{text}</{tag}>"),
    });
    let refs = match format!("{bank_ref}{end_to_end}").as_str() {
        "" => String::new(),
        refs => format!("<Refs>{refs}</Refs>"),
    };
    let role = if entry.amount < 0 { "Cdtr" } else { "Dbtr" };
    let name = format!("<Nm>{}</Nm>", entry.counterparty());
    let party = if new {
        format!("<Pty>{name}</Pty>")
    } else {
        name
    };
    put(
        out,
        format_args!(
            "<Ntry>{ntry_ref}<Amt Ccy=\"CNY\">{amount}</Amt><CdtDbtInd>{}</CdtDbtInd>\
         <Sts>{status}</Sts><BookgDt><Dt>{day}</Dt></BookgDt><ValDt><Dt>{day}</Dt></ValDt>\
         {bank_ref}<BkTxCd><Prtry><Cd>{}</Cd></Prtry></BkTxCd>\
         <NtryDtls><TxDtls>{refs}\
         {detail}<RltdPties><{role}>{party}</{role}></RltdPties></TxDtls></NtryDtls>\
         <AddtlNtryInf>{}</AddtlNtryInf></Ntry>\n",
            side(entry.amount),
            entry.label.as_str(),
            entry.memo,
        ),
    );
}

fn side(fen: i64) -> &'static str {
    if fen < 0 { "DBIT" } else { "CRDT" }
}

fn compact(day: Day) -> String {
    day.to_string().replace('-', "")
}

/// Writing to a `String` cannot fail.
fn put(out: &mut String, args: std::fmt::Arguments<'_>) {
    out.write_fmt(args).expect("a String takes any text");
}
