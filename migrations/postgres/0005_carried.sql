-- What is carried forward of an institution's settled facts, so that a run reads what is open and new. A copy of
-- nothing: a row that is lost or does not fit is made again from all facts.

-- What a file brought of an institution besides postings. `kind` is 1 contracts, by their numbers; 2 days of an
-- account's statements; 3 a settlement, by its period; 4 a freeze, exemption or claim, by its first day; 5 a
-- decision, by its number.
CREATE TABLE news (
  inst_id BIGINT NOT NULL,
  source_no BIGINT NOT NULL,
  kind BIGINT NOT NULL,
  account_no BIGINT NOT NULL,
  first_no BIGINT NOT NULL,
  last_no BIGINT NOT NULL,
  PRIMARY KEY (inst_id, source_no, kind, account_no, first_no, last_no)
);

-- The newest import is looked for by every run.
CREATE INDEX import_completed ON import (completed_at);

-- `content` is written and read by reconcile/carried/code.rs; `basis` is a digest of what else it follows from.
CREATE TABLE carried (
  inst_id BIGINT NOT NULL,
  policy_no BIGINT NOT NULL,
  source_cut BIGINT NOT NULL,
  basis BYTEA NOT NULL,
  content BYTEA NOT NULL,
  PRIMARY KEY (inst_id, policy_no)
);

DO $$
BEGIN
  IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'jintuo_runtime') THEN
    GRANT SELECT, INSERT ON news TO jintuo_runtime;
    GRANT SELECT, INSERT, UPDATE ON carried TO jintuo_runtime;
  END IF;
END $$;
