-- SSH. fingerprint: SHA-256 of the key as it travels, hexadecimal. A key is one device's or one person's; a row is removed with
-- its key, but one that was revoked or replaced with its device stays known to stay refused.
CREATE TABLE ssh_keys (
    fingerprint TEXT PRIMARY KEY,
    key TEXT NOT NULL,
    device BIGINT REFERENCES devices (id),
    person TEXT,
    state TEXT NOT NULL CHECK (state IN ('active', 'replaced', 'revoked')),
    added_at BIGINT NOT NULL,
    CHECK ((device IS NULL) <> (person IS NULL))
);
CREATE INDEX ssh_keys_by_device ON ssh_keys (device);

-- The gateway's own, in the OpenSSH format, sealed; public_key as in a .pub file.
CREATE TABLE ssh_host_keys (
    kind TEXT PRIMARY KEY,
    public_key TEXT NOT NULL,
    sealed_key TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
