-- Feeds: what a bank delivered, and which scheduled work has been done.

-- Files a feed brought, in the order they came; their bytes are in raw_file. An attempt is counted
-- before a file is read, so that one which ends its reader is given up after a few.
CREATE TABLE delivery (
  delivery_no INTEGER PRIMARY KEY,
  feed TEXT NOT NULL,
  name TEXT NOT NULL,
  digest BLOB NOT NULL,
  bytes INTEGER NOT NULL,
  received_at TEXT NOT NULL,
  state TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  import_no INTEGER,
  note TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX delivery_file ON delivery (feed, digest, name);
CREATE INDEX delivery_state ON delivery (state, delivery_no);

-- Scheduled work: one row, and one effect, per feed, day and kind. A worker holds a row until a time; its
-- fence is proved again in the transaction that writes the effect.
CREATE TABLE job (
  feed TEXT NOT NULL,
  day INTEGER NOT NULL,
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  due_at TEXT NOT NULL,
  holder TEXT NOT NULL,
  fence INTEGER NOT NULL,
  held_until TEXT,
  done_at TEXT,
  note TEXT NOT NULL,
  PRIMARY KEY (feed, day, kind)
) WITHOUT ROWID, STRICT;
CREATE INDEX job_due ON job (state, due_at);

-- Where a feed's fetch goes on, stored in the transaction that keeps the file it was reached with; and the
-- instant before which its bank may not be asked again, stored before each request.
CREATE TABLE feed_mark (
  feed TEXT PRIMARY KEY,
  mark TEXT NOT NULL,
  not_before TEXT
) WITHOUT ROWID, STRICT;

-- Which file last spoke of a day, for all accounts: whether a reconciled day has changed since.
CREATE INDEX statement_day_latest ON statement_day (day, source_no);

-- One use of a nonce of a signed push.
CREATE TABLE push_nonce (
  key_id TEXT NOT NULL,
  nonce TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  PRIMARY KEY (key_id, nonce)
) WITHOUT ROWID, STRICT;
CREATE INDEX push_nonce_expiry ON push_nonce (expires_at);
