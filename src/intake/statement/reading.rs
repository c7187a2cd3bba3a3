//! Work on the bytes of a kept file that are fetched while it is being done, piece by piece.
//!
//! A parser pushes what it reads and waits for bytes, a database is asked without waiting: the parser works
//! on a thread of its own, and asks for the next piece between two statements it has read. What is read is
//! what was kept, whatever has become of the file it came from; the database is asked in transactions of a
//! piece each, since a rehearsal has one at a time.
//! Invariants: a work whose reading is dropped ends, at its next piece; a panic of the work is its reader's.

use std::io::{self, BufRead, Read};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::ImportError;
use crate::feed::store;
use crate::store::{Db, DbError};
use crate::wire::Statement;

/// Work under way.
pub(super) struct Reading<T> {
    /// Digests of the pieces not given yet.
    left: std::vec::IntoIter<Vec<u8>>,
    said: mpsc::Receiver<Said>,
    bytes: mpsc::Sender<Vec<u8>>,
    work: JoinHandle<T>,
}

enum Said {
    WantsBytes,
    Statement(Box<Statement>),
}

impl<T: Send + 'static> Reading<T> {
    /// Starts work on the pieces. It hands each statement it has read to what it is given.
    pub(super) fn start<W>(pieces: &[Vec<u8>], work: W) -> Reading<T>
    where
        W: FnOnce(Pieces, &mut dyn FnMut(Statement)) -> T + Send + 'static,
    {
        let (says, said) = mpsc::channel(1);
        let (bytes, given) = mpsc::channel(1);
        let work = tokio::task::spawn_blocking(move || {
            let reader = Pieces {
                says: says.clone(),
                given,
                piece: Vec::new(),
                at: 0,
                over: false,
            };
            work(reader, &mut |statement| {
                // Where nobody listens any more, the next piece does not come either.
                let _ = says.blocking_send(Said::Statement(Box::new(statement)));
            })
        });
        Reading {
            left: pieces.to_vec().into_iter(),
            said,
            bytes,
            work,
        }
    }

    /// The next statement; `None` once the work has ended.
    pub(super) async fn next(&mut self, db: &Db) -> Result<Option<Statement>, DbError> {
        loop {
            match self.said.recv().await {
                None => return Ok(None),
                Some(Said::Statement(statement)) => return Ok(Some(*statement)),
                Some(Said::WantsBytes) => {
                    let piece = match self.left.next() {
                        Some(digest) => fetch(db, &digest).await?,
                        None => Vec::new(),
                    };
                    // One that has ended meanwhile says so next.
                    let _ = self.bytes.send(piece).await;
                }
            }
        }
    }

    /// What came of the work.
    pub(super) async fn end(self) -> Result<T, ImportError> {
        drop((self.said, self.bytes));
        match self
            .work
            .await
            .map_err(tokio::task::JoinError::try_into_panic)
        {
            Ok(done) => Ok(done),
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            Err(Err(_)) => Err(ImportError::Refused("the program ends".to_owned())),
        }
    }
}

async fn fetch(db: &Db, digest: &[u8]) -> Result<Vec<u8>, DbError> {
    let mut tx = db.begin_read().await?;
    tx.narrow_cache(true).await?;
    let piece = store::raw_piece(&mut tx, digest).await?;
    tx.narrow_cache(false).await?;
    tx.rollback().await?;
    Ok(piece)
}

/// The bytes of the file.
pub(super) struct Pieces {
    says: mpsc::Sender<Said>,
    given: mpsc::Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
    over: bool,
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.piece.len() && !self.over {
            let unheard = || io::Error::other("nobody reads any more");
            self.piece = Vec::new();
            let asked = self.says.blocking_send(Said::WantsBytes);
            asked.map_err(|_| unheard())?;
            self.piece = self.given.blocking_recv().ok_or_else(unheard)?;
            self.at = 0;
            self.over = self.piece.is_empty();
        }
        Ok(&self.piece[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        self.at = self.piece.len().min(self.at + amount);
    }
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(into.len());
        into[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}
