-- Feeds: what a bank owes, what it delivered, and which scheduled work has been done.

-- A statement as its bank names it. The same name with other bytes is a correction; another name for
-- the same days is a contradiction.
CREATE TABLE statement (
  inst_id INTEGER NOT NULL,
  account_no INTEGER NOT NULL,
  family TEXT NOT NULL,
  number TEXT NOT NULL,
  first_day INTEGER NOT NULL,
  last_day INTEGER NOT NULL,
  version INTEGER NOT NULL,
  source_no INTEGER NOT NULL,
  lines_added INTEGER NOT NULL,
  lines_removed INTEGER NOT NULL,
  PRIMARY KEY (inst_id, account_no, family, number, first_day, last_day, version)
) WITHOUT ROWID, STRICT;

-- A file that contradicts what is stored for a day of an account: the day is disputed until a file that
-- agrees, or a correction, comes.
CREATE TABLE dispute (
  inst_id INTEGER NOT NULL,
  account_no INTEGER NOT NULL,
  day INTEGER NOT NULL,
  source_no INTEGER NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (inst_id, account_no, day, source_no)
) WITHOUT ROWID, STRICT;

-- A day an account owes no statement for, and why.
CREATE TABLE exemption (
  inst_id INTEGER NOT NULL,
  account_no INTEGER NOT NULL,
  first_day INTEGER NOT NULL,
  last_day INTEGER NOT NULL,
  reason TEXT NOT NULL,
  recorded_at TEXT NOT NULL,
  PRIMARY KEY (inst_id, account_no, first_day, last_day)
) WITHOUT ROWID, STRICT;

-- How far a feed has been read.
CREATE TABLE feed_mark (
  feed TEXT PRIMARY KEY,
  mark TEXT NOT NULL,
  moved_at TEXT NOT NULL
) WITHOUT ROWID, STRICT;

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

-- One use of a nonce of a signed push.
CREATE TABLE push_nonce (
  key_id TEXT NOT NULL,
  nonce TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  PRIMARY KEY (key_id, nonce)
) WITHOUT ROWID, STRICT;
CREATE INDEX push_nonce_expiry ON push_nonce (expires_at);

CREATE TRIGGER statement_no_update BEFORE UPDATE ON statement BEGIN SELECT RAISE(ABORT, 'statement is append-only'); END;
CREATE TRIGGER statement_no_delete BEFORE DELETE ON statement BEGIN SELECT RAISE(ABORT, 'statement is append-only'); END;
CREATE TRIGGER dispute_no_update BEFORE UPDATE ON dispute BEGIN SELECT RAISE(ABORT, 'dispute is append-only'); END;
CREATE TRIGGER dispute_no_delete BEFORE DELETE ON dispute BEGIN SELECT RAISE(ABORT, 'dispute is append-only'); END;
CREATE TRIGGER exemption_no_update BEFORE UPDATE ON exemption BEGIN SELECT RAISE(ABORT, 'exemption is append-only'); END;
CREATE TRIGGER exemption_no_delete BEFORE DELETE ON exemption BEGIN SELECT RAISE(ABORT, 'exemption is append-only'); END;
