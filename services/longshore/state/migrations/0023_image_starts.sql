-- How attempts came by their images, added up as they begin to run: an attempt's own record has no room for it, and
-- whoever asks wants the sum.
CREATE TABLE image_starts (
    image text NOT NULL,
    instance_type text NOT NULL,
    -- UTC.
    day date NOT NULL,
    starts bigint NOT NULL,
    -- Of the starts, those that waited for a pull.
    pulls bigint NOT NULL,
    pull_seconds double precision NOT NULL,
    slowest_seconds double precision NOT NULL,
    pulled_bytes bigint NOT NULL,
    PRIMARY KEY (image, instance_type, day)
) WITH (fillfactor = 70);
