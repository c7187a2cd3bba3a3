-- The life of statements: which ones stand, what contradicts them, which days owe none.

-- A statement as a bank names it (account, format family, its number, the days it covers), a row per
-- version: the same statement sent with other content is a revision. `source_no` also leads from a
-- statement day to the statement that states it. `made_ms` is when the bank made it, in milliseconds since
-- 1970; NULL where its format does not say. `confirms` is 1 for a version that says what stands and was made
-- later: no correction, but what is made before it is outdated.
CREATE TABLE statement (
  inst_id INTEGER NOT NULL,
  account_no INTEGER NOT NULL,
  family TEXT NOT NULL,
  number TEXT NOT NULL,
  first_day INTEGER NOT NULL,
  last_day INTEGER NOT NULL,
  version INTEGER NOT NULL,
  source_no INTEGER NOT NULL,
  made_ms INTEGER,
  confirms INTEGER NOT NULL,
  lines INTEGER NOT NULL,
  lines_added INTEGER NOT NULL,
  lines_removed INTEGER NOT NULL,
  lines_changed INTEGER NOT NULL,
  PRIMARY KEY (inst_id, account_no, family, number, first_day, last_day, version)
) WITHOUT ROWID, STRICT;
CREATE INDEX statement_source ON statement (source_no);

-- What a statement says of a day for which another one stands: a row per version of its claim. A claim
-- is settled (`settled` 1) once it and what stands agree. `lines_digest` covers the amounts of its lines.
CREATE TABLE statement_dispute (
  inst_id INTEGER NOT NULL,
  account_no INTEGER NOT NULL,
  day INTEGER NOT NULL,
  claimant TEXT NOT NULL,
  version INTEGER NOT NULL,
  source_no INTEGER NOT NULL,
  opening_fen INTEGER NOT NULL,
  closing_fen INTEGER NOT NULL,
  lines_digest BLOB NOT NULL,
  settled INTEGER NOT NULL,
  PRIMARY KEY (inst_id, account_no, day, claimant, version)
) WITHOUT ROWID, STRICT;

-- Days for which an account owes no statement, and why. A later version may end an exemption.
CREATE TABLE statement_exemption (
  inst_id INTEGER NOT NULL,
  account_no INTEGER NOT NULL,
  first_day INTEGER NOT NULL,
  last_day INTEGER NOT NULL,
  version INTEGER NOT NULL,
  source_no INTEGER NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (inst_id, account_no, first_day, last_day, version)
) WITHOUT ROWID, STRICT;

-- Files that hold a page of a statement whose neighbour has not come: their bytes are in raw_file. They
-- are read again together with the pages that come later.
CREATE TABLE waiting_page (
  digest BLOB NOT NULL,
  account TEXT NOT NULL,
  source_no INTEGER NOT NULL,
  PRIMARY KEY (digest, account)
) WITHOUT ROWID, STRICT;
CREATE INDEX waiting_page_account ON waiting_page (account);

-- What a file does not say itself and was taken from settings: the account it is of, the unit of its
-- amounts. Written in the transaction that posts the file.
ALTER TABLE source_file ADD COLUMN assumed_account TEXT;
ALTER TABLE source_file ADD COLUMN assumed_unit TEXT;

-- What people decided about deliveries that could not be used: to try again, or never to. `state`,
-- `attempts` and `note` are those before.
CREATE TABLE delivery_decision (
  delivery_no INTEGER NOT NULL,
  version INTEGER NOT NULL,
  decision TEXT NOT NULL,
  reason TEXT NOT NULL,
  decided_by TEXT NOT NULL,
  decided_at TEXT NOT NULL,
  state TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  note TEXT NOT NULL,
  PRIMARY KEY (delivery_no, version)
) WITHOUT ROWID, STRICT;

