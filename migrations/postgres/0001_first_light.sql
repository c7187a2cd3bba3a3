-- First light: registry, interchange, ledger, results. Same numbers and names as the other engine's file.

-- One import at a time; what it brought is seen when completed_at is set, all at once.
CREATE TABLE import (
  import_no BIGINT PRIMARY KEY,
  source TEXT COLLATE "C" NOT NULL,
  started_at TIMESTAMPTZ NOT NULL,
  completed_at TIMESTAMPTZ
);

-- Every file an import read. Its number is the provenance of each fact, and because imports complete
-- one after the other, what is known at an instant is a prefix of these numbers.
CREATE TABLE source_file (
  source_no BIGINT PRIMARY KEY,
  import_no BIGINT NOT NULL REFERENCES import (import_no),
  name TEXT COLLATE "C" NOT NULL,
  kind TEXT COLLATE "C" NOT NULL,
  digest BYTEA,
  bytes BIGINT NOT NULL,
  outcome TEXT COLLATE "C" NOT NULL,
  rows_new BIGINT NOT NULL,
  rows_same BIGINT NOT NULL,
  rows_revised BIGINT NOT NULL,
  rows_waiting BIGINT NOT NULL,
  rows_quarantined BIGINT NOT NULL
);
CREATE INDEX source_file_import ON source_file (import_no);
CREATE INDEX source_file_digest ON source_file (digest);

-- Statement files as received, before anything is parsed.
CREATE TABLE raw_file (
  digest BYTEA PRIMARY KEY,
  received_at TIMESTAMPTZ NOT NULL,
  bytes BIGINT NOT NULL,
  content BYTEA NOT NULL
);
-- pglz takes several times the CPU; a server built without lz4 keeps it.
DO $$ BEGIN
  ALTER TABLE raw_file ALTER COLUMN content SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN NULL;
END $$;

-- Rows and files that cannot be used: kept and shown, never dropped.
CREATE TABLE quarantine (
  record_digest BYTEA PRIMARY KEY,
  source_no BIGINT NOT NULL,
  file TEXT COLLATE "C" NOT NULL,
  line BIGINT NOT NULL,
  column_name TEXT COLLATE "C" NOT NULL,
  code BIGINT NOT NULL,
  found TEXT COLLATE "C" NOT NULL,
  record TEXT COLLATE "C" NOT NULL
);
CREATE INDEX quarantine_source ON quarantine (source_no);

-- Rows whose parent is not known yet: tried again by every later import. In the order of what they are
-- about, so that they are read in portions and a later row finds the older ones it outdoes.
CREATE TABLE waiting_row (
  kind TEXT COLLATE "C" NOT NULL,
  subject TEXT COLLATE "C" NOT NULL,
  record_digest BYTEA NOT NULL,
  source_no BIGINT NOT NULL,
  line BIGINT NOT NULL,
  parent_id TEXT COLLATE "C" NOT NULL,
  record TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (kind, subject, record_digest)
);

CREATE TABLE district (
  district_id TEXT COLLATE "C" NOT NULL,
  version BIGINT NOT NULL,
  source_no BIGINT NOT NULL,
  name TEXT COLLATE "C" NOT NULL,
  kind TEXT COLLATE "C" NOT NULL,
  gb_code TEXT COLLATE "C",
  parent_id TEXT COLLATE "C",
  tile_col BIGINT,
  tile_row BIGINT,
  PRIMARY KEY (district_id, version)
);

-- The licensing registries' own list.
CREATE TABLE licence (
  licence_no TEXT COLLATE "C" NOT NULL,
  version BIGINT NOT NULL,
  source_no BIGINT NOT NULL,
  name TEXT COLLATE "C" NOT NULL,
  uscc TEXT COLLATE "C",
  district_id TEXT COLLATE "C" NOT NULL,
  department TEXT COLLATE "C" NOT NULL,
  licence_from DATE,
  licence_to DATE,
  status TEXT COLLATE "C",
  PRIMARY KEY (licence_no, version)
);

CREATE TABLE institution_directory (
  institution_id TEXT COLLATE "C" PRIMARY KEY,
  inst_id BIGINT NOT NULL
);
CREATE UNIQUE INDEX institution_directory_inst ON institution_directory (inst_id);

