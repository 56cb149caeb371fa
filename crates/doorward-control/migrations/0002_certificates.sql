-- Certificates of authorities that speak ACME. What is sealed is encrypted with the key in the file beside the store,
-- bound to its table and row. directory: the authority, by the URL of its ACME directory. names: with commas between.

CREATE TABLE acme_accounts (
    directory TEXT PRIMARY KEY,
    sealed_credentials TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE certificates (
    names TEXT PRIMARY KEY,
    directory TEXT NOT NULL,
    chain TEXT NOT NULL,
    sealed_key TEXT NOT NULL,
    not_before BIGINT NOT NULL,
    not_after BIGINT NOT NULL
);

-- Under way: whoever starts anew goes on with them.
CREATE TABLE certificate_orders (
    names TEXT NOT NULL,
    directory TEXT NOT NULL,
    url TEXT NOT NULL,
    sealed_key TEXT NOT NULL,
    begun_at BIGINT NOT NULL,
    PRIMARY KEY (names, directory)
);

CREATE TABLE certificate_attempts (
    id BIGINT PRIMARY KEY,
    names TEXT NOT NULL,
    directory TEXT NOT NULL,
    at BIGINT NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('issued', 'renewed', 'failed')),
    not_until BIGINT
);
INSERT INTO ids (kind, next) VALUES ('certificate-attempt', 1);

-- Only in a backup: the key of the file beside the store, until it is back in a file of its own.
CREATE TABLE carried_seal (
    key TEXT NOT NULL
);
