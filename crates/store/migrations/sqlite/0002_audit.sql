-- The audit log of one organisation. Sequence numbers are gapless and chosen by the appender.
CREATE TABLE audit_events (
  seq BIGINT PRIMARY KEY NOT NULL,
  event_id BLOB NOT NULL UNIQUE,
  event BLOB NOT NULL,
  leaf BLOB NOT NULL,
  recorded_ms BIGINT NOT NULL,
  kind TEXT NOT NULL,
  action TEXT NOT NULL,
  outcome TEXT NOT NULL,
  agent BLOB
);
CREATE INDEX audit_events_by_time ON audit_events (recorded_ms, seq);
CREATE INDEX audit_events_by_kind ON audit_events (kind, seq);

-- Patients that an event discloses something about, by keyed hash.
CREATE TABLE audit_patients (
  patient BLOB NOT NULL,
  seq BIGINT NOT NULL,
  PRIMARY KEY (patient, seq)
) WITHOUT ROWID;

-- Hashes of complete subtrees: level 0 = leaves, index counts subtrees of that level from 0.
CREATE TABLE audit_hashes (
  level BIGINT NOT NULL,
  position BIGINT NOT NULL,
  hash BLOB NOT NULL,
  PRIMARY KEY (level, position)
) WITHOUT ROWID;

-- Checkpoints that were sent to the ledger; proof is absent until the block is committed.
CREATE TABLE audit_anchors (
  size BIGINT PRIMARY KEY NOT NULL,
  root BLOB NOT NULL,
  tx BLOB NOT NULL,
  height BIGINT,
  proof BLOB
);
