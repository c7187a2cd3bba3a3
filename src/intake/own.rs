//! What a person enters, as an import of its own: what was known before knows nothing of it.

use super::ImportError;
use crate::feed::store::{self, FileResult};
use crate::store::Tx;

/// An import that is open in a transaction.
pub(super) struct Own {
    import_no: i64,
    pub(super) source_no: i64,
}

impl Own {
    /// # Errors
    /// [`ImportError::HalfTaken`] while another import is interrupted: its rows would become visible with ours.
    pub(super) async fn open(tx: &mut Tx, source: &str, kind: &str) -> Result<Own, ImportError> {
        let import_no = match store::open(tx, source, false).await? {
            store::Opened::New(import_no) => import_no,
            store::Opened::Resumed(_, other) | store::Opened::HalfTaken(other) => {
                return Err(ImportError::HalfTaken(other));
            }
        };
        let source_no = store::open_file(tx, import_no, source, kind).await?;
        Ok(Own {
            import_no,
            source_no,
        })
    }

    /// Makes it visible with the transaction.
    pub(super) async fn complete(self, tx: &mut Tx) -> Result<(), ImportError> {
        let result = FileResult {
            outcome: "used",
            new: 1,
            ..FileResult::default()
        };
        store::close_file(tx, self.source_no, &result).await?;
        Ok(store::complete(tx, self.import_no).await?)
    }
}
