-- Who somebody is at an identity provider: issuer and subject say it together, for ever. is_origin: the account was made when they first
-- came, so the provider has a say in its groups and role.
CREATE TABLE identities (
    id BIGINT PRIMARY KEY,
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    account BIGINT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    is_origin BIGINT NOT NULL,
    since BIGINT NOT NULL,
    used_at BIGINT NOT NULL,
    UNIQUE (issuer, subject)
);
CREATE INDEX identities_by_account ON identities (account);
INSERT INTO ids (kind, next) VALUES ('identity', 1);

-- The newest of a list are found without looking at the others.
CREATE INDEX sessions_open_by_id ON sessions (id) WHERE ended_at IS NULL;
CREATE INDEX sessions_open_by_account ON sessions (account, ended_at, id);
CREATE INDEX sessions_open_by_service ON sessions (service, ended_at, id);
CREATE INDEX sessions_by_account ON sessions (account, id);
CREATE INDEX sessions_by_service ON sessions (service, id);
CREATE INDEX services_by_account ON services (account);
CREATE INDEX devices_by_account ON devices (account);
