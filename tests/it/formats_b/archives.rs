//! Archives that lie, nest, hide or grow: each is refused with its reason, in bounded memory.

use std::io::{Cursor, Write as _};

use jintuo::base::DefectCode;
use jintuo::wire::{Format, MEMBERS_MAX, RATIO_MAX, Verdict, inspect, parse};
use zip::write::{SimpleFileOptions, ZipWriter};

use super::fixture;

fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        let options = SimpleFileOptions::default();
        writer.start_file(*name, options).expect("a member");
        writer.write_all(bytes).expect("written");
    }
    writer.finish().expect("an archive").into_inner()
}

/// An archive written to a pipe, as servers do: sizes stand behind each member.
fn streamed(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut writer = ZipWriter::new_stream(Vec::new());
    writer
        .start_file(name, SimpleFileOptions::default())
        .expect("a member");
    writer.write_all(bytes).expect("written");
    writer.finish().expect("an archive").into_inner()
}

/// Changes bytes at an offset behind each of the signatures.
fn patched(mut bytes: Vec<u8>, signature: &[u8], offset: usize, with: &[u8]) -> Vec<u8> {
    let places: Vec<usize> = (0..bytes.len() - signature.len())
        .filter(|at| bytes[*at..].starts_with(signature))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at + offset..at + offset + with.len()].copy_from_slice(with);
    }
    bytes
}

const LOCAL: &[u8] = b"PK\x03\x04";
const CENTRAL: &[u8] = b"PK\x01\x02";

fn refusal(bytes: &[u8]) -> (Option<DefectCode>, String) {
    let (statements, defects) = parse(Format::Zip, bytes);
    assert!(statements.is_empty());
    let defect = defects.last().expect("a reason");
    (Some(defect.code), defect.found.clone())
}

#[test]
fn an_archive_written_to_a_pipe_is_read() {
    let bytes = streamed("20260605_trade.csv", &fixture("alipay/trade.csv"));
    let (statements, defects) = parse(Format::Zip, bytes.as_slice());
    assert_eq!(statements.len(), 1, "{defects:?}");
}

#[test]
fn names_are_read_in_gbk_whatever_the_flag_says() {
    let bytes = patched(
        archive(&[("abcd.txt", b"no bill")]),
        LOCAL,
        30,
        b"\xd5\xcb\xb5\xa5",
    );
    let bytes = patched(bytes, CENTRAL, 46, b"\xd5\xcb\xb5\xa5");
    let (code, found) = refusal(&bytes);
    assert_eq!(code, Some(DefectCode::UnknownFormat));
    assert!(found.contains("账单.txt"), "{found}");
}

#[test]
fn archives_are_refused_with_their_reason() {
    let bill = fixture("alipay/trade.csv");
    let plain = archive(&[("a.csv", &bill)]);
    let bomb = vec![b'0'; 8 * 1024 * 1024];
    let many: Vec<String> = (0..=MEMBERS_MAX).map(|at| format!("{at}.csv")).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|n| (n.as_str(), b"".as_slice())).collect();
    let half = plain.len() / 2;
    let cases: Vec<(&str, Vec<u8>, DefectCode)> = vec![
        (
            "nested",
            archive(&[("b.zip", &plain)]),
            DefectCode::Forbidden,
        ),
        (
            "nested without its name",
            archive(&[("b.csv", &plain)]),
            DefectCode::Forbidden,
        ),
        (
            "upward",
            archive(&[("../a.csv", &bill)]),
            DefectCode::Forbidden,
        ),
        (
            "upward, backslash",
            archive(&[("x\\..\\a.csv", &bill)]),
            DefectCode::Forbidden,
        ),
        (
            "rooted",
            archive(&[("/a.csv", &bill)]),
            DefectCode::Forbidden,
        ),
        (
            "drive",
            archive(&[("C:a.csv", &bill)]),
            DefectCode::Forbidden,
        ),
        (
            "password",
            patched(patched(plain.clone(), LOCAL, 6, &[1]), CENTRAL, 8, &[1]),
            DefectCode::Forbidden,
        ),
        ("bomb", archive(&[("a.csv", &bomb)]), DefectCode::TooLarge),
        ("members", archive(&many), DefectCode::TooLarge),
        ("cut", plain[..half].to_vec(), DefectCode::Truncated),
        (
            "directory lies about the size",
            patched(plain.clone(), CENTRAL, 24, &[1, 0, 0, 0]),
            DefectCode::Malformed,
        ),
        (
            "both headers lie about the size",
            patched(
                patched(plain.clone(), LOCAL, 22, &[9, 0, 0, 0]),
                CENTRAL,
                24,
                &[9, 0, 0, 0],
            ),
            DefectCode::Malformed,
        ),
        (
            "checksum",
            patched(
                patched(plain.clone(), LOCAL, 14, &[1, 2]),
                CENTRAL,
                16,
                &[1, 2],
            ),
            DefectCode::Malformed,
        ),
        ("empty", archive(&[]), DefectCode::UnknownFormat),
        (
            "no bill",
            archive(&[("a.txt", b"hello")]),
            DefectCode::UnknownFormat,
        ),
    ];
    for (name, bytes, code) in cases {
        let (found, words) = refusal(&bytes);
        assert_eq!(found, Some(code), "{name}: {words}");
        let inspected = inspect("f", &bytes);
        assert_eq!(inspected[0].verdict, Verdict::Refused, "{name}");
    }
}

#[test]
fn a_password_is_named() {
    let bytes = archive(&[("a.csv", b"x")]);
    let bytes = patched(patched(bytes, LOCAL, 6, &[1]), CENTRAL, 8, &[1]);
    assert!(refusal(&bytes).1.contains("password"));
}

/// A declared size within the limits does not let more out than it says.
#[test]
fn a_bomb_that_declares_little_is_stopped_by_what_it_unpacks() {
    let bomb = vec![b'0'; 8 * 1024 * 1024];
    let packed = archive(&[("a.csv", &bomb)]);
    assert!((packed.len() as u64) * RATIO_MAX < bomb.len() as u64);
    let small = 4_000_u32.to_le_bytes();
    let lying = patched(patched(packed, LOCAL, 22, &small), CENTRAL, 24, &small);
    let (code, words) = refusal(&lying);
    assert!(
        matches!(code, Some(DefectCode::Malformed | DefectCode::TooLarge)),
        "{words}"
    );
}
