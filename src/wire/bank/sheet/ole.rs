//! The container of a BIFF workbook (OLE2, MS-CFB), walked with every chain bounded: enough to hand
//! out one stream, and to know that a trusting reader will not run in circles.

use super::broken;
use crate::base::Defect;

const HEADER_BYTES: usize = 512;
const DIRECTORY_ENTRY_BYTES: usize = 128;
const MINI_SECTOR_BYTES: usize = 64;
/// Streams shorter than this lie in the small sectors.
const MINI_CUTOFF_BYTES: u64 = 4096;
/// Ids from here on are marks, not sectors.
const RESERVED: u32 = 0xFFFF_FFFA;
const DIFAT_MARK: u32 = 0xFFFF_FFFC;
const END_OF_CHAIN: u32 = 0xFFFF_FFFE;

/// An open container.
pub(super) struct Container<'b> {
    bytes: &'b [u8],
    sector_bytes: usize,
    table: Vec<u32>,
    mini_table: Vec<u32>,
    mini_stream: Vec<u8>,
    directory: Vec<Entry>,
}

struct Entry {
    name: String,
    start: u32,
    length: u64,
}

impl<'b> Container<'b> {
    /// Opens a container and walks its tables.
    ///
    /// # Errors `MALFORMED`.
    pub(super) fn open(bytes: &'b [u8]) -> Result<Container<'b>, Defect> {
        let shift = u16_at(bytes, 30).unwrap_or(0);
        let sector_bytes = match shift {
            9 => 512,
            12 => 4096,
            _ => return Err(broken(&"the container's sector size is unknown")),
        };
        if u16_at(bytes, 32) != Some(6) || bytes.len() < HEADER_BYTES {
            return Err(broken(&"the container's header is cut or wrong"));
        }
        let mut container = Container {
            bytes,
            sector_bytes,
            table: Vec::new(),
            mini_table: Vec::new(),
            mini_stream: Vec::new(),
            directory: Vec::new(),
        };
        container.table = container.sector_table()?;
        let directory = container.chain(u32_at(bytes, 48).unwrap_or(END_OF_CHAIN), u64::MAX)?;
        container.directory = directory
            .chunks_exact(DIRECTORY_ENTRY_BYTES)
            .map(|entry| Entry::read(entry, sector_bytes))
            .collect();
        let Some(root) = container.directory.first() else {
            return Err(broken(&"the container's directory is empty"));
        };
        let mini_sectors = u64::from(u32_at(bytes, 64).unwrap_or(0));
        if mini_sectors > 0 {
            let (start, length) = (root.start, root.length);
            container.mini_stream = container.chain(start, length)?;
            let start = u32_at(bytes, 60).unwrap_or(END_OF_CHAIN);
            let table = container.chain(start, mini_sectors * sector_bytes as u64)?;
            container.mini_table = words(&table).collect();
        }
        Ok(container)
    }

    /// Whether a stream or folder of the name is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The bytes of a stream.
    ///
    /// # Errors `MALFORMED`.
    pub(super) fn stream(&self, name: &str) -> Result<Option<Vec<u8>>, Defect> {
        let Some(entry) = self.find(name) else {
            return Ok(None);
        };
        let stream = if entry.length < MINI_CUTOFF_BYTES {
            self.mini_chain(entry.start, entry.length)?
        } else {
            self.chain(entry.start, entry.length)?
        };
        if (stream.len() as u64) < entry.length {
            return Err(broken(&"a stream of the container is shorter than it says"));
        }
        Ok(Some(stream))
    }

    fn find(&self, name: &str) -> Option<&Entry> {
        self.directory
            .iter()
            .find(|e| e.name.eq_ignore_ascii_case(name))
    }

    /// The table that links sectors, found through its own list.
    fn sector_table(&self) -> Result<Vec<u32>, Defect> {
        let sectors_max = self.bytes.len() / self.sector_bytes + 1;
        let mut list: Vec<u32> = words(&self.bytes[76..HEADER_BYTES]).collect();
        let mut next = u32_at(self.bytes, 68).unwrap_or(END_OF_CHAIN);
        let mut steps = 0;
        while next < RESERVED {
            steps += 1;
            list.extend(words(self.sector(next)?));
            next = list.pop().unwrap_or(END_OF_CHAIN);
            if steps > sectors_max {
                return Err(broken(&"the container's list of tables runs in a circle"));
            }
        }
        list.retain(|id| *id < DIFAT_MARK);
        if list.len() > sectors_max {
            return Err(broken(
                &"the container lists more tables than it has sectors",
            ));
        }
        let mut table = Vec::new();
        for id in list {
            table.extend(words(self.sector(id)?));
        }
        Ok(table)
    }

    fn sector(&self, id: u32) -> Result<&'b [u8], Defect> {
        let start = usize::try_from(id)
            .ok()
            .and_then(|id| id.checked_add(1)?.checked_mul(self.sector_bytes));
        let start = start.filter(|start| *start < self.bytes.len());
        let start = start.ok_or_else(|| broken(&"a sector lies behind the end of the file"))?;
        let end = self.bytes.len().min(start + self.sector_bytes);
        Ok(&self.bytes[start..end])
    }

