// The configuration, from the environment; DATABASE_URL is a libpq URI.

import process from "node:process";

const { env } = process;

export const HOST = env.HOST;
export const PORT = Number(env.PORT);
export const WORKERS = Number(env.WEB_CONCURRENCY);
export const LOG_LEVEL = env.LOG_LEVEL ?? "info";
export const DATABASE_URL = env.DATABASE_URL;
export const DB_POOL_MIN = Number(env.DB_POOL_MIN);
export const DB_POOL_MAX = Number(env.DB_POOL_MAX);
export const JWT_SECRET = env.JWT_SECRET;
export const JWT_EXPIRES_SECONDS = Number(env.JWT_EXPIRES_SECONDS);
