-- What the reasons of waiting jobs come to: decided once, and told in words beside it.
ALTER TABLE demand ADD COLUMN why text CHECK (why IN ('NO_ENVIRONMENT', 'DISABLED', 'INVALID', 'MAX_RESOURCE',
    'TOO_LARGE', 'UNSUPPORTED', 'NO_CAPACITY', 'NO_INSTANCE', 'NO_ROOM'));
