-- Passwords by SSH, all made by the gateway. digest: SHA-256 of one, hexadecimal. port: the virtual port of its device that a sender
-- key is for; none: a token of the device's own. A row is removed with its password.
CREATE TABLE ssh_passwords (
    id BIGINT PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    device BIGINT NOT NULL REFERENCES devices (id),
    port BIGINT CHECK (port BETWEEN 1 AND 65535),
    added_at BIGINT NOT NULL
);
CREATE INDEX ssh_passwords_by_device ON ssh_passwords (device);

INSERT INTO ids (kind, next) VALUES ('ssh-password', 1);