CREATE TABLE institution (
  inst_id BIGINT NOT NULL,
  version BIGINT NOT NULL,
  source_no BIGINT NOT NULL,
  institution_id TEXT COLLATE "C" NOT NULL,
  district_id TEXT COLLATE "C" NOT NULL,
  name TEXT COLLATE "C" NOT NULL,
  uscc TEXT COLLATE "C",
  licence_kind TEXT COLLATE "C",
  licence_no TEXT COLLATE "C",
  licence_from DATE,
  licence_to DATE,
  department TEXT COLLATE "C",
  category TEXT COLLATE "C",
  subject TEXT COLLATE "C",
  prepays TEXT COLLATE "C" NOT NULL,
  status TEXT COLLATE "C" NOT NULL,
  platform_since DATE,
  opened_on DATE,
  custody_mode TEXT COLLATE "C",
  PRIMARY KEY (inst_id, version)
);

-- Next numbers and the end of each institution's hash chain; updated with every append.
CREATE TABLE institution_head (
  inst_id BIGINT PRIMARY KEY,
  seq BIGINT NOT NULL,
  hash BYTEA NOT NULL,
  contracts BIGINT NOT NULL
);

CREATE TABLE account_directory (
  account_id TEXT COLLATE "C" PRIMARY KEY,
  inst_id BIGINT NOT NULL,
  account_no BIGINT NOT NULL
);

CREATE TABLE account (
  inst_id BIGINT NOT NULL,
  account_no BIGINT NOT NULL,
  version BIGINT NOT NULL,
  source_no BIGINT NOT NULL,
  account_id TEXT COLLATE "C" NOT NULL,
  kind TEXT COLLATE "C" NOT NULL,
  min_deposit_fen BIGINT NOT NULL,
  bank_code TEXT COLLATE "C",
  branch_district_id TEXT COLLATE "C",
  agreement_no TEXT COLLATE "C",
  agreement_from DATE,
  agreement_to DATE,
  filed_on DATE,
  status TEXT COLLATE "C",
  PRIMARY KEY (inst_id, account_no, version)
);

CREATE TABLE contract_directory (
  order_id TEXT COLLATE "C" PRIMARY KEY,
  inst_id BIGINT NOT NULL,
  contract_no BIGINT NOT NULL
);

-- Days are days since 1970-01-01 in the tables from here on: they are hot.
CREATE TABLE contract (
  inst_id BIGINT NOT NULL,
  contract_no BIGINT NOT NULL,
  version BIGINT NOT NULL,
  source_no BIGINT NOT NULL,
  order_id TEXT COLLATE "C" NOT NULL,
  student_ref TEXT COLLATE "C" NOT NULL,
  ordered_day BIGINT NOT NULL,
  lessons BIGINT NOT NULL,
  gift_lessons BIGINT NOT NULL,
  unit_price_fen BIGINT NOT NULL,
  amount_fen BIGINT NOT NULL,
  extras_fen BIGINT NOT NULL,
  list_price_fen BIGINT,
  subject_group TEXT COLLATE "C",
  kind TEXT COLLATE "C",
  starts_day BIGINT,
  ends_day BIGINT,
  PRIMARY KEY (inst_id, contract_no, version)
);

-- Running totals of a contract, all postings counted; re-proved by the fold.
CREATE TABLE contract_state (
  inst_id BIGINT NOT NULL,
  contract_no BIGINT NOT NULL,
  lessons_counted BIGINT NOT NULL,
  earned_fen BIGINT NOT NULL,
  PRIMARY KEY (inst_id, contract_no)
);

CREATE TABLE settlement (
  inst_id BIGINT NOT NULL,
  account_no BIGINT NOT NULL,
  batch_no TEXT COLLATE "C" NOT NULL,
  version BIGINT NOT NULL,
  source_no BIGINT NOT NULL,
  channel BIGINT NOT NULL,
  period_from_day BIGINT NOT NULL,
  period_to_day BIGINT NOT NULL,
  gross_fen BIGINT NOT NULL,
  fee_fen BIGINT NOT NULL,
  refund_fen BIGINT NOT NULL,
  net_fen BIGINT NOT NULL,
  expected_day BIGINT,
  PRIMARY KEY (inst_id, account_no, batch_no, version)
);

CREATE TABLE account_freeze (
  inst_id BIGINT NOT NULL,
  account_no BIGINT NOT NULL,
  document_no TEXT COLLATE "C" NOT NULL,
  version BIGINT NOT NULL,
  source_no BIGINT NOT NULL,
  kind TEXT COLLATE "C" NOT NULL,
  amount_fen BIGINT,
  from_day BIGINT,
  to_day BIGINT,
  PRIMARY KEY (inst_id, account_no, document_no, version)
);

