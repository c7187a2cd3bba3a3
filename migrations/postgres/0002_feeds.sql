-- Feeds: what a bank owes, what it delivered, and which scheduled work has been done.

-- A statement as its bank names it. The same name with other bytes is a correction; another name for
-- the same days is a contradiction.
CREATE TABLE statement (
  inst_id BIGINT NOT NULL,
  account_no BIGINT NOT NULL,
  family TEXT COLLATE "C" NOT NULL,
  number TEXT COLLATE "C" NOT NULL,
  first_day BIGINT NOT NULL,
  last_day BIGINT NOT NULL,
  version BIGINT NOT NULL,
  source_no BIGINT NOT NULL,
  lines_added BIGINT NOT NULL,
  lines_removed BIGINT NOT NULL,
  PRIMARY KEY (inst_id, account_no, family, number, first_day, last_day, version)
);

-- A file that contradicts what is stored for a day of an account: the day is disputed until a file that
-- agrees, or a correction, comes.
CREATE TABLE dispute (
  inst_id BIGINT NOT NULL,
  account_no BIGINT NOT NULL,
  day BIGINT NOT NULL,
  source_no BIGINT NOT NULL,
  reason TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (inst_id, account_no, day, source_no)
);

-- A day an account owes no statement for, and why.
CREATE TABLE exemption (
  inst_id BIGINT NOT NULL,
  account_no BIGINT NOT NULL,
  first_day BIGINT NOT NULL,
  last_day BIGINT NOT NULL,
  reason TEXT COLLATE "C" NOT NULL,
  recorded_at TIMESTAMPTZ NOT NULL,
  PRIMARY KEY (inst_id, account_no, first_day, last_day)
);

-- How far a feed has been read.
CREATE TABLE feed_mark (
  feed TEXT COLLATE "C" PRIMARY KEY,
  mark TEXT COLLATE "C" NOT NULL,
  moved_at TIMESTAMPTZ NOT NULL
);

-- Files a feed brought, in the order they came; their bytes are in raw_file. An attempt is counted
-- before a file is read, so that one which ends its reader is given up after a few.
CREATE TABLE delivery (
  delivery_no BIGINT PRIMARY KEY,
  feed TEXT COLLATE "C" NOT NULL,
  name TEXT COLLATE "C" NOT NULL,
  digest BYTEA NOT NULL,
  bytes BIGINT NOT NULL,
  received_at TIMESTAMPTZ NOT NULL,
  state TEXT COLLATE "C" NOT NULL,
  attempts BIGINT NOT NULL,
  import_no BIGINT,
  note TEXT COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX delivery_file ON delivery (feed, digest, name);
CREATE INDEX delivery_state ON delivery (state, delivery_no);

-- Scheduled work: one row, and one effect, per feed, day and kind. A worker holds a row until a time; its
-- fence is proved again in the transaction that writes the effect.
CREATE TABLE job (
  feed TEXT COLLATE "C" NOT NULL,
  day BIGINT NOT NULL,
  kind TEXT COLLATE "C" NOT NULL,
  state TEXT COLLATE "C" NOT NULL,
  attempts BIGINT NOT NULL,
  due_at TIMESTAMPTZ NOT NULL,
  holder TEXT COLLATE "C" NOT NULL,
  fence BIGINT NOT NULL,
  held_until TIMESTAMPTZ,
  done_at TIMESTAMPTZ,
  note TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (feed, day, kind)
);
CREATE INDEX job_due ON job (state, due_at);

-- One use of a nonce of a signed push.
CREATE TABLE push_nonce (
  key_id TEXT COLLATE "C" NOT NULL,
  nonce TEXT COLLATE "C" NOT NULL,
  expires_at TIMESTAMPTZ NOT NULL,
  PRIMARY KEY (key_id, nonce)
);
CREATE INDEX push_nonce_expiry ON push_nonce (expires_at);

DO $$
BEGIN
  IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'jintuo_runtime') THEN
    GRANT SELECT, INSERT ON statement, dispute, exemption TO jintuo_runtime;
    GRANT SELECT, INSERT, UPDATE ON feed_mark, delivery, job TO jintuo_runtime;
    GRANT SELECT, INSERT, DELETE ON push_nonce TO jintuo_runtime;
  END IF;
END $$;
