-- Clinical records of one custodian. Handles and index values are keyed hashes; contents are ciphertext.
CREATE TABLE records (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  resource_type TEXT NOT NULL,
  handle BLOB NOT NULL,
  version BIGINT NOT NULL,
  status BIGINT NOT NULL,
  updated_ms BIGINT NOT NULL,
  ciphertext BLOB NOT NULL,
  wrapped_key BLOB NOT NULL,
  class_id BLOB NOT NULL,
  epoch BIGINT NOT NULL,
  commitment BLOB NOT NULL,
  leaf_count BIGINT NOT NULL,
  root BLOB NOT NULL,
  batch BLOB NOT NULL,
  position BIGINT NOT NULL,
  compartment BLOB,
  UNIQUE (resource_type, handle, version)
);
CREATE INDEX records_by_status ON records (resource_type, status, seq);
CREATE INDEX records_by_batch ON records (batch, position);
CREATE INDEX records_by_compartment ON records (compartment, status, seq);

-- One row per searchable value: the keyed hash covers resource type, parameter and value.
CREATE TABLE index_values (
  value BLOB NOT NULL,
  rec BIGINT NOT NULL,
  PRIMARY KEY (value, rec)
) WITHOUT ROWID;
CREATE INDEX index_values_by_record ON index_values (rec);

-- Conditional creates under way: one row per condition, gone once its record is current.
CREATE TABLE claims (
  claim BLOB PRIMARY KEY NOT NULL,
  batch BLOB NOT NULL
);

-- Ledger transactions of this service: what must reach the ledger and has not been confirmed.
CREATE TABLE outbox (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  batch BLOB NOT NULL UNIQUE,
  kind BIGINT NOT NULL,
  tx BLOB,
  expires BIGINT NOT NULL,
  attempts BIGINT NOT NULL,
  next_ms BIGINT NOT NULL
);
CREATE INDEX outbox_by_time ON outbox (next_ms, seq);

-- Committed batches with the parts of their receipts.
CREATE TABLE batches (
  batch BLOB PRIMARY KEY NOT NULL,
  height BIGINT NOT NULL,
  proof BLOB NOT NULL
);

-- Consents of this custodian's patients by their ledger handle; the controller's key is sealed.
CREATE TABLE consents (
  ledger_handle BLOB PRIMARY KEY NOT NULL,
  record_handle BLOB NOT NULL UNIQUE,
  compartment BLOB NOT NULL,
  version BIGINT NOT NULL,
  record_version BIGINT NOT NULL,
  sealed_controller BLOB NOT NULL,
  class_id BLOB NOT NULL,
  epoch BIGINT NOT NULL
);
CREATE INDEX consents_by_compartment ON consents (compartment);

-- Sensitivity classes of a patient compartment that exist, to re-key them when a consent changes.
CREATE TABLE classes (
  class_id BLOB PRIMARY KEY NOT NULL,
  compartment BLOB NOT NULL,
  policy TEXT NOT NULL
);
CREATE INDEX classes_by_compartment ON classes (compartment);

-- Single-use values: assertion ids and message nonces, kept until they would be refused as too old anyway.
CREATE TABLE seen (
  value BLOB PRIMARY KEY NOT NULL,
  expires_ms BIGINT NOT NULL
);

-- Audit events that the audit service has not acknowledged, sealed.
CREATE TABLE spool (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  sealed BLOB NOT NULL
);
