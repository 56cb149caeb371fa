-- The key that signs certificates of people (OpenSSH, PROTOCOL.certkeys), in the OpenSSH format, sealed. One row, made when it
-- is first needed; public_key as in a .pub file.
CREATE TABLE ssh_authorities (
    public_key TEXT PRIMARY KEY,
    sealed_key TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- What it signed and was not taken back. fingerprint: of the key that the certificate is about, as in ssh_keys.
CREATE TABLE ssh_certificates (
    serial BIGINT PRIMARY KEY,
    person TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    key TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    until BIGINT NOT NULL
);
CREATE INDEX ssh_certificates_by_person ON ssh_certificates (person);

INSERT INTO ids (kind, next) VALUES ('ssh-certificate', 1);
