-- The life of statements: which ones stand, what contradicts them, which days owe none.

-- A statement as a bank names it (account, format family, its number, the days it covers), a row per
-- version: the same statement sent with other content is a revision. `source_no` also leads from a
-- statement day to the statement that states it. `made_ms` is when the bank made it, in milliseconds since
-- 1970; NULL where its format does not say. `confirms` is 1 for a version that says what stands and was made
-- later: no correction, but what is made before it is outdated.
CREATE TABLE statement (
  inst_id BIGINT NOT NULL,
  account_no BIGINT NOT NULL,
  family TEXT COLLATE "C" NOT NULL,
  number TEXT COLLATE "C" NOT NULL,
  first_day BIGINT NOT NULL,
  last_day BIGINT NOT NULL,
  version BIGINT NOT NULL,
  source_no BIGINT NOT NULL,
  made_ms BIGINT,
  confirms BIGINT NOT NULL,
  lines BIGINT NOT NULL,
  lines_added BIGINT NOT NULL,
  lines_removed BIGINT NOT NULL,
  lines_changed BIGINT NOT NULL,
  PRIMARY KEY (inst_id, account_no, family, number, first_day, last_day, version)
);
CREATE INDEX statement_source ON statement (source_no);

-- What a statement says of a day for which another one stands: a row per version of its claim. A claim
-- is settled (`settled` 1) once it and what stands agree. `lines_digest` covers the amounts of its lines.
CREATE TABLE statement_dispute (
  inst_id BIGINT NOT NULL,
  account_no BIGINT NOT NULL,
  day BIGINT NOT NULL,
  claimant TEXT COLLATE "C" NOT NULL,
  version BIGINT NOT NULL,
  source_no BIGINT NOT NULL,
  opening_fen BIGINT NOT NULL,
  closing_fen BIGINT NOT NULL,
  lines_digest BYTEA NOT NULL,
  settled BIGINT NOT NULL,
  PRIMARY KEY (inst_id, account_no, day, claimant, version)
);

-- Days for which an account owes no statement, and why. A later version may end an exemption.
CREATE TABLE statement_exemption (
  inst_id BIGINT NOT NULL,
  account_no BIGINT NOT NULL,
  first_day BIGINT NOT NULL,
  last_day BIGINT NOT NULL,
  version BIGINT NOT NULL,
  source_no BIGINT NOT NULL,
  reason TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (inst_id, account_no, first_day, last_day, version)
);

-- Files that hold a page of a statement whose neighbour has not come: their bytes are in raw_file. They
-- are read again together with the pages that come later.
CREATE TABLE waiting_page (
  digest BYTEA NOT NULL,
  account TEXT COLLATE "C" NOT NULL,
  source_no BIGINT NOT NULL,
  PRIMARY KEY (digest, account)
);
CREATE INDEX waiting_page_account ON waiting_page (account);

-- What a file does not say itself and was taken from settings: the account it is of, the unit of its
-- amounts. Written in the transaction that posts the file.
ALTER TABLE source_file ADD COLUMN assumed_account TEXT COLLATE "C";
ALTER TABLE source_file ADD COLUMN assumed_unit TEXT COLLATE "C";

-- What people decided about deliveries that could not be used: to try again, or never to. `state`,
-- `attempts` and `note` are those before.
CREATE TABLE delivery_decision (
  delivery_no BIGINT NOT NULL,
  version BIGINT NOT NULL,
  decision TEXT COLLATE "C" NOT NULL,
  reason TEXT COLLATE "C" NOT NULL,
  decided_by TEXT COLLATE "C" NOT NULL,
  decided_at TIMESTAMPTZ NOT NULL,
  state TEXT COLLATE "C" NOT NULL,
  attempts BIGINT NOT NULL,
  note TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (delivery_no, version)
);

-- Bytes of large files, by their own digest: `pieces` of such a file names them one after the other, 32
-- bytes each, and its `content` is empty. They are kept before the file's row, so a file is whole or not there.
ALTER TABLE raw_file ADD COLUMN pieces BYTEA NOT NULL DEFAULT '';
CREATE TABLE raw_piece (
  digest BYTEA PRIMARY KEY,
  content BYTEA NOT NULL
);
DO $$ BEGIN
  ALTER TABLE raw_piece ALTER COLUMN content SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN NULL;
END $$;

DO $$
BEGIN
  IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'jintuo_runtime') THEN
    GRANT SELECT, INSERT ON raw_piece, statement, statement_dispute, statement_exemption, delivery_decision TO jintuo_runtime;
    GRANT SELECT, INSERT, DELETE ON waiting_page TO jintuo_runtime;
  END IF;
END $$;
