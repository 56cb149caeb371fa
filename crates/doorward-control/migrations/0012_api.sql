-- What makes asking for a session again harmless: per person and service, also where an open one was extended. (The column beside
-- the session is read no more.)
CREATE TABLE session_requests (
    account BIGINT NOT NULL,
    service BIGINT NOT NULL,
    request TEXT NOT NULL,
    session BIGINT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    at BIGINT NOT NULL,
    PRIMARY KEY (account, service, request)
);
CREATE INDEX session_requests_by_session ON session_requests (session);
INSERT INTO session_requests (account, service, request, session, at)
    SELECT account, service, request, id, opened_at FROM sessions WHERE request IS NOT NULL;
UPDATE sessions SET request = NULL;

-- Answers to requests that carried an Idempotency-Key, for a day. digest: of the request; body: sealed, since some tell secrets once.
CREATE TABLE given_answers (
    account BIGINT NOT NULL,
    idempotency_key TEXT NOT NULL,
    digest TEXT NOT NULL,
    status BIGINT NOT NULL,
    etag TEXT,
    body TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (account, idempotency_key)
);
CREATE INDEX given_answers_by_time ON given_answers (at);

-- Of API tokens: what they are for, and for which services (JSON numbers; NULL: all that their person gets at).
ALTER TABLE logins ADD COLUMN scope TEXT CHECK (scope IN ('read', 'sessions', 'manage'));
ALTER TABLE logins ADD COLUMN services TEXT;
