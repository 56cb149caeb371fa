-- Keys by which people knock. `secret` is encrypted; `number` is what a packet says. `services` are the numbers of those that it
-- opens, as JSON.
CREATE TABLE knock_keys (
    id BIGINT PRIMARY KEY,
    account BIGINT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    number TEXT NOT NULL UNIQUE,
    secret TEXT NOT NULL,
    may_be_seen BIGINT NOT NULL,
    services TEXT NOT NULL,
    since BIGINT NOT NULL,
    used_at BIGINT,
    used_from TEXT,
    -- What was sent before this does not count: its nonce may be forgotten.
    forgotten_before BIGINT NOT NULL DEFAULT 0,
    UNIQUE (account, name)
);

-- Of knocks that counted, as long as they could come again.
CREATE TABLE knock_nonces (
    knock_key BIGINT NOT NULL REFERENCES knock_keys (id) ON DELETE CASCADE,
    nonce TEXT NOT NULL,
    sent_at BIGINT NOT NULL,
    PRIMARY KEY (knock_key, nonce)
);

INSERT INTO ids (kind, next) VALUES ('knock-key', 1);
