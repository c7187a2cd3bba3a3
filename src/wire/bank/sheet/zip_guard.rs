//! What an `.xlsx` file may be made of, seen before anything of it is kept.
//!
//! Each part is inflated once and thrown away, so that sizes are what they are and not what a header
//! says. Invariants: at most [`PARTS_MAX`] parts; [`UNZIPPED_MAX_BYTES`] in all and
//! [`RATIO_MAX`] times the file; [`OTHER_PART_MAX_BYTES`] in a part that is neither a sheet nor the
//! table of strings, since styles grow in memory; no part differs from its declared size, no two
//! parts share a name; no part is encrypted. Names lead nowhere, as nothing is written to disk.

use std::io::{Cursor, Read};

use memchr::memmem;
use zip::ZipArchive;

use super::{broken, protected};
use crate::base::{Defect, DefectCode};
use crate::wire::xml::clip;

/// How many parts a workbook may have.
const PARTS_MAX: usize = 1_000;
/// How many bytes the parts may have when inflated.
const UNZIPPED_MAX_BYTES: u64 = 256 * 1024 * 1024;
/// How many times larger than its file a workbook may be when inflated.
const RATIO_MAX: u64 = 200;
/// Below this size the ratio does not count: small parts of white space inflate well.
const RATIO_FREE_BYTES: u64 = 4 * 1024 * 1024;
/// How many bytes a part may have that is neither a sheet nor the table of strings.
const OTHER_PART_MAX_BYTES: u64 = 2 * 1024 * 1024;
/// How many different strings the table of strings may announce.
const STRINGS_MAX: u64 = 4_000_000;
const CHUNK_BYTES: usize = 64 * 1024;

/// Whether the head of a file is a zip that begins with a part of a workbook.
pub(crate) fn recognises(head: &[u8]) -> bool {
    let Some(length) = head.get(26..28) else {
        return false;
    };
    let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
    let name = head.get(30..30 + length).unwrap_or_default();
    let parts: [&[u8]; 4] = [b"[Content_Types].xml", b"_rels/", b"xl/", b"docProps/"];
    head.starts_with(b"PK\x03\x04") && parts.iter().any(|part| name.starts_with(part))
}

/// Walks the whole archive.
///
/// # Errors `TRUNCATED`, `TOO_LARGE`, `FORBIDDEN`, `MALFORMED`.
pub(super) fn check(bytes: &[u8]) -> Result<(), Defect> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|e| {
        let found = format!(
            "the workbook's directory is missing or broken: {}",
            clip(&e.to_string())
        );
        Defect::new(DefectCode::Truncated, found)
    })?;
    if archive.len() > PARTS_MAX {
        let found = format!("the workbook has more than {PARTS_MAX} parts (limit PARTS_MAX)");
        return Err(Defect::new(DefectCode::TooLarge, found));
    }
    if archive.has_duplicate_names() {
        return Err(broken(&"two parts share a name"));
    }
    let ratio_max = (bytes.len() as u64).saturating_mul(RATIO_MAX);
    let mut left = UNZIPPED_MAX_BYTES.min(ratio_max.max(RATIO_FREE_BYTES));
    for at in 0..archive.len() {
        let mut part = match archive.by_index(at) {
            Ok(part) => part,
            Err(zip::result::ZipError::UnsupportedArchive(why)) if why.contains("assword") => {
                return Err(protected());
            }
            Err(e) => return Err(broken(&e)),
        };
        let name = part.name().map_err(|e| broken(&e))?.into_owned();
        if part.encrypted() {
            return Err(protected());
        }
        let declared = part.size();
        left -= inflate(&mut part, &name, declared, left)?;
    }
    Ok(())
}

/// The size of a part, which is its declared one.
fn inflate(part: &mut impl Read, name: &str, declared: u64, left: u64) -> Result<u64, Defect> {
    let lower = name.to_ascii_lowercase();
    let is_strings = lower.ends_with("sharedstrings.xml");
    let is_large = is_strings || lower.contains("worksheets/") || lower.contains("media/");
    let max = if is_large {
        left
    } else {
        left.min(OTHER_PART_MAX_BYTES)
    };
    let limit = if max == left {
        "UNZIPPED_MAX_BYTES, RATIO_MAX"
    } else {
        "OTHER_PART_MAX_BYTES"
    };
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut strings = Strings::default();
    let mut size = 0_u64;
    loop {
        let read = part.read(&mut chunk).map_err(|e| {
            let found = format!("part {:?} cannot be inflated: {e}", clip(name));
            Defect::new(DefectCode::Malformed, found)
        })?;
        if read == 0 {
            break;
        }
        size += read as u64;
        if size > declared {
            let found = format!(
                "part {:?} is larger than the {declared} bytes its header says",
                clip(name)
            );
            return Err(Defect::new(DefectCode::Forbidden, found));
        }
        if size > max {
            let found = format!(
                "part {:?} inflates to more than {max} bytes (limit {limit})",
                clip(name)
            );
            return Err(Defect::new(DefectCode::TooLarge, found));
        }
        if is_strings {
            strings.take(&chunk[..read], name)?;
        }
    }
    if size < declared {
        let found = format!(
            "part {:?} is smaller than the {declared} bytes its header says",
            clip(name)
        );
        return Err(Defect::new(DefectCode::Truncated, found));
    }
    Ok(size)
}

/// Looks for the number of strings a table announces, for which room would be made.
#[derive(Default)]
struct Strings {
    tail: Vec<u8>,
}

impl Strings {
    /// Room for `uniqueCount = "…"` across two chunks.
    const TAIL_BYTES: usize = 64;

    fn take(&mut self, chunk: &[u8], name: &str) -> Result<(), Defect> {
        if chunk.contains(&0) || self.tail.is_empty() && declares_other_charset(chunk) {
            let found = format!("part {:?} is not UTF-8", clip(name));
            return Err(Defect::new(DefectCode::BadEncoding, found));
        }
        self.tail.extend_from_slice(chunk);
        for at in memmem::find_iter(&self.tail, b"uniqueCount") {
            let value = self.tail[at..]
                .iter()
                .skip(b"uniqueCount".len())
                .take(Self::TAIL_BYTES - 11);
            let digits = value
                .skip_while(|b| !b.is_ascii_digit() && **b != b'>')
                .take_while(|b| b.is_ascii_digit());
            let count = digits.fold(0_u64, |n, b| n.saturating_mul(10) + u64::from(b - b'0'));
            if count > STRINGS_MAX {
                let found = format!(
                    "part {:?} announces more than {STRINGS_MAX} strings (limit STRINGS_MAX)",
                    clip(name)
                );
                return Err(Defect::new(DefectCode::TooLarge, found));
            }
        }
        let keep = self.tail.len().saturating_sub(Self::TAIL_BYTES);
        self.tail.drain(..keep);
        Ok(())
    }
}

/// Whether an XML declaration names a charset other than UTF-8.
fn declares_other_charset(head: &[u8]) -> bool {
    crate::wire::decode::declared_charset(head).is_some_and(|label| {
        !label.eq_ignore_ascii_case(b"utf-8") && !label.eq_ignore_ascii_case(b"utf8")
    })
}
