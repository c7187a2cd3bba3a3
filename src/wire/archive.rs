//! ZIP archives that bills come in, opened behind hard limits.
//!
//! Invariants (`feeds.md` §4.17): at most [`ARCHIVE_MAX_BYTES`] packed, [`MEMBERS_MAX`] members,
//! [`UNPACKED_MAX_BYTES`] unpacked in all and [`RATIO_MAX`] times its packed size each; no absolute
//! name, `..` or link; no archive inside an archive; a password is named as such; local headers
//! must say what the directory says, and an unpacked size or checksum that differs refuses the
//! archive. Names are UTF-8 or GB18030, whatever the flag says, and are never used to write.

use std::io::{BufRead, Cursor, Read};

use super::decode;
use crate::base::{Defect, DefectCode};

/// The longest archive.
pub const ARCHIVE_MAX_BYTES: u64 = 32 * 1024 * 1024;
/// How many members an archive may have.
pub const MEMBERS_MAX: usize = 64;
/// How many bytes all members may have unpacked.
pub const UNPACKED_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// How many times larger a member may unpack than it is packed, past its first 64 KiB.
pub const RATIO_MAX: u64 = 200;
/// A member so small may unpack at any ratio.
const SMALL_BYTES: u64 = 64 * 1024;

/// A file of an archive.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// A text file of an archive.
pub(crate) struct Text {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// Whether bytes begin an archive that may hold bills: not an office file, which is a ZIP too.
pub(crate) fn recognises(head: &[u8]) -> bool {
    const LOCAL_HEADER_BYTES: usize = 30;
    if !head.starts_with(b"PK\x03\x04") || head.len() <= LOCAL_HEADER_BYTES {
        return false;
    }
    let office: [&[u8]; 3] = [b"[Content_Types].xml", b"xl/workbook", b"_rels/.rels"];
    !office
        .iter()
        .any(|name| memchr::memmem::find(head, name).is_some())
}

/// Unpacks an archive.
///
/// # Errors `TOO_LARGE` with the limit's name; `FORBIDDEN` for a password, a nested archive, a link
/// or a name that leads elsewhere; `TRUNCATED` without a directory; `MALFORMED` where headers lie.
pub(crate) fn unpack(reader: impl BufRead) -> Result<Vec<Member>, Defect> {
    let bytes = bounded(reader)?;
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes.as_slice())).map_err(|e| {
        let found = format!("the archive has no whole directory: {e}");
        Defect::new(DefectCode::Truncated, found)
    })?;
    if archive.len() > MEMBERS_MAX {
        return Err(too_many());
    }
    archive.validate_header_consistency().map_err(|e| {
        let found = format!("the headers of the archive contradict each other: {e}");
        Defect::new(DefectCode::Malformed, found)
    })?;
    let mut members = Vec::new();
    let mut left = UNPACKED_MAX_BYTES;
    for index in 0..archive.len() {
        let entry = archive
            .by_index_raw(index)
            .map_err(|e| unreadable("a member", &e))?;
        let name = name_of(entry.name_raw())?;
        check_name(&name)?;
        if entry.encrypted() {
            let found = format!("{name:?} has a password; send the archive without one");
            return Err(Defect::new(DefectCode::Forbidden, found));
        }
        if entry.is_symlink() {
            let found = format!("{name:?} in the archive is a link");
            return Err(Defect::new(DefectCode::Forbidden, found));
        }
        if entry.is_dir() {
            continue;
        }
        let (packed, said) = (entry.compressed_size(), entry.size());
        let limit = left.min(packed.saturating_mul(RATIO_MAX).max(SMALL_BYTES));
        if said > limit {
            return Err(too_large(&name));
        }
        drop(entry);
        let mut entry = archive.by_index(index).map_err(|e| unreadable(&name, &e))?;
        let mut bytes = Vec::new();
        // The declared size may lie: what is read counts.
        let read = entry.by_ref().take(limit + 1).read_to_end(&mut bytes);
        let read = read.map_err(|e| {
            let found = format!("{name:?} in the archive is damaged: {e}");
            Defect::new(DefectCode::Malformed, found)
        })?;
        let read = read as u64;
        if read > limit {
            return Err(too_large(&name));
        }
        if read != said {
            let found = format!("{name:?} in the archive unpacks to {read} bytes, not {said}");
            return Err(Defect::new(DefectCode::Malformed, found));
        }
        if bytes.starts_with(b"PK\x03\x04") {
            let found = format!("{name:?} is an archive inside the archive");
            return Err(Defect::new(DefectCode::Forbidden, found));
        }
        left -= read;
        members.push(Member { name, bytes });
    }
    Ok(members)
}

