-- Cameras are services of a kind of their own.
ALTER TABLE services RENAME COLUMN kind TO old_kind;
ALTER TABLE services ADD COLUMN kind TEXT NOT NULL DEFAULT 'tcp' CHECK (kind IN ('http', 'tcp', 'udp', 'camera'));
UPDATE services SET kind = old_kind;
ALTER TABLE services DROP COLUMN old_kind;
