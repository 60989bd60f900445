// The pool, and how a time becomes text.

import pg from "pg";

import { DATABASE_URL, DB_POOL_MAX, DB_POOL_MIN } from "./settings.js";

// A Date would lose the microseconds. The session's time zone is UTC, so that the text ends in +00.
pg.types.setTypeParser(pg.types.builtins.TIMESTAMPTZ, (text) => {
  const digits = text.slice(20, -3).padEnd(6, "0");
  return `${text.slice(0, 10)}T${text.slice(11, 19)}.${digits}Z`;
});

export const pool = new pg.Pool({
  connectionString: DATABASE_URL,
  options: "-c TimeZone=UTC",
  min: DB_POOL_MIN,
  max: DB_POOL_MAX,
});
