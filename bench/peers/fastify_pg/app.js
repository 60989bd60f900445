// The application: its plugins, its pool, and how it answers errors.

import jwt from "@fastify/jwt";
import Fastify from "fastify";

import accounts from "./accounts.js";
import { pool } from "./database.js";
import { JWT_EXPIRES_SECONDS, JWT_SECRET, LOG_LEVEL } from "./settings.js";
import tasks from "./tasks.js";

export async function buildApp() {
  const app = Fastify({ logger: { level: LOG_LEVEL } });
  await app.register(jwt, {
    secret: JWT_SECRET,
    sign: { expiresIn: `${JWT_EXPIRES_SECONDS}s` },
    verify: { algorithms: ["HS256"], requiredClaims: ["exp", "sub"], cache: true },
  });
  app.setErrorHandler((error, _request, reply) => {
    if (error.validation) error.statusCode = 422;
    reply.send(error);
  });
  app.addHook("onClose", () => pool.end());
  app.get("/health", () => ({ status: "ok" }));
  await app.register(accounts, { prefix: "/api/auth" });
  await app.register(tasks, { prefix: "/api/:user_id/tasks" });
  return app;
}
