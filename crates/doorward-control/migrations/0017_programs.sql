-- Logins of programs: tokens for visiting, and certificates, of which `token_hash` is the SHA-256 of the whole certificate (DER).
ALTER TABLE logins RENAME COLUMN scope TO old_scope;
ALTER TABLE logins ADD COLUMN scope TEXT CHECK (scope IN ('visit', 'read', 'sessions', 'manage'));
UPDATE logins SET scope = old_scope;
ALTER TABLE logins DROP COLUMN old_scope;

ALTER TABLE logins RENAME COLUMN kind TO old_kind;
ALTER TABLE logins ADD COLUMN kind TEXT NOT NULL DEFAULT 'browser' CHECK (kind IN ('browser', 'token', 'certificate'));
UPDATE logins SET kind = old_kind;
ALTER TABLE logins DROP COLUMN old_kind;
