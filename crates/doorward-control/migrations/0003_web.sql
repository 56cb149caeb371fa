-- JSON of what the device declared last about requests and answers (core's WebOffer).
ALTER TABLE services ADD COLUMN offered_web TEXT NOT NULL DEFAULT '{}';
