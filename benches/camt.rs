//! The program behind `camt.py`: writes camt.053 files of any length and reads them, once through the
//! product and once through bare quick-xml, so that a script can measure both.
//!
//! `camt write BYTES [STATEMENTS]` (to stdout; each statement is of an account of its own), `camt stream FILE`, `camt bare FILE`. Without arguments, as under
//! `cargo bench`, it says how to run it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};

use jintuo::wire::{Format, Item, stream};
use quick_xml::events::Event;

/// How much of a file is read at a time, in both ways of reading.
const BUFFER_BYTES: usize = 256 * 1024;
/// Every entry is of one yuan and some fen; this many differ before they repeat.
const FEN_CYCLE: u64 = 97;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut out = BufWriter::new(io::stdout().lock());
    match arguments.as_slice() {
        ["write", bytes] => write(&mut out, number(bytes)?, 1)?,
        ["write", bytes, statements] => write(&mut out, number(bytes)?, number(statements)?)?,
        ["stream", file] => {
            let (entries, closed) = through_the_product(open(file)?)?;
            writeln!(out, "{entries} entries in {closed} statements")?;
        }
        ["bare", file] => writeln!(out, "{} tags", bare(open(file)?)?)?,
        _ => writeln!(out, "run benches/camt.py")?,
    }
    out.flush()
}

fn number(text: &str) -> io::Result<u64> {
    text.parse().map_err(io::Error::other)
}

fn open(file: &str) -> io::Result<impl BufRead> {
    Ok(BufReader::with_capacity(BUFFER_BYTES, File::open(file)?))
}

fn through_the_product(reader: impl BufRead) -> io::Result<(u64, u64)> {
    let (mut entries, mut closed, mut refused) = (0, 0, None);
    stream(Format::Camt, reader, &mut |item| match item {
        Item::Entry(_) => entries += 1,
        Item::Close(_) => closed += 1,
        Item::Refused(defect) => refused = Some(defect.to_string()),
        Item::Open(_) | Item::Defect(_) => {}
    });
    match refused {
        Some(why) => Err(io::Error::other(why)),
        None => Ok((entries, closed)),
    }
}

/// Every event, nothing done with it.
fn bare(reader: impl BufRead) -> io::Result<u64> {
    let mut reader = quick_xml::Reader::from_reader(reader);
    let mut buffer = Vec::new();
    let mut tags = 0;
    loop {
        buffer.clear();
        match reader
            .read_event_into(&mut buffer)
            .map_err(io::Error::other)?
        {
            Event::Start(_) => tags += 1,
            Event::Eof => return Ok(tags),
            _ => {}
        }
    }
}

/// Statements of about so many bytes together that prove themselves. Entries look like those of a bank: dated,
/// referenced, with one payment's details each.
fn write(out: &mut impl Write, bytes: u64, statements: u64) -> io::Result<()> {
    let entry = |at: u64| {
        let fen = at % FEN_CYCLE;
        format!(
            "      <Ntry>\n        <NtryRef>{at}</NtryRef>\n        <Amt Ccy=\"CNY\">1.{fen:02}</Amt>\n        \
             <CdtDbtInd>CRDT</CdtDbtInd>\n        <Sts><Cd>BOOK</Cd></Sts>\n        \
             <BookgDt><Dt>2026-06-05</Dt></BookgDt>\n        <ValDt><Dt>2026-06-05</Dt></ValDt>\n        \
             <AcctSvcrRef>R{at:012}</AcctSvcrRef>\n        <BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>RCDT</Cd>\
             <SubFmlyCd>ESCT</SubFmlyCd></Fmly></Domn></BkTxCd>\n        <NtryDtls><TxDtls>\n          \
             <Refs><EndToEndId>E{at:012}</EndToEndId></Refs>\n          \
             <RltdPties><Dbtr><Pty><Nm>示例家长</Nm></Pty></Dbtr></RltdPties>\n          \
             <RmtInf><Ustrd>学费 订单 {at}</Ustrd></RmtInf>\n        </TxDtls></NtryDtls>\n      </Ntry>\n"
        )
    };
    let one = entry(0).len() as u64;
    let entries = bytes / (one + 24);
    let balance = |kind: &str, fen: u64| {
        format!(
            "      <Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp><Amt Ccy=\"CNY\">{}.{:02}</Amt>\
             <CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>2026-06-05</Dt></Dt></Bal>\n",
            fen / 100,
            fen % 100
        )
    };
    writeln!(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.08\">\n  <BkToCstmrStmt>"
    )?;
    for statement in 0..statements {
        let span = entries * statement / statements..entries * (statement + 1) / statements;
        let fen: u64 = span.clone().map(|at| 100 + at % FEN_CYCLE).sum();
        let account = statement + 1;
        writeln!(
            out,
            "    <Stmt>\n      <Id>LONG</Id>\n      \
             <Acct><Id><Othr><Id>6217{account:015}</Id></Othr></Id><Ccy>CNY</Ccy></Acct>"
        )?;
        write!(out, "{}{}", balance("OPBD", 0), balance("CLBD", fen))?;
        for at in span {
            out.write_all(entry(at).as_bytes())?;
        }
        writeln!(out, "    </Stmt>")?;
    }
    writeln!(out, "  </BkToCstmrStmt>\n</Document>")
}
