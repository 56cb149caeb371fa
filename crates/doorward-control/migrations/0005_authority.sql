-- The gateway's own authorities, one for each domain that it ever had: going back to a domain needs no new trust.
-- certificate: DER. scope: what it may certify, with commas between. The key is sealed.

CREATE TABLE own_authorities (
    domain TEXT PRIMARY KEY,
    scope TEXT NOT NULL,
    certificate TEXT NOT NULL,
    sealed_key TEXT NOT NULL,
    not_before BIGINT NOT NULL,
    not_after BIGINT NOT NULL
);