    fn chain(&self, start: u32, length: u64) -> Result<Vec<u8>, Defect> {
        let mut chain = Vec::new();
        follow(start, &self.table, |id| {
            chain.extend_from_slice(self.sector(id)?);
            Ok(chain.len() as u64 >= length)
        })?;
        Ok(cut(chain, length))
    }

    fn mini_chain(&self, start: u32, length: u64) -> Result<Vec<u8>, Defect> {
        let mut chain = Vec::new();
        follow(start, &self.mini_table, |id| {
            let from = usize::try_from(id)
                .unwrap_or(usize::MAX)
                .saturating_mul(MINI_SECTOR_BYTES);
            let sector = self.mini_stream.get(from..).filter(|rest| !rest.is_empty());
            let sector = sector.ok_or_else(|| broken(&"a small sector lies behind the end"))?;
            chain.extend_from_slice(&sector[..sector.len().min(MINI_SECTOR_BYTES)]);
            Ok(chain.len() as u64 >= length)
        })?;
        Ok(cut(chain, length))
    }
}

impl Entry {
    fn read(entry: &[u8], sector_bytes: usize) -> Entry {
        let units: Vec<u16> = entry[..64]
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .take_while(|unit| *unit != 0)
            .collect();
        let low = u64::from(u32_at(entry, 120).unwrap_or(0));
        let high = u64::from(u32_at(entry, 124).unwrap_or(0));
        Entry {
            name: String::from_utf16_lossy(&units),
            start: u32_at(entry, 116).unwrap_or(END_OF_CHAIN),
            length: if sector_bytes == 512 {
                low
            } else {
                low | high << 32
            },
        }
    }
}

/// Walks a chain until its end or until `take` has enough; one longer than its table is a circle.
fn follow(
    start: u32,
    table: &[u32],
    mut take: impl FnMut(u32) -> Result<bool, Defect>,
) -> Result<(), Defect> {
    let mut id = start;
    for _ in 0..=table.len() {
        if id == END_OF_CHAIN || take(id)? {
            return Ok(());
        }
        let next = usize::try_from(id).ok().and_then(|at| table.get(at));
        id = *next.ok_or_else(|| broken(&"a chain of sectors leaves its table"))?;
    }
    Err(broken(&"a chain of sectors runs in a circle"))
}

fn cut(mut chain: Vec<u8>, length: u64) -> Vec<u8> {
    chain.truncate(usize::try_from(length).unwrap_or(usize::MAX));
    chain
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    bytes
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at + 2)?;
    Some(u16::from_le_bytes([pair[0], pair[1]]))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
}
