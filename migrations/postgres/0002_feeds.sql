-- Feeds: what a bank delivered, and which scheduled work has been done.

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

-- Where a feed's fetch goes on, stored in the transaction that keeps the file it was reached with; and the
-- instant before which its bank may not be asked again, stored before each request.
CREATE TABLE feed_mark (
  feed TEXT COLLATE "C" PRIMARY KEY,
  mark TEXT COLLATE "C" NOT NULL,
  not_before TIMESTAMPTZ
);

-- Which file last spoke of a day, for all accounts: whether a reconciled day has changed since.
CREATE INDEX statement_day_latest ON statement_day (day, source_no);

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
    GRANT SELECT, INSERT, UPDATE ON delivery, job, feed_mark TO jintuo_runtime;
    GRANT SELECT, INSERT, DELETE ON push_nonce TO jintuo_runtime;
  END IF;
END $$;
