-- The audit as a chain: hash is SHA-256 over the line before's hash and this line (docs/audit-and-alerts.md). Lines from before get theirs
-- at the first start. until: where it took a while. person and grounds: who, and what let them. up, down: bytes from and to a visitor.
ALTER TABLE audit ADD COLUMN until BIGINT;
ALTER TABLE audit ADD COLUMN person TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN grounds TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN up BIGINT NOT NULL DEFAULT 0;
ALTER TABLE audit ADD COLUMN down BIGINT NOT NULL DEFAULT 0;
ALTER TABLE audit ADD COLUMN ending TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN hash TEXT NOT NULL DEFAULT '';
CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX audit_by_person ON audit (person, id);
CREATE INDEX audit_by_subject ON audit (subject, id);

-- One row: the last line that was forgotten, on which the first that is left rests.
CREATE TABLE audit_anchor (
    id BIGINT NOT NULL,
    hash TEXT NOT NULL
);
INSERT INTO audit_anchor (id, hash)
    SELECT COALESCE((SELECT MIN(id) FROM audit), (SELECT next FROM ids WHERE kind = 'audit')) - 1,
    '0000000000000000000000000000000000000000000000000000000000000000';

-- Devices whose absence was told, so that a restart does not tell it again.
CREATE TABLE told_offline (
    device BIGINT PRIMARY KEY REFERENCES devices (id),
    since BIGINT NOT NULL
);
