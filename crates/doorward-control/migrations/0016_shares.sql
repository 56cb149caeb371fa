-- Links that let whoever has one come to one service. Of the secret and the PIN only hashes rest. Rows outlive their service, and are
-- forgotten a month after their end; ids are never given twice. uses: NULL for as many as come.
CREATE TABLE shares (
    id BIGINT PRIMARY KEY,
    service BIGINT NOT NULL,
    account BIGINT NOT NULL,
    digest TEXT NOT NULL UNIQUE,
    pin TEXT,
    title TEXT NOT NULL,
    is_read_only BIGINT NOT NULL,
    uses BIGINT,
    used BIGINT NOT NULL,
    made_at BIGINT NOT NULL,
    until BIGINT NOT NULL,
    revoked_at BIGINT,
    version BIGINT NOT NULL,
    CHECK (uses IS NULL OR used <= uses)
);
CREATE INDEX shares_by_service ON shares (service);

-- browser: a hash of what its forms are bound to. Pressing again in the same browser is no further use.
CREATE TABLE share_uses (
    share BIGINT NOT NULL REFERENCES shares (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    browser TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (share, number),
    UNIQUE (share, browser)
);

INSERT INTO ids (kind, next) VALUES ('share', 1);
