-- Signed-in browsers and API tokens. Of a token only the hash rests. What was ended is gone from here: the audit tells of it.
CREATE TABLE logins (
    id BIGINT PRIMARY KEY,
    account BIGINT NOT NULL REFERENCES accounts (id),
    kind TEXT NOT NULL CHECK (kind IN ('browser', 'token')),
    token_hash TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    source TEXT,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    -- May be a minute behind.
    seen_at BIGINT NOT NULL
);
CREATE INDEX logins_by_account ON logins (account);

INSERT INTO ids (kind, next) VALUES ('login', 1);

-- Why the last one ended is asked for whenever somebody comes back.
CREATE INDEX sessions_by_person ON sessions (account, service, id);