-- Bytes of large files, by their own digest: `pieces` of such a file names them one after the other, 32
-- bytes each, and its `content` is empty. They are kept before the file's row, so a file is whole or not there.
ALTER TABLE raw_file ADD COLUMN pieces BLOB NOT NULL DEFAULT x'';
CREATE TABLE raw_piece (
  digest BLOB PRIMARY KEY,
  content BLOB NOT NULL
) STRICT;

-- Append-only: a row of these tables is never changed or removed.
CREATE TRIGGER raw_piece_no_update BEFORE UPDATE ON raw_piece BEGIN SELECT RAISE(ABORT, 'raw_piece is append-only'); END;
CREATE TRIGGER raw_piece_no_delete BEFORE DELETE ON raw_piece BEGIN SELECT RAISE(ABORT, 'raw_piece is append-only'); END;
CREATE TRIGGER raw_piece_no_replace BEFORE INSERT ON raw_piece WHEN EXISTS (SELECT 1 FROM raw_piece WHERE digest = NEW.digest OR rowid = NEW.rowid) BEGIN SELECT RAISE(IGNORE); END;
CREATE TRIGGER statement_no_update BEFORE UPDATE ON statement BEGIN SELECT RAISE(ABORT, 'statement is append-only'); END;
CREATE TRIGGER statement_no_delete BEFORE DELETE ON statement BEGIN SELECT RAISE(ABORT, 'statement is append-only'); END;
CREATE TRIGGER statement_dispute_no_update BEFORE UPDATE ON statement_dispute BEGIN SELECT RAISE(ABORT, 'statement_dispute is append-only'); END;
CREATE TRIGGER statement_dispute_no_delete BEFORE DELETE ON statement_dispute BEGIN SELECT RAISE(ABORT, 'statement_dispute is append-only'); END;
CREATE TRIGGER statement_exemption_no_update BEFORE UPDATE ON statement_exemption BEGIN SELECT RAISE(ABORT, 'statement_exemption is append-only'); END;
CREATE TRIGGER statement_exemption_no_delete BEFORE DELETE ON statement_exemption BEGIN SELECT RAISE(ABORT, 'statement_exemption is append-only'); END;
CREATE TRIGGER statement_no_replace BEFORE INSERT ON statement WHEN EXISTS (SELECT 1 FROM statement WHERE inst_id = NEW.inst_id AND account_no = NEW.account_no AND family = NEW.family AND number = NEW.number AND first_day = NEW.first_day AND last_day = NEW.last_day AND version = NEW.version) BEGIN SELECT RAISE(ABORT, 'statement is append-only'); END;
CREATE TRIGGER statement_dispute_no_replace BEFORE INSERT ON statement_dispute WHEN EXISTS (SELECT 1 FROM statement_dispute WHERE inst_id = NEW.inst_id AND account_no = NEW.account_no AND day = NEW.day AND claimant = NEW.claimant AND version = NEW.version) BEGIN SELECT RAISE(ABORT, 'statement_dispute is append-only'); END;
CREATE TRIGGER statement_exemption_no_replace BEFORE INSERT ON statement_exemption WHEN EXISTS (SELECT 1 FROM statement_exemption WHERE inst_id = NEW.inst_id AND account_no = NEW.account_no AND first_day = NEW.first_day AND last_day = NEW.last_day AND version = NEW.version) BEGIN SELECT RAISE(ABORT, 'statement_exemption is append-only'); END;
CREATE TRIGGER delivery_decision_no_update BEFORE UPDATE ON delivery_decision BEGIN SELECT RAISE(ABORT, 'delivery_decision is append-only'); END;
CREATE TRIGGER delivery_decision_no_delete BEFORE DELETE ON delivery_decision BEGIN SELECT RAISE(ABORT, 'delivery_decision is append-only'); END;
CREATE TRIGGER delivery_decision_no_replace BEFORE INSERT ON delivery_decision WHEN EXISTS (SELECT 1 FROM delivery_decision WHERE delivery_no = NEW.delivery_no AND version = NEW.version) BEGIN SELECT RAISE(ABORT, 'delivery_decision is append-only'); END;
