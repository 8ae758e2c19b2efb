-- What could not be stored where it belongs, for whoever leads next. Without constraints and indexes, which may be why.

-- As in `happenings`.
CREATE TABLE unkept_happenings (
    kind text NOT NULL,
    job_id uuid NOT NULL,
    array_index integer NOT NULL,
    succeeded boolean,
    after uuid
);
-- What `demand` lacks or has too much of a shape.
CREATE TABLE uncounted_demand (
    shape_id integer NOT NULL,
    difference bigint NOT NULL
);
