//! Reading in pieces of any size gives the same items, in every format, for whole files and for
//! damaged ones.

use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use jintuo::base::AmountUnit;
use jintuo::wire::{Assumptions, Format, Item, inspect, inspect_reader, sniff, stream_with};
use proptest::prelude::*;

use super::formats;

/// Hands out pieces of the sizes of a list, again and again.
struct Pieces<'b> {
    bytes: &'b [u8],
    sizes: &'b [usize],
    turn: usize,
    left: usize,
}

impl<'b> Pieces<'b> {
    fn new(bytes: &'b [u8], sizes: &'b [usize]) -> Pieces<'b> {
        Pieces {
            bytes,
            sizes,
            turn: 0,
            left: sizes[0],
        }
    }
}

impl BufRead for Pieces<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(&self.bytes[..self.left.min(self.bytes.len())])
    }

    fn consume(&mut self, amount: usize) {
        self.bytes = &self.bytes[amount..];
        self.left -= amount;
        if self.left == 0 {
            self.turn += 1;
            self.left = self.sizes[self.turn % self.sizes.len()];
        }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(into.len());
        into[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

fn items(format: Format, reader: impl BufRead) -> Vec<Item> {
    // With a unit, so that ICBC replies are read too.
    let settings = Assumptions {
        amount_unit: Some(AmountUnit::Yuan),
        ..Assumptions::default()
    };
    let mut items = Vec::new();
    stream_with(format, reader, &settings, &mut |item| items.push(item));
    items
}

fn assert_same(format: Format, bytes: &[u8], sizes: &[usize]) {
    let whole = items(format, bytes);
    for sizes in [&[1][..], &[7], &[64 * 1024], sizes] {
        let pieces = items(format, Pieces::new(bytes, sizes));
        assert_eq!(pieces, whole, "{format:?} in pieces of {sizes:?}");
    }
}

fn fixtures() -> Vec<(PathBuf, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/wire");
    let mut found = Vec::new();
    for source in std::fs::read_dir(root).expect("fixtures are there") {
        for file in source
            .expect("readable")
            .path()
            .read_dir()
            .into_iter()
            .flatten()
        {
            let path = file.expect("readable").path();
            if path
                .extension()
                .is_some_and(|extension| extension != "json")
            {
                found.push((path.clone(), std::fs::read(&path).expect("readable")));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_fixture_reads_alike_in_pieces_in_every_format() {
    for (path, bytes) in fixtures() {
        for format in formats() {
            assert_same(format, &bytes, &[3, 1, 200, 31]);
        }
        let name = path.display().to_string();
        let pieces = Pieces::new(&bytes, &[1]);
        assert_eq!(
            inspect_reader(&name, pieces),
            inspect(&name, &bytes),
            "{name}"
        );
    }
}

/// Longer than the head that is sniffed, with a character across its end.
#[test]
fn a_head_is_not_taken_for_the_whole() {
    let entry = "<Ntry><Amt Ccy=\"CNY\">1.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts>\
                 <AddtlNtryInf>学费</AddtlNtryInf></Ntry>";
    let body = entry.repeat(1_000);
    for pad in 0..3 {
        let text = format!(
            "<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.08\">{}<BkToCstmrStmt><Stmt>{body}\
             </Stmt></BkToCstmrStmt></Document>",
            " ".repeat(pad)
        );
        let found = inspect_reader("f", Pieces::new(text.as_bytes(), &[4_096, 5]));
        assert_eq!(
            (found[0].entries, found[0].credits.as_str()),
            (1_000, "1000.00")
        );
    }
}

/// A fixture with some of its bytes changed, left out or repeated.
fn damaged() -> impl Strategy<Value = (Vec<u8>, Vec<usize>)> {
    let files: Vec<Vec<u8>> = fixtures().into_iter().map(|(_, bytes)| bytes).collect();
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0..4_u8);
    (
        prop::sample::select(files),
        prop::collection::vec(change, 0..6),
        prop::collection::vec(1..500_usize, 1..8),
    )
        .prop_map(|(mut bytes, changes, sizes)| {
            for (at, byte, kind) in changes {
                if bytes.is_empty() {
                    break;
                }
                let at = at.index(bytes.len());
                match kind {
                    0 => bytes[at] = byte,
                    1 => drop(bytes.remove(at)),
                    2 => bytes.insert(at, byte),
                    _ => bytes.truncate(at),
                }
            }
            (bytes, sizes)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_files_read_alike_in_pieces_and_never_panic((bytes, sizes) in damaged()) {
        if let Some(format) = sniff(&bytes) {
            assert_same(format, &bytes, &sizes);
        }
        for format in formats() {
            prop_assert_eq!(
                items(format, Pieces::new(&bytes, &sizes)),
                items(format, bytes.as_slice())
            );
        }
        let pieces = Pieces::new(&bytes, &sizes);
        prop_assert_eq!(inspect_reader("f", pieces), inspect("f", &bytes));
    }
}