/// The members as texts.
///
/// # Errors
/// As [`decode::read_text`], with the member's name.
pub(crate) fn texts(members: Vec<Member>) -> Result<Vec<Text>, Defect> {
    let text = |member: Member| {
        let Member { name, bytes } = member;
        match decode::read_text(bytes.as_slice()) {
            Ok(text) => Ok(Text { name, text }),
            Err(defect) => Err(Defect {
                found: format!("{name:?} in the archive: {}", defect.found),
                ..defect
            }),
        }
    };
    members.into_iter().map(text).collect()
}

/// The bytes of an archive with no more directory entries than members are allowed: the directory
/// is counted by its signatures before anything believes its numbers.
fn bounded(reader: impl BufRead) -> Result<Vec<u8>, Defect> {
    let mut bytes = Vec::new();
    let read = reader.take(ARCHIVE_MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|e| {
        let found = format!("the file could not be read: {e}");
        Defect::new(DefectCode::Unreadable, found)
    })?;
    if bytes.len() as u64 > ARCHIVE_MAX_BYTES {
        let found = format!(
            "the archive is longer than {ARCHIVE_MAX_BYTES} bytes (limit ARCHIVE_MAX_BYTES)"
        );
        return Err(Defect::new(DefectCode::TooLarge, found));
    }
    let entries = memchr::memmem::find_iter(&bytes, b"PK\x01\x02").take(2 * MEMBERS_MAX + 1);
    if entries.count() > 2 * MEMBERS_MAX {
        return Err(too_many());
    }
    Ok(bytes)
}

fn name_of(raw: &[u8]) -> Result<String, Defect> {
    if let Ok(name) = std::str::from_utf8(raw) {
        return Ok(name.to_owned());
    }
    let name = encoding_rs::GB18030.decode_without_bom_handling_and_without_replacement(raw);
    name.map(std::borrow::Cow::into_owned).ok_or_else(|| {
        let found = "the name of a member is not UTF-8 or GB18030";
        Defect::new(DefectCode::BadEncoding, found)
    })
}

fn check_name(name: &str) -> Result<(), Defect> {
    let rooted = name.starts_with(['/', '\\']) || name.get(1..2) == Some(":");
    let upward = name.split(['/', '\\']).any(|part| part == "..");
    if rooted || upward || name.contains('\0') {
        let found = format!(
            "the name {:?} leads out of the archive",
            super::xml::clip(name)
        );
        return Err(Defect::new(DefectCode::Forbidden, found));
    }
    Ok(())
}

fn too_many() -> Defect {
    let found = format!("the archive has more than {MEMBERS_MAX} members (limit MEMBERS_MAX)");
    Defect::new(DefectCode::TooLarge, found)
}

fn too_large(name: &str) -> Defect {
    let found = format!(
        "{name:?} unpacks to more than the archive may hold (limits RATIO_MAX, UNPACKED_MAX_BYTES)"
    );
    Defect::new(DefectCode::TooLarge, found)
}

fn unreadable(name: &str, error: &zip::result::ZipError) -> Defect {
    let found = format!("{name} of the archive cannot be read: {error}");
    Defect::new(DefectCode::Malformed, found)
}
