-- What people decided beside the rules. Nothing here changes a fact: a decision holds once another person than
-- its author has approved it, and until it is undone or its last day is over.

-- A proposal. `kind` is 1 where movements belong together, 2 where they do not, 3 where a finding is written
-- off, 4 where one is waived. Of a finding, `code`, `subject`, `account_no` and `date_day` are its key (code 0:
-- none). `amount_fen` is the finding's amount, or the difference that a match accepts.
CREATE TABLE decision (
  inst_id BIGINT NOT NULL,
  decision_no BIGINT NOT NULL,
  source_no BIGINT NOT NULL,
  kind BIGINT NOT NULL,
  code BIGINT NOT NULL,
  subject TEXT COLLATE "C" NOT NULL,
  account_no BIGINT NOT NULL,
  date_day BIGINT NOT NULL,
  amount_fen BIGINT NOT NULL,
  expires_day BIGINT,
  proposed_by TEXT COLLATE "C" NOT NULL,
  reason TEXT COLLATE "C" NOT NULL,
  proposed_at TIMESTAMPTZ NOT NULL,
  PRIMARY KEY (inst_id, decision_no)
);

-- What a match or unmatch is about, by the senders' own ids: `side` is 1 for a payment (account 0) and 2 for a
-- bank line. Where the amount is another one now, or the member is gone, the decision is not applied.
CREATE TABLE decision_item (
  inst_id BIGINT NOT NULL,
  decision_no BIGINT NOT NULL,
  side BIGINT NOT NULL,
  account_no BIGINT NOT NULL,
  source_id TEXT COLLATE "C" NOT NULL,
  amount_fen BIGINT NOT NULL,
  PRIMARY KEY (inst_id, decision_no, side, account_no, source_id)
);

-- What became of it: `event` is 1 approved, 2 rejected, 3 undone.
CREATE TABLE decision_event (
  inst_id BIGINT NOT NULL,
  decision_no BIGINT NOT NULL,
  event_no BIGINT NOT NULL,
  source_no BIGINT NOT NULL,
  event BIGINT NOT NULL,
  decided_by TEXT COLLATE "C" NOT NULL,
  reason TEXT COLLATE "C" NOT NULL,
  decided_at TIMESTAMPTZ NOT NULL,
  PRIMARY KEY (inst_id, decision_no, event_no)
);

DO $$
BEGIN
  IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'jintuo_runtime') THEN
    GRANT SELECT, INSERT ON decision, decision_item, decision_event TO jintuo_runtime;
  END IF;
END $$;
