//! Finding the files of a bundle: a folder, a zip, or single files.
//!
//! Sub-folders are not entered; a zip whose only bundle lies in one is refused. A zip's names are only compared, never used to write; its entries are
//! read through limits on the unpacked bytes, because a zip's own sizes may lie.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Given;
use crate::wire::interchange::FileKind;

/// Entries of one zip.
const ZIP_ENTRIES_MAX: usize = 1_000;
/// How many times larger an entry may unpack than it is packed.
const ZIP_RATIO_MAX: u64 = 200;

/// One file to read.
#[derive(Clone, Debug)]
pub(super) struct Input {
    place: Place,
    /// What people call it: the file's name, with its zip or folder.
    pub(super) name: String,
    kind: Option<FileKind>,
    size: u64,
}

#[derive(Clone, Debug)]
enum Place {
    File(PathBuf),
    Zip { archive: PathBuf, index: usize },
    Memory(Arc<[u8]>),
}

impl Input {
    /// A statement file that is at hand.
    pub(super) fn at_hand(name: String, bytes: Vec<u8>) -> Input {
        Input {
            kind: None,
            size: bytes.len() as u64,
            place: Place::Memory(bytes.into()),
            name,
        }
    }

    /// The interchange file it is, `None` for a statement file.
    pub(super) fn kind(&self) -> Option<FileKind> {
        self.kind
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Parents first, statement files last; files of one kind stay in the order they were named in.
    pub(super) fn rank(&self) -> usize {
        self.kind.map_or(FileKind::ALL.len(), |k| k as usize)
    }

    /// The file's bytes; of a zip's entry at most `unpacked_max`.
    pub(super) fn open(&self, unpacked_max: u64) -> io::Result<Box<dyn Read + Send>> {
        match &self.place {
            Place::File(path) => Ok(Box::new(File::open(path)?)),
            Place::Memory(bytes) => Ok(Box::new(io::Cursor::new(Arc::clone(bytes)))),
            Place::Zip { archive, index } => {
                // The zip reader borrows its archive, so an entry is unpacked to a temporary file.
                let mut zip = zip::ZipArchive::new(File::open(archive)?)?;
                let mut entry = zip.by_index(*index)?;
                let limit = unpacked_max.min(
                    entry
                        .compressed_size()
                        .saturating_mul(ZIP_RATIO_MAX)
                        .max(1 << 20),
                );
                let mut unpacked = tempfile()?;
                let copied = io::copy(&mut (&mut entry).take(limit + 1), &mut unpacked)?;
                if copied > limit {
                    return Err(io::Error::other(format!(
                        "the zip entry unpacks to more than {limit} bytes"
                    )));
                }
                io::Seek::rewind(&mut unpacked)?;
                Ok(Box::new(unpacked))
            }
        }
    }
}

/// An unnamed file of the system's temporary folder.
fn tempfile() -> io::Result<File> {
    // Two imports of one process may unpack at the same time.
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("jintuo-{}-{number}", std::process::id()));
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// Adds the files found where `given` leads; names what the contract does not know.
pub(super) fn open(
    given: &Given,
    files: &mut Vec<Input>,
    ignored: &mut Vec<String>,
) -> io::Result<()> {
    let path = given.path.as_path();
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return folder(path, files, ignored);
    }
    let name = super::file_name(Path::new(&given.name));
    let mut head = [0_u8; 4];
    let read = File::open(path)?.read(&mut head)?;
    if read == 4 && head == *b"PK\x03\x04" {
        let (known, strange) = (files.len(), ignored.len());
        archive(path, &name, files, ignored)?;
        if files.len() > known {
            return Ok(());
        }
        if let Some(inside) = ignored[strange..].iter().find(|name| in_folder(name)) {
            return Err(io::Error::other(format!(
                "the {inside} of the zip lies in a sub-folder; a bundle zip has no sub-folders: \
                 zip its files, not their folder"
            )));
        }
        // No file of a bundle inside: a workbook or an archive of bills is a statement file itself.
        ignored.truncate(strange);
    }
    files.push(Input {
        kind: FileKind::from_file_name(&name),
        place: Place::File(path.to_owned()),
        name,
        size: metadata.len(),
    });
    Ok(())
}

/// Whether what was ignored is a file of a bundle inside a folder.
fn in_folder(ignored: &str) -> bool {
    let name = ignored.strip_prefix("file ").unwrap_or_default();
    let inside = name.rsplit_once(['/', '\\']).map(|(_, name)| name);
    inside.and_then(FileKind::from_file_name).is_some()
}

fn folder(path: &Path, files: &mut Vec<Input>, ignored: &mut Vec<String>) -> io::Result<()> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(path)?
        .map(|e| e.map(|e| e.path()))
        .collect::<io::Result<_>>()?;
    entries.sort();
    for entry in entries {
        let name = super::file_name(&entry);
        // Follows links to files; a folder, linked or not, is not entered.
        let Ok(metadata) = std::fs::metadata(&entry) else {
            match FileKind::from_file_name(&name) {
                // Opened with the others, so that it is quarantined by name.
                Some(kind) => files.push(Input {
                    kind: Some(kind),
                    place: Place::File(entry),
                    name,
                    size: 0,
                }),
                None => ignored.push(format!("{name}, which leads nowhere")),
            }
            continue;
        };
        match FileKind::from_file_name(&name) {
            Some(kind) if metadata.is_file() => files.push(Input {
                kind: Some(kind),
                place: Place::File(entry),
                name,
                size: metadata.len(),
            }),
            _ if metadata.is_file() => ignored.push(format!("file {name}")),
            _ => {}
        }
    }
    Ok(())
}

fn archive(
    path: &Path,
    archive_name: &str,
    files: &mut Vec<Input>,
    ignored: &mut Vec<String>,
) -> io::Result<()> {
    let mut zip = zip::ZipArchive::new(File::open(path)?)?;
    if zip.len() > ZIP_ENTRIES_MAX {
        return Err(io::Error::other(format!(
            "the zip has more than {ZIP_ENTRIES_MAX} entries"
        )));
    }
    for index in 0..zip.len() {
        let entry = zip.by_index(index)?;
        if entry.is_dir() {
            continue;
        }
        // Only a plain name is a file of the bundle: sub-folders, `..` and absolute paths are not.
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        if entry.is_symlink() {
            ignored.push(format!("link {name}"));
            continue;
        }
        match FileKind::from_file_name(&name) {
            Some(kind) => files.push(Input {
                kind: Some(kind),
                place: Place::Zip {
                    archive: path.to_owned(),
                    index,
                },
                name: format!("{archive_name}/{name}"),
                size: entry.size(),
            }),
            None => ignored.push(format!("file {name}")),
        }
    }
    Ok(())
}
