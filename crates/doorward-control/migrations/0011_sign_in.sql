-- What people prove about themselves. Whoever goes takes it along.
CREATE TABLE person_passwords (
    account BIGINT PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    phc TEXT NOT NULL,
    changed_at BIGINT NOT NULL
);

-- secret: sealed. last_step: the newest code that was used; neither it nor an older one counts again.
CREATE TABLE person_totp (
    account BIGINT PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    secret TEXT NOT NULL,
    last_step BIGINT NOT NULL,
    since BIGINT NOT NULL
);

-- Of 80 random bits each, so that a fast hash hides them.
CREATE TABLE recovery_codes (
    account BIGINT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    digest TEXT NOT NULL,
    used_at BIGINT,
    PRIMARY KEY (account, digest)
);

-- Links that make somebody a person who can sign in. first: the first owner, once. own: one account's, which gets a new password by
-- it. invitation: whoever has it becomes somebody new.
CREATE TABLE welcomes (
    id BIGINT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('first', 'own', 'invitation')),
    digest TEXT NOT NULL UNIQUE,
    account BIGINT REFERENCES accounts (id) ON DELETE CASCADE,
    title TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('owner', 'member', 'guest')),
    account_ends_at BIGINT,
    uses BIGINT NOT NULL,
    uses_left BIGINT NOT NULL CHECK (uses_left >= 0),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT,
    version BIGINT NOT NULL,
    CHECK ((kind = 'own') = (account IS NOT NULL))
);
CREATE INDEX welcomes_by_account ON welcomes (account);
CREATE TABLE welcome_groups (
    welcome BIGINT NOT NULL REFERENCES welcomes (id) ON DELETE CASCADE,
    person_group BIGINT NOT NULL REFERENCES person_groups (id) ON DELETE CASCADE,
    PRIMARY KEY (welcome, person_group)
);

-- Once there was a first owner, there is never another first.
CREATE TABLE setup (done_at BIGINT NOT NULL);

-- The invitation or list by which somebody came. Those go after their end; whoever was added by hand stays.
ALTER TABLE accounts ADD COLUMN came_by BIGINT;

-- By what it was shown who they are: the words of core/src/person/factors.rs.
ALTER TABLE logins ADD COLUMN factors TEXT NOT NULL DEFAULT '';

-- Keys of people's own devices. What rests is public; the count in it shows copies.
CREATE TABLE passkeys (
    id BIGINT PRIMARY KEY,
    account BIGINT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    credential TEXT NOT NULL UNIQUE,
    passkey TEXT NOT NULL,
    title TEXT NOT NULL,
    since BIGINT NOT NULL,
    used_at BIGINT
);
CREATE INDEX passkeys_by_account ON passkeys (account);

INSERT INTO ids (kind, next) VALUES ('welcome', 1), ('passkey', 1);
