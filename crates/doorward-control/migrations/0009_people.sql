-- People. An account is a person; what somebody proves about themselves names the account. Names are for ever: policies say them.
ALTER TABLE accounts ADD COLUMN role TEXT NOT NULL DEFAULT 'member' CHECK (role IN ('owner', 'member', 'guest'));
ALTER TABLE accounts ADD COLUMN title TEXT NOT NULL DEFAULT '';
ALTER TABLE accounts ADD COLUMN ends_at BIGINT;
ALTER TABLE accounts ADD COLUMN disabled_at BIGINT;
ALTER TABLE accounts ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
UPDATE accounts SET role = 'owner';

-- Until now a person was a name beside an SSH key or certificate.
INSERT INTO accounts (id, name, created_at)
    SELECT (SELECT COALESCE(MAX(id), 1) FROM accounts) + ROW_NUMBER() OVER (ORDER BY person), person, MIN(since)
    FROM (SELECT person, added_at AS since FROM ssh_keys UNION ALL SELECT person, created_at FROM ssh_certificates) AS named
    WHERE person IS NOT NULL AND person NOT IN (SELECT name FROM accounts) GROUP BY person;
UPDATE accounts SET title = name WHERE title = '';
INSERT INTO ids (kind, next) SELECT 'account', COALESCE(MAX(id), 1) + 1 FROM accounts;

CREATE TABLE held_ssh_keys (
    fingerprint TEXT PRIMARY KEY,
    key TEXT NOT NULL,
    device BIGINT REFERENCES devices (id),
    account BIGINT REFERENCES accounts (id),
    state TEXT NOT NULL CHECK (state IN ('active', 'replaced', 'revoked')),
    added_at BIGINT NOT NULL,
    CHECK ((device IS NULL) <> (account IS NULL))
);
INSERT INTO held_ssh_keys (fingerprint, key, device, account, state, added_at)
    SELECT fingerprint, key, device, (SELECT id FROM accounts WHERE name = person), state, added_at FROM ssh_keys;
DROP TABLE ssh_keys;
ALTER TABLE held_ssh_keys RENAME TO ssh_keys;
CREATE INDEX ssh_keys_by_device ON ssh_keys (device);
CREATE INDEX ssh_keys_by_account ON ssh_keys (account);

CREATE TABLE person_groups (
    id BIGINT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE TABLE memberships (
    person_group BIGINT NOT NULL REFERENCES person_groups (id) ON DELETE CASCADE,
    account BIGINT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    PRIMARY KEY (person_group, account)
);
CREATE INDEX memberships_by_account ON memberships (account);

-- Open while ended_at is NULL. Rows outlive their person and service, as history; ids are never given twice. until is an instant:
-- nothing that happens meanwhile makes a session longer. used_at may be a minute behind. request: what makes asking again harmless.
CREATE TABLE sessions (
    id BIGINT PRIMARY KEY,
    account BIGINT NOT NULL,
    service BIGINT NOT NULL,
    request TEXT,
    opened_at BIGINT NOT NULL,
    until BIGINT NOT NULL,
    used_at BIGINT NOT NULL,
    ended_at BIGINT,
    ending TEXT CHECK (ending IN ('time', 'hand', 'idle', 'gone')),
    version BIGINT NOT NULL,
    UNIQUE (account, request),
    CHECK ((ended_at IS NULL) = (ending IS NULL))
);
CREATE INDEX sessions_open ON sessions (account, service) WHERE ended_at IS NULL;

INSERT INTO ids (kind, next) VALUES ('group', 1), ('session', 1);