-- What a bank says an account held at the start and the end of a day.
CREATE TABLE statement_day (
  inst_id BIGINT NOT NULL,
  account_no BIGINT NOT NULL,
  day BIGINT NOT NULL,
  version BIGINT NOT NULL,
  source_no BIGINT NOT NULL,
  opening_fen BIGINT NOT NULL,
  closing_fen BIGINT NOT NULL,
  PRIMARY KEY (inst_id, account_no, day, version)
);

-- `quantity` counts lessons; of a bank line it is 1 for money in and -1 for money out.
-- The ledger. One row is one posting and one fact: debit and credit are accounts of the fixed chart
-- in ledger/mod.rs, so debits equal credits by construction. `business_day` is when it happened,
-- `source_no` when it was learned. A mistake is reversed by a row that names it, never edited.
-- `confirmed_day`: a lesson that counts was confirmed only after `business_day`, and counts from then on.
CREATE TABLE posting (
  inst_id BIGINT NOT NULL,
  seq BIGINT NOT NULL,
  source_no BIGINT NOT NULL,
  kind BIGINT NOT NULL,
  debit BIGINT NOT NULL,
  credit BIGINT NOT NULL,
  amount_fen BIGINT NOT NULL CHECK (amount_fen >= 0),
  business_day BIGINT NOT NULL,
  contract_no BIGINT NOT NULL,
  account_no BIGINT NOT NULL,
  source_id TEXT COLLATE "C" NOT NULL,
  revision BIGINT NOT NULL,
  reverses BIGINT,
  reference TEXT COLLATE "C" NOT NULL,
  channel BIGINT NOT NULL,
  state BIGINT NOT NULL,
  quantity BIGINT NOT NULL,
  stated_fen BIGINT,
  confirmed_day BIGINT CHECK (confirmed_day > business_day),
  hash BYTEA NOT NULL,
  PRIMARY KEY (inst_id, seq)
);
-- A bank numbers its lines per account.
CREATE UNIQUE INDEX posting_source ON posting
  (inst_id, kind, source_id, revision, (CASE WHEN kind = 5 THEN account_no ELSE 0 END));

-- What a fact carries beyond its posting (memo, counterparty, value date, cause of a refund …): one JSON
-- object, covered by the posting's hash.
CREATE TABLE posting_note (
  inst_id BIGINT NOT NULL,
  seq BIGINT NOT NULL,
  note TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (inst_id, seq)
);

-- Running balances of the chart; re-proved by the fold.
CREATE TABLE ledger_balance (
  inst_id BIGINT NOT NULL,
  ledger_account BIGINT NOT NULL,
  debit_fen BIGINT NOT NULL,
  credit_fen BIGINT NOT NULL,
  PRIMARY KEY (inst_id, ledger_account)
);

CREATE TABLE policy_version (
  policy_no BIGINT PRIMARY KEY,
  name TEXT COLLATE "C" NOT NULL,
  digest BYTEA NOT NULL,
  params TEXT COLLATE "C" NOT NULL,
  loaded_at TIMESTAMPTZ NOT NULL
);
CREATE UNIQUE INDEX policy_version_digest ON policy_version (name, digest);

-- One reconciliation for one (as-of day, known-at instant). Complete when completed_at is set.
CREATE TABLE run (
  run_id BIGINT PRIMARY KEY,
  policy_no BIGINT NOT NULL,
  as_of DATE NOT NULL,
  known_at TIMESTAMPTZ NOT NULL,
  source_cut BIGINT NOT NULL,
  district_id TEXT COLLATE "C",
  started_at TIMESTAMPTZ NOT NULL,
  completed_at TIMESTAMPTZ
);
CREATE INDEX run_as_of ON run (as_of, completed_at);

