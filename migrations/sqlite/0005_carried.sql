-- What is carried forward of an institution's settled facts, so that a run reads what is open and new. A copy of
-- nothing: a row that is lost or does not fit is made again from all facts.

-- What a file brought of an institution besides postings. `kind` is 1 contracts, by their numbers; 2 days of an
-- account's statements; 3 a settlement, by its period; 4 a freeze, exemption or claim, by its first day; 5 a
-- decision, by its number.
CREATE TABLE news (
  inst_id INTEGER NOT NULL,
  source_no INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  account_no INTEGER NOT NULL,
  first_no INTEGER NOT NULL,
  last_no INTEGER NOT NULL,
  PRIMARY KEY (inst_id, source_no, kind, account_no, first_no, last_no)
) WITHOUT ROWID, STRICT;

-- The newest import is looked for by every run.
CREATE INDEX import_completed ON import (completed_at);

-- `content` is written and read by reconcile/carried/code.rs; `basis` is a digest of what else it follows from.
CREATE TABLE carried (
  inst_id INTEGER NOT NULL,
  policy_no INTEGER NOT NULL,
  source_cut INTEGER NOT NULL,
  basis BLOB NOT NULL,
  content BLOB NOT NULL,
  PRIMARY KEY (inst_id, policy_no)
) STRICT;

-- Append-only: a row of this table is never changed or removed.
CREATE TRIGGER news_no_update BEFORE UPDATE ON news BEGIN SELECT RAISE(ABORT, 'news is append-only'); END;
CREATE TRIGGER news_no_delete BEFORE DELETE ON news BEGIN SELECT RAISE(ABORT, 'news is append-only'); END;
CREATE TRIGGER news_no_replace BEFORE INSERT ON news WHEN EXISTS (SELECT 1 FROM news WHERE inst_id = NEW.inst_id AND source_no = NEW.source_no AND kind = NEW.kind AND account_no = NEW.account_no AND first_no = NEW.first_no AND last_no = NEW.last_no) BEGIN SELECT RAISE(IGNORE); END;
