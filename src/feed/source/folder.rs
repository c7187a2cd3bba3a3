//! Files that a bank or a gateway drops into a folder.
//!
//! A file is taken beside its companion (`a.xml.ok` or `a.ok`), or, without companions, once its size and
//! time of change are the same at two fetches running: the mark is the last look. It is read, kept by the
//! sink, and then moved to `taken` in one step, under a further name where one of its name is there.
//!
//! Invariants: a file is moved only after it is kept; links, folders and anything but plain files are not
//! followed; a file that changes while it is read is left for the next look; nothing is ever deleted or
//! overwritten. Absent on purpose: the window, as a folder does not know days.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{
    Arrived, BoxFuture, FILE_BYTES_MAX, FOLDER_FILES_MAX, Sink, Source, SourceError, Window,
    is_unfinished, keep,
};

/// The most files of one name in `taken`.
const SAME_NAME_MAX: u32 = 10_000;

/// A folder feed.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
    taken: PathBuf,
    companion: Option<String>,
}

/// Size and time of change in nanoseconds, by name: what a look saw.
type Look = BTreeMap<String, (u64, i128)>;

/// A plain file of the folder.
#[derive(Clone, Debug)]
struct Found {
    path: PathBuf,
    name: String,
    data: Metadata,
    companion: Option<PathBuf>,
}

impl Found {
    fn seen(&self) -> (u64, i128) {
        seen(&self.data)
    }
}

fn seen(data: &Metadata) -> (u64, i128) {
    let nanos = i128::from(data.mtime()) * 1_000_000_000 + i128::from(data.mtime_nsec());
    (data.len(), nanos)
}

/// What reading a file gave.
enum Content {
    Whole(Vec<u8>),
    Changing,
    TooLarge,
}

impl Folder {
    pub(super) fn new(path: &Path, taken: Option<&Path>, companion: Option<String>) -> Folder {
        Folder {
            path: path.to_owned(),
            taken: taken.map_or_else(|| path.join(".taken"), Path::to_owned),
            companion,
        }
    }

    async fn run(
        &self,
        mark: Option<String>,
        sink: &mut dyn Sink,
    ) -> Result<Option<String>, SourceError> {
        let folder = self.clone();
        let found = blocking("listing the folder", move || folder.list()).await?;
        let last: Look = mark
            .and_then(|m| serde_json::from_str(&m).ok())
            .unwrap_or_default();
        let mut look = Look::new();
        for file in found {
            let ready = match self.companion {
                Some(_) => file.companion.is_some(),
                None => last.get(&file.name) == Some(&file.seen()),
            };
            if !ready {
                look.insert(file.name.clone(), file.seen());
                continue;
            }
            let path = file.path.clone();
            let (of, data) = (file.path.clone(), file.data.clone());
            match blocking("reading a file", move || read(&of, &data)).await? {
                Content::Changing => {}
                Content::TooLarge => {
                    let reason = format!("larger than {FILE_BYTES_MAX} bytes");
                    sink.refused(&file.name, &reason);
                    look.insert(file.name.clone(), file.seen());
                }
                Content::Whole(bytes) => {
                    let name = file.name.clone();
                    let mark = None;
                    keep(sink, Arrived { name, bytes, mark }).await?;
                    let folder = self.clone();
                    blocking("moving a file that was kept", move || {
                        folder.set_aside(&path)?;
                        match file.companion.as_deref().map(|c| folder.set_aside(c)) {
                            // One companion may stand for several files.
                            Some(Err(e)) if e.kind() != io::ErrorKind::NotFound => Err(e),
                            _ => Ok(()),
                        }
                    })
                    .await?;
                }
            }
        }
        match self.companion {
            Some(_) => Ok(None),
            None => serde_json::to_string(&look)
                .map(Some)
                .map_err(|e| SourceError::permanent("noting the look", e.to_string())),
        }
    }

    /// Plain files by name, each with its companion.
    fn list(&self) -> io::Result<Vec<Found>> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(&self.path)?.take(2 * FOLDER_FILES_MAX) {
            let entry = entry?;
            // The entry's own data: a link is a link, wherever it leads.
            let data = match entry.metadata() {
                Ok(data) => data,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            };
            if data.file_type().is_file() {
                let name = entry.file_name().to_string_lossy().into_owned();
                files.insert(name, (entry.path(), data));
            }
        }
        let companion_of = |name: &str| -> Option<PathBuf> {
            let end = self.companion.as_deref()?;
            let beside = files.get(&format!("{name}{end}"));
            let stem = name
                .rsplit_once('.')
                .map(|(stem, _)| format!("{stem}{end}"));
            let found = beside.or_else(|| files.get(&stem?));
            found.map(|(path, _)| path.clone())
        };
        let is_companion = |name: &str| match self.companion.as_deref() {
            Some(end) => name.ends_with(end),
            None => false,
        };
        Ok(files
            .iter()
            .filter(|(name, _)| !is_unfinished(name) && !is_companion(name))
            .take(FOLDER_FILES_MAX)
            .map(|(name, (path, data))| Found {
                path: path.clone(),
                name: name.clone(),
                data: data.clone(),
                companion: companion_of(name),
            })
            .collect())
    }

    /// Moves a file out of the folder, never over another one.
    fn set_aside(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(&self.taken)?;
        let name = path.file_name().unwrap_or_default();
        for n in 0..SAME_NAME_MAX {
            let mut name = name.to_owned();
            if n > 0 {
                name.push(format!(".{n}"));
            }
            let target = self.taken.join(name);
            // A link fails where the name is taken, which a rename would overwrite; the two links are
            // one file, so an interruption in between loses nothing.
            match fs::hard_link(path, &target) {
                Ok(()) => return fs::remove_file(path),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(e),
                Err(_) if !target.exists() => return fs::rename(path, &target),
                Err(_) => {}
            }
        }
        Err(io::Error::other("too many files of this name were taken"))
    }
}

impl Source for Folder {
    fn fetch<'a>(
        &'a self,
        _window: Window,
        mark: Option<String>,
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<Option<String>, SourceError>> {
        Box::pin(self.run(mark, sink))
    }
}

/// Reads the very file that was looked at, if it holds still.
fn read(path: &Path, looked_at: &Metadata) -> io::Result<Content> {
    if looked_at.len() > FILE_BYTES_MAX {
        return Ok(Content::TooLarge);
    }
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Content::Changing),
        Err(e) => return Err(e),
    };
    let same = |data: &Metadata| {
        (data.dev(), data.ino()) == (looked_at.dev(), looked_at.ino())
            && seen(data) == seen(looked_at)
    };
    // A link put in the file's place leads to another inode.
    if !same(&file.metadata()?) {
        return Ok(Content::Changing);
    }
    let mut bytes = Vec::new();
    let mut part = (&file).take(looked_at.len() + 1);
    part.read_to_end(&mut bytes)?;
    let whole = bytes.len() as u64 == looked_at.len() && same(&file.metadata()?);
    Ok(if whole {
        Content::Whole(bytes)
    } else {
        Content::Changing
    })
}

/// Runs file work off the runtime. A folder that cannot be read may be one that is not mounted yet.
async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, SourceError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(e)) => Err(SourceError::temporary(doing, e.to_string())),
        Err(e) => Err(SourceError::temporary(doing, e.to_string())),
    }
}
