//! What a BIFF8 workbook may say of itself, walked record by record before `calamine` reads it.
//!
//! Invariants: only BIFF8 (Excel 97 and later); no password; at most `SHEETS_MAX` sheets; the area
//! of all sheets, used or announced, at most [`CELLS_MAX`] cells, since rows are laid out in full;
//! at most [`FORMULAS_MAX_BYTES`] of formulas, whose text would be spelt out, and
//! [`CELL_TEXT_MAX_BYTES`] of text once each cell has its own copy.

use super::ole::{Container, u16_at, u32_at};
use super::{CELL_TEXT_MAX_BYTES, CELLS_MAX, broken, check_sheets, protected};
use crate::base::{Defect, DefectCode};

/// How many bytes of formulas one file may carry.
const FORMULAS_MAX_BYTES: usize = 1024 * 1024;

const BEGIN: u16 = 0x0809;
const END: u16 = 0x000A;
const CONTINUE: u16 = 0x003C;
const FILE_PASS: u16 = 0x002F;
const BOUND_SHEET: u16 = 0x0085;
const STRINGS: u16 = 0x00FC;
const DIMENSIONS: u16 = 0x0200;
const FORMULA: u16 = 0x0006;
const STRING_CELL: u16 = 0x00FD;
const NUMBERS: u16 = 0x00BD;
/// Number, label, rich label, truth or error, short number, string, formula, formula's string.
const CELL_RECORDS: [u16; 7] = [0x0203, 0x0204, 0x00D6, 0x0205, 0x027E, STRING_CELL, FORMULA];
const BIFF8: u16 = 0x0600;

/// Walks the workbook.
///
/// # Errors `MALFORMED`, `FORBIDDEN`, `TOO_LARGE`.
pub(super) fn check(bytes: &[u8]) -> Result<(), Defect> {
    let container = Container::open(bytes)?;
    if container.has("EncryptedPackage") {
        return Err(protected());
    }
    let stream = match container.stream("Workbook")? {
        Some(stream) => stream,
        None => container
            .stream("Book")?
            .ok_or_else(|| broken(&"the container holds no workbook"))?,
    };
    let (sheets, strings) = globals(&stream)?;
    let mut used = Used::default();
    for start in sheets {
        let sheet = stream
            .get(start..)
            .ok_or_else(|| broken(&"a sheet lies behind the end"))?;
        sheet_records(sheet, &strings, &mut used)?;
    }
    Ok(())
}

/// What all sheets use.
#[derive(Default)]
struct Used {
    area: u64,
    cells: u64,
    formulas_bytes: usize,
    text_bytes: u64,
}

/// One record: its type, its data, and where the next one begins.
type Record<'s> = (u16, &'s [u8], usize);

fn record(stream: &[u8], at: usize) -> Result<Option<Record<'_>>, Defect> {
    if at >= stream.len() {
        return Ok(None);
    }
    let cut = || broken(&"a record is cut");
    let kind = u16_at(stream, at).ok_or_else(cut)?;
    let length = usize::from(u16_at(stream, at + 2).ok_or_else(cut)?);
    let data = stream.get(at + 4..at + 4 + length).ok_or_else(cut)?;
    Ok(Some((kind, data, at + 4 + length)))
}

/// Where sheets begin, and how long the shared strings are in memory.
fn globals(stream: &[u8]) -> Result<(Vec<usize>, Vec<u32>), Defect> {
    let (mut sheets, mut strings) = (Vec::new(), Vec::new());
    let mut at = 0;
    let mut begun = false;
    while let Some((kind, data, next)) = record(stream, at)? {
        at = next;
        match kind {
            BEGIN => {
                if u16_at(data, 0) != Some(BIFF8) {
                    let found = "the workbook is older than Excel 97; save it in a newer format";
                    return Err(Defect::new(DefectCode::UnknownFormat, found));
                }
                begun = true;
            }
            END => break,
            FILE_PASS if u16_at(data, 0) != Some(0) => return Err(protected()),
            BOUND_SHEET => {
                let start = u32_at(data, 0).ok_or_else(|| broken(&"a sheet has no place"))?;
                sheets.push(usize::try_from(start).unwrap_or(usize::MAX));
            }
            STRINGS => {
                let mut parts = vec![data.get(8..).unwrap_or_default()];
                while let Some((CONTINUE, data, next)) = record(stream, at)? {
                    parts.push(data);
                    at = next;
                }
                strings = string_lengths(&parts);
            }
            _ => {}
        }
    }
    if !begun {
        return Err(broken(&"the workbook has no beginning"));
    }
    check_sheets(sheets.len())?;
    Ok((sheets, strings))
}