-- Results are kept as changes: a row holds from from_run up to, but not including, to_run.
CREATE TABLE position (
  inst_id BIGINT NOT NULL,
  policy_no BIGINT NOT NULL,
  from_run BIGINT NOT NULL,
  to_run BIGINT NOT NULL DEFAULT 9223372036854775807,
  district_id TEXT COLLATE "C" NOT NULL,
  mode BIGINT NOT NULL,
  status BIGINT NOT NULL,
  required_fen BIGINT NOT NULL,
  held_fen BIGINT NOT NULL,
  explained_fen BIGINT NOT NULL,
  uncovered_fen BIGINT NOT NULL,
  covered_fen BIGINT NOT NULL,
  deposit_required_fen BIGINT NOT NULL,
  deposit_held_fen BIGINT NOT NULL,
  unearned_confirmed_fen BIGINT NOT NULL,
  unearned_delivered_fen BIGINT NOT NULL,
  in_transit_fen BIGINT NOT NULL,
  fee_window_fen BIGINT NOT NULL,
  unidentified_fen BIGINT NOT NULL,
  frozen_fen BIGINT NOT NULL,
  releasable_fen BIGINT NOT NULL,
  protected_fen BIGINT NOT NULL,
  consumed_fen BIGINT NOT NULL,
  deemed_fen BIGINT NOT NULL,
  fees_recorded_fen BIGINT NOT NULL,
  fees_credited_fen BIGINT NOT NULL,
  contracts BIGINT NOT NULL,
  must_be_held BIGINT NOT NULL,
  under_custody BIGINT NOT NULL,
  accounts_expected BIGINT NOT NULL,
  accounts_proven BIGINT NOT NULL,
  missing_days BIGINT NOT NULL,
  uncovered_since_day BIGINT,
  PRIMARY KEY (inst_id, policy_no, from_run)
);
CREATE INDEX position_run ON position (policy_no, to_run);

-- account_no tells bank lines of one id apart and is 0 else. decision_no is the write-off or waiver that covers it, 0 for none. date_day 0 stands for "the as-of day": a state that is true while it is listed.
CREATE TABLE finding (
  inst_id BIGINT NOT NULL,
  policy_no BIGINT NOT NULL,
  code BIGINT NOT NULL,
  subject TEXT COLLATE "C" NOT NULL,
  account_no BIGINT NOT NULL,
  date_day BIGINT NOT NULL,
  from_run BIGINT NOT NULL,
  to_run BIGINT NOT NULL DEFAULT 9223372036854775807,
  amount_fen BIGINT NOT NULL,
  n BIGINT NOT NULL,
  severity BIGINT NOT NULL,
  first_day BIGINT NOT NULL,
  due_day BIGINT,
  due_provisional BIGINT NOT NULL,
  evidence TEXT COLLATE "C" NOT NULL,
  decision_no BIGINT NOT NULL,
  PRIMARY KEY (inst_id, policy_no, code, subject, account_no, date_day, from_run)
);
CREATE INDEX finding_run ON finding (policy_no, to_run);

-- The three-way proof of a custody account as of its newest proven day: closing + under way in - under way out
-- is contract cash + unallocated + the rest. Each amount has the sign with which it adds to its side, but
-- under_way_out_fen, which is what is to leave. `items` counts what the sums are made of.
CREATE TABLE account_proof (
  inst_id BIGINT NOT NULL,
  policy_no BIGINT NOT NULL,
  account_no BIGINT NOT NULL,
  from_run BIGINT NOT NULL,
  to_run BIGINT NOT NULL DEFAULT 9223372036854775807,
  day BIGINT NOT NULL,
  closing_fen BIGINT NOT NULL,
  under_way_in_fen BIGINT NOT NULL,
  under_way_out_fen BIGINT NOT NULL,
  contract_cash_fen BIGINT NOT NULL,
  unallocated_fen BIGINT NOT NULL,
  unidentified_fen BIGINT NOT NULL,
  difference_fen BIGINT NOT NULL,
  fee_fen BIGINT NOT NULL,
  batch_refund_fen BIGINT NOT NULL,
  unauthorised_fen BIGINT NOT NULL,
  brought_forward_fen BIGINT NOT NULL,
  gap_fen BIGINT NOT NULL,
  items BIGINT NOT NULL,
  expired_items BIGINT NOT NULL,
  PRIMARY KEY (inst_id, policy_no, account_no, from_run)
);

-- A bank line is claimed once: its key is the line. payment_seq is the claimed payment of a 1:1
-- match and 0 for several payments, which are in match_item. `pack` and `rule` name the rule of the policy that
-- matched it: the place of the pack among the district's, and the rule's in the pack from 1. `difference_fen`
-- and `fee_fen` are its group's, on the group's first line. `decision_no` is the decision of people that matched
-- it instead of a rule, whose number is then 0.
CREATE TABLE match_line (
  inst_id BIGINT NOT NULL,
  policy_no BIGINT NOT NULL,
  entry_seq BIGINT NOT NULL,
  from_run BIGINT NOT NULL,
  to_run BIGINT NOT NULL DEFAULT 9223372036854775807,
  kind BIGINT NOT NULL,
  payment_seq BIGINT NOT NULL,
  n BIGINT NOT NULL,
  amount_fen BIGINT NOT NULL,
  pack BIGINT NOT NULL,
  rule BIGINT NOT NULL,
  difference_fen BIGINT NOT NULL,
  fee_fen BIGINT NOT NULL,
  decision_no BIGINT NOT NULL,
  PRIMARY KEY (inst_id, policy_no, entry_seq, from_run)
);

