-- What people decided beside the rules. Nothing here changes a fact: a decision holds once another person than
-- its author has approved it, and until it is undone or its last day is over.

-- A proposal. `kind` is 1 where movements belong together, 2 where they do not, 3 where a finding is written
-- off, 4 where one is waived. Of a finding, `code`, `subject`, `account_no` and `date_day` are its key (code 0:
-- none). `amount_fen` is the finding's amount, or the difference that a match accepts.
CREATE TABLE decision (
  inst_id INTEGER NOT NULL,
  decision_no INTEGER NOT NULL,
  source_no INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  code INTEGER NOT NULL,
  subject TEXT NOT NULL,
  account_no INTEGER NOT NULL,
  date_day INTEGER NOT NULL,
  amount_fen INTEGER NOT NULL,
  expires_day INTEGER,
  proposed_by TEXT NOT NULL,
  reason TEXT NOT NULL,
  proposed_at TEXT NOT NULL,
  PRIMARY KEY (inst_id, decision_no)
) WITHOUT ROWID, STRICT;

-- What a match or unmatch is about, by the senders' own ids: `side` is 1 for a payment (account 0) and 2 for a
-- bank line. Where the amount is another one now, or the member is gone, the decision is not applied.
CREATE TABLE decision_item (
  inst_id INTEGER NOT NULL,
  decision_no INTEGER NOT NULL,
  side INTEGER NOT NULL,
  account_no INTEGER NOT NULL,
  source_id TEXT NOT NULL,
  amount_fen INTEGER NOT NULL,
  PRIMARY KEY (inst_id, decision_no, side, account_no, source_id)
) WITHOUT ROWID, STRICT;

-- What became of it: `event` is 1 approved, 2 rejected, 3 undone.
CREATE TABLE decision_event (
  inst_id INTEGER NOT NULL,
  decision_no INTEGER NOT NULL,
  event_no INTEGER NOT NULL,
  source_no INTEGER NOT NULL,
  event INTEGER NOT NULL,
  decided_by TEXT NOT NULL,
  reason TEXT NOT NULL,
  decided_at TEXT NOT NULL,
  PRIMARY KEY (inst_id, decision_no, event_no)
) WITHOUT ROWID, STRICT;

-- Append-only: a row of these tables is never changed or removed.
CREATE TRIGGER decision_no_update BEFORE UPDATE ON decision BEGIN SELECT RAISE(ABORT, 'decision is append-only'); END;
CREATE TRIGGER decision_no_delete BEFORE DELETE ON decision BEGIN SELECT RAISE(ABORT, 'decision is append-only'); END;
CREATE TRIGGER decision_no_replace BEFORE INSERT ON decision WHEN EXISTS (SELECT 1 FROM decision WHERE inst_id = NEW.inst_id AND decision_no = NEW.decision_no) BEGIN SELECT RAISE(ABORT, 'decision is append-only'); END;
CREATE TRIGGER decision_item_no_update BEFORE UPDATE ON decision_item BEGIN SELECT RAISE(ABORT, 'decision_item is append-only'); END;
CREATE TRIGGER decision_item_no_delete BEFORE DELETE ON decision_item BEGIN SELECT RAISE(ABORT, 'decision_item is append-only'); END;
CREATE TRIGGER decision_item_no_replace BEFORE INSERT ON decision_item WHEN EXISTS (SELECT 1 FROM decision_item WHERE inst_id = NEW.inst_id AND decision_no = NEW.decision_no AND side = NEW.side AND account_no = NEW.account_no AND source_id = NEW.source_id) BEGIN SELECT RAISE(ABORT, 'decision_item is append-only'); END;
CREATE TRIGGER decision_event_no_update BEFORE UPDATE ON decision_event BEGIN SELECT RAISE(ABORT, 'decision_event is append-only'); END;
CREATE TRIGGER decision_event_no_delete BEFORE DELETE ON decision_event BEGIN SELECT RAISE(ABORT, 'decision_event is append-only'); END;
CREATE TRIGGER decision_event_no_replace BEFORE INSERT ON decision_event WHEN EXISTS (SELECT 1 FROM decision_event WHERE inst_id = NEW.inst_id AND decision_no = NEW.decision_no AND event_no = NEW.event_no) BEGIN SELECT RAISE(ABORT, 'decision_event is append-only'); END;