/// The length of each shared string as UTF-8 at most. A table that contradicts itself ends early;
/// its reader refuses it.
fn string_lengths(parts: &[&[u8]]) -> Vec<u32> {
    let mut lengths = Vec::new();
    let (mut part, mut at) = (0, 0);
    while part < parts.len() {
        if at >= parts[part].len() {
            (part, at) = (part + 1, 0);
            continue;
        }
        let data = parts[part];
        let (Some(characters), Some(flags)) = (u16_at(data, at), data.get(at + 2)) else {
            break;
        };
        at += 3;
        let mut skip = 0_usize;
        if flags & 0x8 != 0 {
            skip += 4 * usize::from(u16_at(data, at).unwrap_or(0));
            at += 2;
        }
        if flags & 0x4 != 0 {
            skip += usize::try_from(u32_at(data, at).unwrap_or(0)).unwrap_or(0);
            at += 4;
        }
        lengths.push(u32::from(characters) * 3);
        let (mut left, mut width) = (usize::from(characters), 1 + usize::from(flags & 1));
        // Characters go on in the next part behind a byte that says how wide they are there.
        while left > 0 && part < parts.len() {
            let here = parts[part].len().saturating_sub(at) / width;
            let taken = here.min(left);
            (left, at) = (left - taken, at + taken * width);
            if left > 0 {
                (part, at) = (part + 1, 1);
                width = 1 + usize::from(parts.get(part).and_then(|p| p.first()).unwrap_or(&0) & 1);
            }
        }
        while skip > 0 && part < parts.len() {
            let taken = parts[part].len().saturating_sub(at).min(skip);
            (skip, at) = (skip - taken, at + taken);
            if skip > 0 {
                (part, at) = (part + 1, 0);
            }
        }
    }
    lengths
}

fn sheet_records(sheet: &[u8], strings: &[u32], used: &mut Used) -> Result<(), Defect> {
    let mut at = 0;
    let (mut begun, mut depth) = (false, 0_usize);
    let (mut first, mut last) = ((u16::MAX, u16::MAX), (0, 0));
    while let Some((kind, data, next)) = record(sheet, at)? {
        at = next;
        match kind {
            BEGIN if begun => depth += 1,
            BEGIN => begun = true,
            END if depth > 0 => depth -= 1,
            END => break,
            _ if depth > 0 => {}
            DIMENSIONS => announced(data)?,
            _ if kind == NUMBERS || CELL_RECORDS.contains(&kind) => {
                let place = u16_at(data, 0).zip(u16_at(data, 2));
                let (row, column) = place.ok_or_else(|| broken(&"a cell has no place"))?;
                let width = if kind == NUMBERS {
                    data.len().saturating_sub(6) / 6
                } else {
                    1
                };
                used.cells += width as u64;
                let end = u16::try_from(width).unwrap_or(u16::MAX).max(1) - 1;
                first = (first.0.min(row), first.1.min(column));
                last = (last.0.max(row), last.1.max(column.saturating_add(end)));
                if kind == FORMULA {
                    used.formulas_bytes += data.len();
                }
                if kind == STRING_CELL {
                    let index = u32_at(data, 6).and_then(|index| usize::try_from(index).ok());
                    let length = index.and_then(|index| strings.get(index)).unwrap_or(&0);
                    used.text_bytes += u64::from(*length);
                }
                within(used, row)?;
            }
            _ => {}
        }
    }
    if first.0 <= last.0 && first.1 <= last.1 {
        let rows = u64::from(last.0 - first.0) + 1;
        used.area += rows * (u64::from(last.1 - first.1) + 1);
    }
    within(used, last.0)
}

/// The area a sheet says it uses, for which room would be made.
fn announced(data: &[u8]) -> Result<(), Defect> {
    let bounds = [u32_at(data, 0), u32_at(data, 4)];
    let columns = [u16_at(data, 8), u16_at(data, 10)].map(|c| c.map(u32::from));
    let ([Some(top), Some(bottom)], [Some(left), Some(right)]) = (bounds, columns) else {
        return Err(broken(&"the size of a sheet is cut"));
    };
    if bottom == 0 || right == 0 {
        return Ok(());
    }
    if top >= bottom {
        return Err(broken(&"a sheet ends above its beginning"));
    }
    let left = if left > 0xFF || right <= left {
        0
    } else {
        left
    };
    let area = u64::from(bottom - top) * u64::from(right - left);
    if area > CELLS_MAX as u64 {
        let found =
            format!("a sheet says it has {area} cells, more than {CELLS_MAX} (limit CELLS_MAX)");
        return Err(Defect::new(DefectCode::TooLarge, found));
    }
    Ok(())
}

fn within(used: &Used, row: u16) -> Result<(), Defect> {
    let found = if used.cells.max(used.area) > CELLS_MAX as u64 {
        format!("the file has more than {CELLS_MAX} cells (limit CELLS_MAX)")
    } else if used.formulas_bytes > FORMULAS_MAX_BYTES {
        format!(
            "the formulas are longer than {FORMULAS_MAX_BYTES} bytes (limit FORMULAS_MAX_BYTES)"
        )
    } else if used.text_bytes > CELL_TEXT_MAX_BYTES {
        format!(
            "the text of all cells is longer than {CELL_TEXT_MAX_BYTES} bytes (limit CELL_TEXT_MAX_BYTES)"
        )
    } else {
        return Ok(());
    };
    Err(Defect::new(DefectCode::TooLarge, found).line(u64::from(row) + 1))
}