CREATE TABLE match_item (
  inst_id BIGINT NOT NULL,
  policy_no BIGINT NOT NULL,
  payment_seq BIGINT NOT NULL,
  from_run BIGINT NOT NULL,
  to_run BIGINT NOT NULL DEFAULT 9223372036854775807,
  entry_seq BIGINT NOT NULL,
  PRIMARY KEY (inst_id, policy_no, payment_seq, from_run)
);

-- A credit that the rules left to people, with a payment it may settle: one row a candidate. `doubt` is 1 where
-- several choices add up, 2 where two credits want one payment, 3 where there are more candidates than a rule
-- may try.
CREATE TABLE match_review (
  inst_id BIGINT NOT NULL,
  policy_no BIGINT NOT NULL,
  entry_seq BIGINT NOT NULL,
  payment_seq BIGINT NOT NULL,
  from_run BIGINT NOT NULL,
  to_run BIGINT NOT NULL DEFAULT 9223372036854775807,
  pack BIGINT NOT NULL,
  rule BIGINT NOT NULL,
  doubt BIGINT NOT NULL,
  PRIMARY KEY (inst_id, policy_no, entry_seq, payment_seq, from_run)
);

CREATE TABLE district_coverage (
  run_id BIGINT NOT NULL,
  district_id TEXT COLLATE "C" NOT NULL,
  required_fen BIGINT NOT NULL,
  held_fen BIGINT NOT NULL,
  uncovered_fen BIGINT NOT NULL,
  covered_fen BIGINT NOT NULL,
  institutions BIGINT NOT NULL,
  uncovered_institutions BIGINT NOT NULL,
  unknown_institutions BIGINT NOT NULL,
  must_be_held BIGINT NOT NULL,
  under_custody BIGINT NOT NULL,
  red_flags BIGINT NOT NULL,
  amber_flags BIGINT NOT NULL,
  unmatched_credits BIGINT NOT NULL,
  accounts_expected BIGINT NOT NULL,
  accounts_proven BIGINT NOT NULL,
  missing_days BIGINT NOT NULL,
  PRIMARY KEY (run_id, district_id)
);

-- `fence` moves on with every holder. 'visible' orders what becomes visible.
CREATE TABLE job_lock (
  job TEXT COLLATE "C" PRIMARY KEY,
  fence BIGINT NOT NULL DEFAULT 0
);
INSERT INTO job_lock (job) VALUES ('import'), ('run'), ('visible');

-- Append-only by grant: the service works as jintuo_runtime, which may add rows to these tables but
-- never change or remove one. Where the migrating login may not create roles, the service works with
-- that login's own rights and says so.
DO $$
BEGIN
  IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'jintuo_runtime') THEN
    CREATE ROLE jintuo_runtime NOLOGIN;
  END IF;
EXCEPTION
  WHEN insufficient_privilege THEN RAISE NOTICE 'role jintuo_runtime was not created';
  WHEN duplicate_object OR unique_violation THEN NULL; -- another database of this server did it first
END $$;

DO $$
BEGIN
  IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'jintuo_runtime') THEN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO jintuo_runtime', current_schema());
    GRANT SELECT, INSERT ON
      raw_file, district, licence, institution, institution_directory, account, account_directory, contract, contract_directory, settlement, account_freeze, statement_day, posting, posting_note, policy_version
      TO jintuo_runtime;
    -- Results and totals change, but only a row that waited is ever removed.
    GRANT SELECT, INSERT, UPDATE ON
      import, source_file, quarantine, waiting_row, institution_head, contract_state, ledger_balance, run, position, finding, match_line, match_item, match_review, account_proof, district_coverage
      TO jintuo_runtime;
    GRANT DELETE ON waiting_row TO jintuo_runtime;
    GRANT SELECT, UPDATE ON job_lock TO jintuo_runtime;
    GRANT SELECT ON _sqlx_migrations TO jintuo_runtime;
  END IF;
END $$;
