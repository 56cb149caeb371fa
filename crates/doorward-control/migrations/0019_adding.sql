-- The invite that brought the device in last. Invites are forgotten in the end; their numbers are never given again.
ALTER TABLE devices ADD COLUMN joined_by BIGINT;

-- What was wished for at the portal that a device shall offer; whether it does is for the device to say.
-- wish: JSON of core's Addition.
CREATE TABLE additions (
    device BIGINT NOT NULL REFERENCES devices (id),
    name TEXT NOT NULL,
    wish TEXT NOT NULL,
    made_at BIGINT NOT NULL,
    PRIMARY KEY (device, name)
);
