// Accounts: /api/auth/signup and /api/auth/login.

import { hash, verify } from "@node-rs/argon2";

import { pool } from "./database.js";
import { JWT_EXPIRES_SECONDS } from "./settings.js";

// The parameters of taskapi's accounts; Argon2id is the default.
const ARGON2 = { timeCost: 2, memoryCost: 19 * 1024, parallelism: 1 };
const UNKNOWN = await hash("no account has this password", ARGON2);
const UNIQUE_VIOLATION = "23505";

const INSERT_USER = {
  name: "insert_user",
  text: "INSERT INTO users (email, password_hash) VALUES ($1, $2) RETURNING id, email",
};
const FIND_USER = {
  name: "find_user",
  text: "SELECT id, email, password_hash FROM users WHERE lower(email) = lower($1)",
};

const signup = {
  body: {
    type: "object",
    required: ["email", "password"],
    properties: {
      email: { type: "string", maxLength: 254, pattern: "^[^@\\s]+@[^@\\s]+$" },
      password: { type: "string", minLength: 8, maxLength: 128 },
    },
  },
  response: {
    201: {
      type: "object",
      properties: { user_id: { type: "string" }, email: { type: "string" } },
    },
  },
};
const login = {
  body: {
    type: "object",
    required: ["email", "password"],
    properties: { email: { type: "string" }, password: { type: "string" } },
  },
  response: {
    200: {
      type: "object",
      properties: {
        user_id: { type: "string" },
        email: { type: "string" },
        token: { type: "string" },
        token_type: { type: "string" },
        expires_in: { type: "integer" },
      },
    },
  },
};

export default async function accounts(app) {
  app.post("/signup", { schema: signup }, async (request, reply) => {
    const { email, password } = request.body;
    const passwordHash = await hash(password, ARGON2);
    try {
      const { rows } = await pool.query({ ...INSERT_USER, values: [email, passwordHash] });
      return reply.code(201).send({ user_id: rows[0].id, email });
    } catch (error) {
      if (error.code !== UNIQUE_VIOLATION) throw error;
      return reply.code(409).send({ message: "Email already registered" });
    }
  });

  app.post("/login", { schema: login }, async (request, reply) => {
    const { email, password } = request.body;
    const { rows } = await pool.query({ ...FIND_USER, values: [email] });
    const user = rows[0];
    // The same work for an unknown address.
    const isRight = await verify(user?.password_hash ?? UNKNOWN, password);
    if (!isRight || !user?.password_hash) {
      return reply.code(401).send({ message: "Invalid credentials" });
    }
    return {
      user_id: user.id,
      email: user.email,
      token: app.jwt.sign({ sub: user.id, email: user.email }),
      token_type: "Bearer",
      expires_in: JWT_EXPIRES_SECONDS,
    };
  });
}
