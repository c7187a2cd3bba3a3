//! Work on the bytes of a kept file that are fetched while it is being done, piece by piece.
//!
//! A parser pushes what it reads and waits for bytes, a database is asked without waiting: the parser works
//! on a thread of its own, which asks for the next piece or hands over what it has made of the file. It does so
//! in few large blocks: a million texts that one thread makes and another lets go would cost the allocator
//! more memory than they fill. What is read is what was kept, whatever has become of the file it came from; the database is asked in transactions of a
//! piece each, since a rehearsal has one at a time.
//! Invariants: a piece is what its digest says; a work whose reading is dropped ends, at its next piece; a panic of the work is its reader's.

use std::io::{self, BufRead, Read};

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::ImportError;
use crate::feed::store;
use crate::store::{Db, DbError};

/// Work under way.
pub(super) struct Reading<M, T> {
    /// Digests of the pieces not given yet.
    left: std::vec::IntoIter<Vec<u8>>,
    said: mpsc::Receiver<Said<M>>,
    bytes: mpsc::Sender<Vec<u8>>,
    work: JoinHandle<T>,
}

enum Said<M> {
    WantsBytes,
    Made(M),
}

impl<M: Send + 'static, T: Send + 'static> Reading<M, T> {
    /// Starts work on the pieces. What it makes of them on its way it gives to what it is handed.
    pub(super) fn start<W>(pieces: Vec<Vec<u8>>, work: W) -> Reading<M, T>
    where
        W: FnOnce(Pieces<M>, &mut dyn FnMut(M)) -> T + Send + 'static,
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
            work(reader, &mut |made| {
                // Where nobody listens any more, the next piece does not come either.
                let _ = says.blocking_send(Said::Made(made));
            })
        });
        Reading {
            left: pieces.into_iter(),
            said,
            bytes,
            work,
        }
    }

    /// What it makes next; `None` once it has ended.
    pub(super) async fn next(&mut self, db: &Db) -> Result<Option<M>, DbError> {
        loop {
            match self.said.recv().await {
                None => return Ok(None),
                Some(Said::Made(made)) => return Ok(Some(made)),
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

    /// What comes of work that makes nothing on its way.
    pub(super) async fn whole(mut self, db: &Db) -> Result<T, ImportError> {
        while self.next(db).await?.is_some() {}
        self.end().await
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
    if Sha256::digest(&piece).as_slice() != digest {
        let found = "a kept piece of a file is not what its digest says";
        return Err(DbError::Inconsistent(found.to_owned()));
    }
    Ok(piece)
}

/// The bytes of the file.
pub(super) struct Pieces<M> {
    says: mpsc::Sender<Said<M>>,
    given: mpsc::Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
    over: bool,
}

impl<M> BufRead for Pieces<M> {
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

impl<M> Read for Pieces<M> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(into.len());
        into[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}
