-- Create the table of the migrations' checksums, beside yoyo's tables and named like them.
CREATE TABLE IF NOT EXISTS _yoyo_checksum (
    migration_id text NOT NULL,
    sha256 text NOT NULL,
    CONSTRAINT _yoyo_checksum_pkey PRIMARY KEY (migration_id)
);
