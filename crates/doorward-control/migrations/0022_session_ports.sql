-- From where the person of an open session comes: an IPv4 address, or an IPv6 /64. They go when the session is over.
CREATE TABLE session_sources (
    session BIGINT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    source TEXT NOT NULL,
    PRIMARY KEY (session, source)
);

-- Public ports that sessions have or had. One without a session is free; the one that was for longest is given next.
CREATE TABLE session_ports (
    protocol TEXT NOT NULL CHECK (protocol IN ('tcp', 'udp')),
    port BIGINT NOT NULL,
    session BIGINT UNIQUE REFERENCES sessions (id) ON DELETE SET NULL,
    released_at BIGINT,
    PRIMARY KEY (protocol, port)
);

-- Whether each session of the service has a port of its own, and a straight way through its home's router.
ALTER TABLE services ADD COLUMN session_ports BIGINT NOT NULL DEFAULT 0;
ALTER TABLE services ADD COLUMN pinholes BIGINT NOT NULL DEFAULT 0;
