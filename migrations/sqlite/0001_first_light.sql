-- First light: registry, interchange, ledger, results. Same numbers and names as the other engine's file.

-- One import at a time; what it brought is seen when completed_at is set, all at once.
CREATE TABLE import (
  import_no INTEGER PRIMARY KEY,
  source TEXT NOT NULL,
  started_at TEXT NOT NULL,
  completed_at TEXT
) STRICT;

-- Every file an import read. Its number is the provenance of each fact, and because imports complete
-- one after the other, what is known at an instant is a prefix of these numbers.
CREATE TABLE source_file (
  source_no INTEGER PRIMARY KEY,
  import_no INTEGER NOT NULL REFERENCES import (import_no),
  name TEXT NOT NULL,
  kind TEXT NOT NULL,
  digest BLOB,
  bytes INTEGER NOT NULL,
  outcome TEXT NOT NULL,
  rows_new INTEGER NOT NULL,
  rows_same INTEGER NOT NULL,
  rows_revised INTEGER NOT NULL,
  rows_waiting INTEGER NOT NULL,
  rows_quarantined INTEGER NOT NULL
) STRICT;
CREATE INDEX source_file_import ON source_file (import_no);
CREATE INDEX source_file_digest ON source_file (digest);

-- Statement files as received, before anything is parsed.
CREATE TABLE raw_file (
  digest BLOB PRIMARY KEY,
  received_at TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  content BLOB NOT NULL
) STRICT;

-- Rows and files that cannot be used: kept and shown, never dropped.
CREATE TABLE quarantine (
  record_digest BLOB PRIMARY KEY,
  source_no INTEGER NOT NULL,
  file TEXT NOT NULL,
  line INTEGER NOT NULL,
  column_name TEXT NOT NULL,
  code INTEGER NOT NULL,
  found TEXT NOT NULL,
  record TEXT NOT NULL
) STRICT;
CREATE INDEX quarantine_source ON quarantine (source_no);

-- Rows whose parent is not known yet: tried again by every later import. In the order of what they are
-- about, so that they are read in portions and a later row finds the older ones it outdoes.
CREATE TABLE waiting_row (
  kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  record_digest BLOB NOT NULL,
  source_no INTEGER NOT NULL,
  line INTEGER NOT NULL,
  parent_id TEXT NOT NULL,
  record TEXT NOT NULL,
  PRIMARY KEY (kind, subject, record_digest)
) STRICT, WITHOUT ROWID;

CREATE TABLE district (
  district_id TEXT NOT NULL,
  version INTEGER NOT NULL,
  source_no INTEGER NOT NULL,
  name TEXT NOT NULL,
  kind TEXT NOT NULL,
  gb_code TEXT,
  parent_id TEXT,
  tile_col INTEGER,
  tile_row INTEGER,
  PRIMARY KEY (district_id, version)
) WITHOUT ROWID, STRICT;

-- The licensing registries' own list.
CREATE TABLE licence (
  licence_no TEXT NOT NULL,
  version INTEGER NOT NULL,
  source_no INTEGER NOT NULL,
  name TEXT NOT NULL,
  uscc TEXT,
  district_id TEXT NOT NULL,
  department TEXT NOT NULL,
  licence_from TEXT,
  licence_to TEXT,
  status TEXT,
  PRIMARY KEY (licence_no, version)
) WITHOUT ROWID, STRICT;

