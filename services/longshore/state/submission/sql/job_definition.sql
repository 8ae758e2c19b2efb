-- name: lock_family
-- Lets one registration of a name at a time number its revision.
-- $1 name
SELECT pg_advisory_xact_lock(hashtextextended($1, 1));

-- name: insert_revision
-- Stores the next revision of a name and returns its number; numbers are never used twice.
-- $1 name
-- $2 type
-- $3 detail
-- $4 tags
INSERT INTO job_definitions (name, revision, status, type, detail, tags)
SELECT $1, coalesce(max(revision), 0) + 1, 'ACTIVE', $2, $3, $4
FROM job_definitions WHERE name = $1
RETURNING revision;

-- name: deregister
-- Makes a revision INACTIVE, once.
-- $1 name
-- $2 revision, NULL for the newest that is ACTIVE
UPDATE job_definitions
SET status = 'INACTIVE', deregistered_at = coalesce(deregistered_at, now())
WHERE name = $1 AND revision = coalesce($2::integer, (
    SELECT max(newest.revision) FROM job_definitions AS newest
    WHERE newest.name = $1 AND newest.status = 'ACTIVE'
))
RETURNING revision;

-- name: read_revisions
-- Revisions by name and number; number 0 means all of the name.
-- $1 names
-- $2 revisions
SELECT DISTINCT definition.name, definition.revision, definition.status, definition.type,
    definition.detail, definition.tags
FROM unnest($1::text[], $2::integer[]) AS wanted (name, revision)
JOIN job_definitions AS definition
    ON definition.name = wanted.name AND wanted.revision IN (0, definition.revision)
ORDER BY definition.name, definition.revision DESC
LIMIT 1000;

-- name: list_revisions
-- Revisions in order of name, the newest of each first.
-- $1 name, NULL for all
-- $2 status, NULL for any
-- $3 only those after this name ...
-- $4 ... or of it with a smaller revision
-- $5 how many at most
SELECT name, revision, status, type, detail, tags FROM job_definitions
WHERE ($1::text IS NULL OR name = $1) AND ($2::text IS NULL OR status = $2)
    AND (name > $3 OR (name = $3 AND revision < $4))
ORDER BY name, revision DESC
LIMIT $5;
