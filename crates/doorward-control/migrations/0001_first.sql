-- What both SQLite and PostgreSQL understand: times are BIGINT milliseconds since 1970, booleans BIGINT 0 or 1,
-- documents TEXT JSON, bytes TEXT hexadecimal. Whatever somebody can own carries its account from here on.

CREATE TABLE ids (
    kind TEXT PRIMARY KEY,
    next BIGINT NOT NULL
);

CREATE TABLE accounts (
    id BIGINT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

-- home: 'settings' rows are rewritten at each start, 'store' rows are edited through the API.
CREATE TABLE grants (
    account BIGINT NOT NULL REFERENCES accounts (id),
    kind TEXT NOT NULL CHECK (kind IN ('host-suffix', 'tcp-range', 'udp-range')),
    value TEXT NOT NULL,
    home TEXT NOT NULL CHECK (home IN ('settings', 'store')),
    PRIMARY KEY (account, kind, value, home)
);

CREATE TABLE site_keys (
    fingerprint TEXT PRIMARY KEY,
    pkcs8 TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'successor', 'retired')),
    created_at BIGINT NOT NULL
);

CREATE TABLE devices (
    id BIGINT PRIMARY KEY,
    account BIGINT NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    joined_at BIGINT NOT NULL,
    last_seen BIGINT,
    revoked_at BIGINT,
    version BIGINT NOT NULL
);

CREATE TABLE invites (
    id BIGINT PRIMARY KEY,
    account BIGINT NOT NULL REFERENCES accounts (id),
    secret_hash TEXT NOT NULL UNIQUE,
    uses BIGINT NOT NULL,
    uses_left BIGINT NOT NULL CHECK (uses_left >= 0),
    device_name TEXT,
    replaces BIGINT REFERENCES devices (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT,
    version BIGINT NOT NULL
);

CREATE TABLE device_keys (
    key TEXT PRIMARY KEY,
    device BIGINT NOT NULL REFERENCES devices (id),
    state TEXT NOT NULL CHECK (state IN ('active', 'replaced', 'revoked')),
    bound_at BIGINT NOT NULL,
    bound_by BIGINT REFERENCES invites (id) ON DELETE SET NULL
);
CREATE UNIQUE INDEX device_keys_one_active ON device_keys (device) WHERE state = 'active';

CREATE TABLE invite_uses (
    invite BIGINT NOT NULL REFERENCES invites (id) ON DELETE CASCADE,
    key TEXT NOT NULL REFERENCES device_keys (key),
    used_at BIGINT NOT NULL,
    PRIMARY KEY (invite, key)
);

-- owner_access, once set, is the policy's home; offered_access is what the device declared last.
CREATE TABLE services (
    id BIGINT PRIMARY KEY,
    device BIGINT NOT NULL REFERENCES devices (id),
    account BIGINT NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    title TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('http', 'tcp', 'udp')),
    virtual_port BIGINT,
    is_main BIGINT NOT NULL,
    standing TEXT NOT NULL CHECK (standing IN ('offered', 'withdrawn')),
    offered_access TEXT NOT NULL,
    owner_access TEXT,
    version BIGINT NOT NULL,
    UNIQUE (device, name),
    UNIQUE (device, virtual_port)
);

-- Reservations last until released by hand; is_wanted says whether they lead anywhere now. prefix '' is the whole
-- host. origin 'given' was chosen by the gateway, 'wished' by the device.
CREATE TABLE hosts (
    host TEXT NOT NULL,
    prefix TEXT NOT NULL,
    strip BIGINT NOT NULL,
    origin TEXT NOT NULL CHECK (origin IN ('given', 'wished')),
    is_wanted BIGINT NOT NULL,
    service BIGINT NOT NULL REFERENCES services (id),
    PRIMARY KEY (host, prefix)
);
CREATE INDEX hosts_by_service ON hosts (service);

CREATE TABLE ports (
    protocol TEXT NOT NULL CHECK (protocol IN ('tcp', 'udp')),
    port BIGINT NOT NULL CHECK (port BETWEEN 1 AND 65535),
    origin TEXT NOT NULL CHECK (origin IN ('given', 'wished')),
    is_wanted BIGINT NOT NULL,
    service BIGINT NOT NULL REFERENCES services (id),
    PRIMARY KEY (protocol, port)
);
CREATE INDEX ports_by_service ON ports (service);

CREATE TABLE audit (
    id BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    account BIGINT,
    deed TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    source TEXT NOT NULL,
    count BIGINT NOT NULL
);

INSERT INTO ids (kind, next) VALUES ('device', 1), ('invite', 1), ('service', 1), ('audit', 1);
