-- Who ended a session by hand: an account. NULL: nobody did, or whoever may use the gateway's own socket.
ALTER TABLE sessions ADD COLUMN ended_by BIGINT;

CREATE INDEX sessions_of_account ON sessions (account, id);
