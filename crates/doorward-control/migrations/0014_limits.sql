-- Whose consent a session has: the group that its policy asked for, and who of it. taken_by: who took the service over, which ended it.
ALTER TABLE sessions ADD COLUMN approved_by TEXT;
ALTER TABLE sessions ADD COLUMN approver BIGINT;
ALTER TABLE sessions ADD COLUMN taken_by BIGINT;
CREATE INDEX sessions_of_service ON sessions (service) WHERE ended_at IS NULL;

-- Lines before services that one person has at a time, in the order of their ids. offered_until: their turn has come, and is kept so long.
CREATE TABLE waiting (
    id BIGINT PRIMARY KEY,
    service BIGINT NOT NULL,
    account BIGINT NOT NULL,
    approved_by TEXT,
    approver BIGINT,
    asked_at BIGINT NOT NULL,
    offered_until BIGINT,
    UNIQUE (service, account)
);

-- Requests that somebody consent to a session, open while ended_at is NULL. access: the policy as it was when they were made; another one
-- withdraws them.
CREATE TABLE approvals (
    id BIGINT PRIMARY KEY,
    service BIGINT NOT NULL,
    account BIGINT NOT NULL,
    length_ms BIGINT NOT NULL,
    access TEXT NOT NULL,
    asked_at BIGINT NOT NULL,
    until BIGINT NOT NULL,
    ended_at BIGINT,
    ending TEXT CHECK (ending IN ('approved', 'refused', 'withdrawn', 'time')),
    approver BIGINT,
    CHECK ((ended_at IS NULL) = (ending IS NULL))
);
CREATE UNIQUE INDEX approvals_open ON approvals (service, account) WHERE ended_at IS NULL;

-- A link by which one person answers one request. Only its digest rests here.
CREATE TABLE approval_links (
    digest TEXT PRIMARY KEY,
    approval BIGINT NOT NULL,
    approver BIGINT NOT NULL
);
CREATE INDEX approval_links_of ON approval_links (approval);

-- Bytes that crossed a device's link for a service. counted: where the device's own counter stood when it was heard last.
CREATE TABLE spent (
    service BIGINT PRIMARY KEY,
    counted BIGINT NOT NULL,
    reserve BIGINT NOT NULL,
    day_since BIGINT NOT NULL,
    day_until BIGINT NOT NULL,
    day_bytes BIGINT NOT NULL,
    month_since BIGINT NOT NULL,
    month_until BIGINT NOT NULL,
    month_bytes BIGINT NOT NULL
);

INSERT INTO ids (kind, next) VALUES ('waiting', 1), ('approval', 1);
