-- JSON of core's PrepareOffer; NULL: the service needs no preparing.
ALTER TABLE services ADD COLUMN offered_prepare TEXT;