CREATE TABLE institution_directory (
  institution_id TEXT PRIMARY KEY,
  inst_id INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
CREATE UNIQUE INDEX institution_directory_inst ON institution_directory (inst_id);

CREATE TABLE institution (
  inst_id INTEGER NOT NULL,
  version INTEGER NOT NULL,
  source_no INTEGER NOT NULL,
  institution_id TEXT NOT NULL,
  district_id TEXT NOT NULL,
  name TEXT NOT NULL,
  uscc TEXT,
  licence_kind TEXT,
  licence_no TEXT,
  licence_from TEXT,
  licence_to TEXT,
  department TEXT,
  category TEXT,
  subject TEXT,
  prepays TEXT NOT NULL,
  status TEXT NOT NULL,
  platform_since TEXT,
  opened_on TEXT,
  custody_mode TEXT,
  PRIMARY KEY (inst_id, version)
) WITHOUT ROWID, STRICT;

-- Next numbers and the end of each institution's hash chain; updated with every append.
CREATE TABLE institution_head (
  inst_id INTEGER PRIMARY KEY,
  seq INTEGER NOT NULL,
  hash BLOB NOT NULL,
  contracts INTEGER NOT NULL
) STRICT;

CREATE TABLE account_directory (
  account_id TEXT PRIMARY KEY,
  inst_id INTEGER NOT NULL,
  account_no INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE account (
  inst_id INTEGER NOT NULL,
  account_no INTEGER NOT NULL,
  version INTEGER NOT NULL,
  source_no INTEGER NOT NULL,
  account_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  min_deposit_fen INTEGER NOT NULL,
  bank_code TEXT,
  branch_district_id TEXT,
  agreement_no TEXT,
  agreement_from TEXT,
  agreement_to TEXT,
  filed_on TEXT,
  status TEXT,
  PRIMARY KEY (inst_id, account_no, version)
) WITHOUT ROWID, STRICT;

CREATE TABLE contract_directory (
  order_id TEXT PRIMARY KEY,
  inst_id INTEGER NOT NULL,
  contract_no INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

-- Days are days since 1970-01-01 in the tables from here on: they are hot.
CREATE TABLE contract (
  inst_id INTEGER NOT NULL,
  contract_no INTEGER NOT NULL,
  version INTEGER NOT NULL,
  source_no INTEGER NOT NULL,
  order_id TEXT NOT NULL,
  student_ref TEXT NOT NULL,
  ordered_day INTEGER NOT NULL,
  lessons INTEGER NOT NULL,
  gift_lessons INTEGER NOT NULL,
  unit_price_fen INTEGER NOT NULL,
  amount_fen INTEGER NOT NULL,
  extras_fen INTEGER NOT NULL,
  list_price_fen INTEGER,
  subject_group TEXT,
  kind TEXT,
  starts_day INTEGER,
  ends_day INTEGER,
  PRIMARY KEY (inst_id, contract_no, version)
) WITHOUT ROWID, STRICT;

-- Running totals of a contract, all postings counted; re-proved by the fold.
CREATE TABLE contract_state (
  inst_id INTEGER NOT NULL,
  contract_no INTEGER NOT NULL,
  lessons_counted INTEGER NOT NULL,
  earned_fen INTEGER NOT NULL,
  PRIMARY KEY (inst_id, contract_no)
) WITHOUT ROWID, STRICT;

CREATE TABLE settlement (
  inst_id INTEGER NOT NULL,
  account_no INTEGER NOT NULL,
  batch_no TEXT NOT NULL,
  version INTEGER NOT NULL,
  source_no INTEGER NOT NULL,
  channel INTEGER NOT NULL,
  period_from_day INTEGER NOT NULL,
  period_to_day INTEGER NOT NULL,
  gross_fen INTEGER NOT NULL,
  fee_fen INTEGER NOT NULL,
  refund_fen INTEGER NOT NULL,
  net_fen INTEGER NOT NULL,
  expected_day INTEGER,
  PRIMARY KEY (inst_id, account_no, batch_no, version)
) WITHOUT ROWID, STRICT;

CREATE TABLE account_freeze (
  inst_id INTEGER NOT NULL,
  account_no INTEGER NOT NULL,
  document_no TEXT NOT NULL,
  version INTEGER NOT NULL,
  source_no INTEGER NOT NULL,
  kind TEXT NOT NULL,
  amount_fen INTEGER,
  from_day INTEGER,
  to_day INTEGER,
  PRIMARY KEY (inst_id, account_no, document_no, version)
) WITHOUT ROWID, STRICT;

-- What a bank says an account held at the start and the end of a day.
CREATE TABLE statement_day (
  inst_id INTEGER NOT NULL,
  account_no INTEGER NOT NULL,
  day INTEGER NOT NULL,
  version INTEGER NOT NULL,
  source_no INTEGER NOT NULL,
  opening_fen INTEGER NOT NULL,
  closing_fen INTEGER NOT NULL,
  PRIMARY KEY (inst_id, account_no, day, version)
) WITHOUT ROWID, STRICT;

-- `quantity` counts lessons; of a bank line it is 1 for money in and -1 for money out.
-- The ledger. One row is one posting and one fact: debit and credit are accounts of the fixed chart
-- in ledger/mod.rs, so debits equal credits by construction. `business_day` is when it happened,
-- `source_no` when it was learned. A mistake is reversed by a row that names it, never edited.
-- `confirmed_day`: a lesson that counts was confirmed only after `business_day`, and counts from then on.
CREATE TABLE posting (
  inst_id INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  source_no INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  debit INTEGER NOT NULL,
  credit INTEGER NOT NULL,
  amount_fen INTEGER NOT NULL CHECK (amount_fen >= 0),
  business_day INTEGER NOT NULL,
  contract_no INTEGER NOT NULL,
  account_no INTEGER NOT NULL,
  source_id TEXT NOT NULL,
  revision INTEGER NOT NULL,
  reverses INTEGER,
  reference TEXT NOT NULL,
  channel INTEGER NOT NULL,
  state INTEGER NOT NULL,
  quantity INTEGER NOT NULL,
  stated_fen INTEGER,
  confirmed_day INTEGER CHECK (confirmed_day > business_day),
  hash BLOB NOT NULL,
  PRIMARY KEY (inst_id, seq)
) WITHOUT ROWID, STRICT;
-- A bank numbers its lines per account.
CREATE UNIQUE INDEX posting_source ON posting
  (inst_id, kind, source_id, revision, (CASE WHEN kind = 5 THEN account_no ELSE 0 END));

-- What a fact carries beyond its posting (memo, counterparty, value date, cause of a refund …): one JSON
-- object, covered by the posting's hash.
CREATE TABLE posting_note (
  inst_id INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  note TEXT NOT NULL,
  PRIMARY KEY (inst_id, seq)
) WITHOUT ROWID, STRICT;

-- Running balances of the chart; re-proved by the fold.
CREATE TABLE ledger_balance (
  inst_id INTEGER NOT NULL,
  ledger_account INTEGER NOT NULL,
  debit_fen INTEGER NOT NULL,
  credit_fen INTEGER NOT NULL,
  PRIMARY KEY (inst_id, ledger_account)
) WITHOUT ROWID, STRICT;

CREATE TABLE policy_version (
  policy_no INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  digest BLOB NOT NULL,
  params TEXT NOT NULL,
  loaded_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX policy_version_digest ON policy_version (name, digest);

-- One reconciliation for one (as-of day, known-at instant). Complete when completed_at is set.
CREATE TABLE run (
  run_id INTEGER PRIMARY KEY,
  policy_no INTEGER NOT NULL,
  as_of TEXT NOT NULL,
  known_at TEXT NOT NULL,
  source_cut INTEGER NOT NULL,
  district_id TEXT,
  started_at TEXT NOT NULL,
  completed_at TEXT
) STRICT;
CREATE INDEX run_as_of ON run (as_of, completed_at);

-- Results are kept as changes: a row holds from from_run up to, but not including, to_run.
CREATE TABLE position (
  inst_id INTEGER NOT NULL,
  policy_no INTEGER NOT NULL,
  from_run INTEGER NOT NULL,
  to_run INTEGER NOT NULL DEFAULT 9223372036854775807,
  district_id TEXT NOT NULL,
  mode INTEGER NOT NULL,
  status INTEGER NOT NULL,
  required_fen INTEGER NOT NULL,
  held_fen INTEGER NOT NULL,
  explained_fen INTEGER NOT NULL,
  uncovered_fen INTEGER NOT NULL,
  covered_fen INTEGER NOT NULL,
  deposit_required_fen INTEGER NOT NULL,
  deposit_held_fen INTEGER NOT NULL,
  unearned_confirmed_fen INTEGER NOT NULL,
  unearned_delivered_fen INTEGER NOT NULL,
  in_transit_fen INTEGER NOT NULL,
  fee_window_fen INTEGER NOT NULL,
  unidentified_fen INTEGER NOT NULL,
  frozen_fen INTEGER NOT NULL,
  releasable_fen INTEGER NOT NULL,
  protected_fen INTEGER NOT NULL,
  consumed_fen INTEGER NOT NULL,
  deemed_fen INTEGER NOT NULL,
  fees_recorded_fen INTEGER NOT NULL,
  fees_credited_fen INTEGER NOT NULL,
  contracts INTEGER NOT NULL,
  must_be_held INTEGER NOT NULL,
  under_custody INTEGER NOT NULL,
  accounts_expected INTEGER NOT NULL,
  accounts_proven INTEGER NOT NULL,
  missing_days INTEGER NOT NULL,
  uncovered_since_day INTEGER,
  PRIMARY KEY (inst_id, policy_no, from_run)
) WITHOUT ROWID, STRICT;
CREATE INDEX position_run ON position (policy_no, to_run);

-- account_no tells bank lines of one id apart and is 0 else. decision_no is the write-off or waiver that covers it, 0 for none. date_day 0 stands for "the as-of day": a state that is true while it is listed.
CREATE TABLE finding (
  inst_id INTEGER NOT NULL,
  policy_no INTEGER NOT NULL,
  code INTEGER NOT NULL,
  subject TEXT NOT NULL,
  account_no INTEGER NOT NULL,
  date_day INTEGER NOT NULL,
  from_run INTEGER NOT NULL,
  to_run INTEGER NOT NULL DEFAULT 9223372036854775807,
  amount_fen INTEGER NOT NULL,
  n INTEGER NOT NULL,
  severity INTEGER NOT NULL,
  first_day INTEGER NOT NULL,
  due_day INTEGER,
  due_provisional INTEGER NOT NULL,
  evidence TEXT NOT NULL,
  decision_no INTEGER NOT NULL,
  PRIMARY KEY (inst_id, policy_no, code, subject, account_no, date_day, from_run)
) WITHOUT ROWID, STRICT;
CREATE INDEX finding_run ON finding (policy_no, to_run);

-- The three-way proof of a custody account as of its newest proven day: closing + under way in - under way out
-- is contract cash + unallocated + the rest. Each amount has the sign with which it adds to its side, but
-- under_way_out_fen, which is what is to leave. `items` counts what the sums are made of.
CREATE TABLE account_proof (
  inst_id INTEGER NOT NULL,
  policy_no INTEGER NOT NULL,
  account_no INTEGER NOT NULL,
  from_run INTEGER NOT NULL,
  to_run INTEGER NOT NULL DEFAULT 9223372036854775807,
  day INTEGER NOT NULL,
  closing_fen INTEGER NOT NULL,
  under_way_in_fen INTEGER NOT NULL,
  under_way_out_fen INTEGER NOT NULL,
  contract_cash_fen INTEGER NOT NULL,
  unallocated_fen INTEGER NOT NULL,
  unidentified_fen INTEGER NOT NULL,
  difference_fen INTEGER NOT NULL,
  fee_fen INTEGER NOT NULL,
  batch_refund_fen INTEGER NOT NULL,
  unauthorised_fen INTEGER NOT NULL,
  brought_forward_fen INTEGER NOT NULL,
  gap_fen INTEGER NOT NULL,
  items INTEGER NOT NULL,
  expired_items INTEGER NOT NULL,
  PRIMARY KEY (inst_id, policy_no, account_no, from_run)
) WITHOUT ROWID, STRICT;

-- A bank line is claimed once: its key is the line. payment_seq is the claimed payment of a 1:1
-- match and 0 for several payments, which are in match_item. `pack` and `rule` name the rule of the policy that
-- matched it: the place of the pack among the district's, and the rule's in the pack from 1. `difference_fen`
-- and `fee_fen` are its group's, on the group's first line. `decision_no` is the decision of people that matched
-- it instead of a rule, whose number is then 0.
CREATE TABLE match_line (
  inst_id INTEGER NOT NULL,
  policy_no INTEGER NOT NULL,
  entry_seq INTEGER NOT NULL,
  from_run INTEGER NOT NULL,
  to_run INTEGER NOT NULL DEFAULT 9223372036854775807,
  kind INTEGER NOT NULL,
  payment_seq INTEGER NOT NULL,
  n INTEGER NOT NULL,
  amount_fen INTEGER NOT NULL,
  pack INTEGER NOT NULL,
  rule INTEGER NOT NULL,
  difference_fen INTEGER NOT NULL,
  fee_fen INTEGER NOT NULL,
  decision_no INTEGER NOT NULL,
  PRIMARY KEY (inst_id, policy_no, entry_seq, from_run)
) WITHOUT ROWID, STRICT;

CREATE TABLE match_item (
  inst_id INTEGER NOT NULL,
  policy_no INTEGER NOT NULL,
  payment_seq INTEGER NOT NULL,
  from_run INTEGER NOT NULL,
  to_run INTEGER NOT NULL DEFAULT 9223372036854775807,
  entry_seq INTEGER NOT NULL,
  PRIMARY KEY (inst_id, policy_no, payment_seq, from_run)
) WITHOUT ROWID, STRICT;

-- A credit that the rules left to people, with a payment it may settle: one row a candidate. `doubt` is 1 where
-- several choices add up, 2 where two credits want one payment, 3 where there are more candidates than a rule
-- may try.
CREATE TABLE match_review (
  inst_id INTEGER NOT NULL,
  policy_no INTEGER NOT NULL,
  entry_seq INTEGER NOT NULL,
  payment_seq INTEGER NOT NULL,
  from_run INTEGER NOT NULL,
  to_run INTEGER NOT NULL DEFAULT 9223372036854775807,
  pack INTEGER NOT NULL,
  rule INTEGER NOT NULL,
  doubt INTEGER NOT NULL,
  PRIMARY KEY (inst_id, policy_no, entry_seq, payment_seq, from_run)
) WITHOUT ROWID, STRICT;

CREATE TABLE district_coverage (
  run_id INTEGER NOT NULL,
  district_id TEXT NOT NULL,
  required_fen INTEGER NOT NULL,
  held_fen INTEGER NOT NULL,
  uncovered_fen INTEGER NOT NULL,
  covered_fen INTEGER NOT NULL,
  institutions INTEGER NOT NULL,
  uncovered_institutions INTEGER NOT NULL,
  unknown_institutions INTEGER NOT NULL,
  must_be_held INTEGER NOT NULL,
  under_custody INTEGER NOT NULL,
  red_flags INTEGER NOT NULL,
  amber_flags INTEGER NOT NULL,
  unmatched_credits INTEGER NOT NULL,
  accounts_expected INTEGER NOT NULL,
  accounts_proven INTEGER NOT NULL,
  missing_days INTEGER NOT NULL,
  PRIMARY KEY (run_id, district_id)
) WITHOUT ROWID, STRICT;

-- `fence` moves on with every holder. 'visible' orders what becomes visible.
CREATE TABLE job_lock (
  job TEXT PRIMARY KEY,
  fence INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID, STRICT;
INSERT INTO job_lock (job) VALUES ('import'), ('run'), ('visible');

-- Append-only: a row of these tables is never changed or removed.
CREATE TRIGGER raw_file_no_update BEFORE UPDATE ON raw_file BEGIN SELECT RAISE(ABORT, 'raw_file is append-only'); END;
CREATE TRIGGER raw_file_no_delete BEFORE DELETE ON raw_file BEGIN SELECT RAISE(ABORT, 'raw_file is append-only'); END;
CREATE TRIGGER district_no_update BEFORE UPDATE ON district BEGIN SELECT RAISE(ABORT, 'district is append-only'); END;
CREATE TRIGGER district_no_delete BEFORE DELETE ON district BEGIN SELECT RAISE(ABORT, 'district is append-only'); END;
CREATE TRIGGER licence_no_update BEFORE UPDATE ON licence BEGIN SELECT RAISE(ABORT, 'licence is append-only'); END;
CREATE TRIGGER licence_no_delete BEFORE DELETE ON licence BEGIN SELECT RAISE(ABORT, 'licence is append-only'); END;
CREATE TRIGGER institution_no_update BEFORE UPDATE ON institution BEGIN SELECT RAISE(ABORT, 'institution is append-only'); END;
CREATE TRIGGER institution_no_delete BEFORE DELETE ON institution BEGIN SELECT RAISE(ABORT, 'institution is append-only'); END;
CREATE TRIGGER institution_directory_no_update BEFORE UPDATE ON institution_directory BEGIN SELECT RAISE(ABORT, 'institution_directory is append-only'); END;
CREATE TRIGGER institution_directory_no_delete BEFORE DELETE ON institution_directory BEGIN SELECT RAISE(ABORT, 'institution_directory is append-only'); END;
CREATE TRIGGER account_no_update BEFORE UPDATE ON account BEGIN SELECT RAISE(ABORT, 'account is append-only'); END;
CREATE TRIGGER account_no_delete BEFORE DELETE ON account BEGIN SELECT RAISE(ABORT, 'account is append-only'); END;
CREATE TRIGGER account_directory_no_update BEFORE UPDATE ON account_directory BEGIN SELECT RAISE(ABORT, 'account_directory is append-only'); END;
CREATE TRIGGER account_directory_no_delete BEFORE DELETE ON account_directory BEGIN SELECT RAISE(ABORT, 'account_directory is append-only'); END;
CREATE TRIGGER contract_no_update BEFORE UPDATE ON contract BEGIN SELECT RAISE(ABORT, 'contract is append-only'); END;
CREATE TRIGGER contract_no_delete BEFORE DELETE ON contract BEGIN SELECT RAISE(ABORT, 'contract is append-only'); END;
CREATE TRIGGER contract_directory_no_update BEFORE UPDATE ON contract_directory BEGIN SELECT RAISE(ABORT, 'contract_directory is append-only'); END;
CREATE TRIGGER contract_directory_no_delete BEFORE DELETE ON contract_directory BEGIN SELECT RAISE(ABORT, 'contract_directory is append-only'); END;
CREATE TRIGGER settlement_no_update BEFORE UPDATE ON settlement BEGIN SELECT RAISE(ABORT, 'settlement is append-only'); END;
CREATE TRIGGER settlement_no_delete BEFORE DELETE ON settlement BEGIN SELECT RAISE(ABORT, 'settlement is append-only'); END;
CREATE TRIGGER account_freeze_no_update BEFORE UPDATE ON account_freeze BEGIN SELECT RAISE(ABORT, 'account_freeze is append-only'); END;
CREATE TRIGGER account_freeze_no_delete BEFORE DELETE ON account_freeze BEGIN SELECT RAISE(ABORT, 'account_freeze is append-only'); END;
CREATE TRIGGER statement_day_no_update BEFORE UPDATE ON statement_day BEGIN SELECT RAISE(ABORT, 'statement_day is append-only'); END;
CREATE TRIGGER statement_day_no_delete BEFORE DELETE ON statement_day BEGIN SELECT RAISE(ABORT, 'statement_day is append-only'); END;
CREATE TRIGGER posting_no_update BEFORE UPDATE ON posting BEGIN SELECT RAISE(ABORT, 'posting is append-only'); END;
CREATE TRIGGER posting_no_delete BEFORE DELETE ON posting BEGIN SELECT RAISE(ABORT, 'posting is append-only'); END;
CREATE TRIGGER posting_note_no_update BEFORE UPDATE ON posting_note BEGIN SELECT RAISE(ABORT, 'posting_note is append-only'); END;
CREATE TRIGGER posting_note_no_delete BEFORE DELETE ON posting_note BEGIN SELECT RAISE(ABORT, 'posting_note is append-only'); END;
CREATE TRIGGER policy_version_no_update BEFORE UPDATE ON policy_version BEGIN SELECT RAISE(ABORT, 'policy_version is append-only'); END;
CREATE TRIGGER policy_version_no_delete BEFORE DELETE ON policy_version BEGIN SELECT RAISE(ABORT, 'policy_version is append-only'); END;

-- INSERT OR REPLACE removes the row in its way without asking a trigger for deletes. Bytes of files are
-- known by their digest, so that a second row of one is simply not put in. posting and posting_note, the
-- bulk of the books, go without: their rows are chained by hash, which `jintuo check` proves again.
CREATE TRIGGER raw_file_no_replace BEFORE INSERT ON raw_file WHEN EXISTS (SELECT 1 FROM raw_file WHERE digest = NEW.digest OR rowid = NEW.rowid) BEGIN SELECT RAISE(IGNORE); END;
CREATE TRIGGER district_no_replace BEFORE INSERT ON district WHEN EXISTS (SELECT 1 FROM district WHERE district_id = NEW.district_id AND version = NEW.version) BEGIN SELECT RAISE(ABORT, 'district is append-only'); END;
CREATE TRIGGER licence_no_replace BEFORE INSERT ON licence WHEN EXISTS (SELECT 1 FROM licence WHERE licence_no = NEW.licence_no AND version = NEW.version) BEGIN SELECT RAISE(ABORT, 'licence is append-only'); END;
CREATE TRIGGER institution_no_replace BEFORE INSERT ON institution WHEN EXISTS (SELECT 1 FROM institution WHERE inst_id = NEW.inst_id AND version = NEW.version) BEGIN SELECT RAISE(ABORT, 'institution is append-only'); END;
CREATE TRIGGER institution_directory_no_replace BEFORE INSERT ON institution_directory WHEN EXISTS (SELECT 1 FROM institution_directory WHERE institution_id = NEW.institution_id OR inst_id = NEW.inst_id) BEGIN SELECT RAISE(ABORT, 'institution_directory is append-only'); END;
CREATE TRIGGER account_no_replace BEFORE INSERT ON account WHEN EXISTS (SELECT 1 FROM account WHERE inst_id = NEW.inst_id AND account_no = NEW.account_no AND version = NEW.version) BEGIN SELECT RAISE(ABORT, 'account is append-only'); END;
CREATE TRIGGER account_directory_no_replace BEFORE INSERT ON account_directory WHEN EXISTS (SELECT 1 FROM account_directory WHERE account_id = NEW.account_id) BEGIN SELECT RAISE(ABORT, 'account_directory is append-only'); END;
CREATE TRIGGER contract_no_replace BEFORE INSERT ON contract WHEN EXISTS (SELECT 1 FROM contract WHERE inst_id = NEW.inst_id AND contract_no = NEW.contract_no AND version = NEW.version) BEGIN SELECT RAISE(ABORT, 'contract is append-only'); END;
CREATE TRIGGER contract_directory_no_replace BEFORE INSERT ON contract_directory WHEN EXISTS (SELECT 1 FROM contract_directory WHERE order_id = NEW.order_id) BEGIN SELECT RAISE(ABORT, 'contract_directory is append-only'); END;
CREATE TRIGGER settlement_no_replace BEFORE INSERT ON settlement WHEN EXISTS (SELECT 1 FROM settlement WHERE inst_id = NEW.inst_id AND account_no = NEW.account_no AND batch_no = NEW.batch_no AND version = NEW.version) BEGIN SELECT RAISE(ABORT, 'settlement is append-only'); END;
CREATE TRIGGER account_freeze_no_replace BEFORE INSERT ON account_freeze WHEN EXISTS (SELECT 1 FROM account_freeze WHERE inst_id = NEW.inst_id AND account_no = NEW.account_no AND document_no = NEW.document_no AND version = NEW.version) BEGIN SELECT RAISE(ABORT, 'account_freeze is append-only'); END;
CREATE TRIGGER statement_day_no_replace BEFORE INSERT ON statement_day WHEN EXISTS (SELECT 1 FROM statement_day WHERE inst_id = NEW.inst_id AND account_no = NEW.account_no AND day = NEW.day AND version = NEW.version) BEGIN SELECT RAISE(ABORT, 'statement_day is append-only'); END;
CREATE TRIGGER policy_version_no_replace BEFORE INSERT ON policy_version WHEN EXISTS (SELECT 1 FROM policy_version WHERE policy_no = NEW.policy_no OR (name = NEW.name AND digest = NEW.digest)) BEGIN SELECT RAISE(ABORT, 'policy_version is append-only'); END;
