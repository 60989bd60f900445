// A user's tasks: /api/:user_id/tasks.

import { pool } from "./database.js";

const COLUMNS = "id, user_id, title, description, completed, created_at, updated_at";
// With a name a statement is parsed and planned once for each connection.
const CREATE = {
  name: "create_task",
  text: `INSERT INTO tasks (user_id, title, description, completed) VALUES ($1, $2, $3, $4)
    RETURNING ${COLUMNS}`,
};
const LIST = {
  name: "list_tasks",
  text: `SELECT ${COLUMNS} FROM tasks WHERE user_id = $1
    ORDER BY created_at DESC, id DESC LIMIT $2`,
};
const READ = {
  name: "read_task",
  text: `SELECT ${COLUMNS} FROM tasks WHERE id = $1 AND user_id = $2`,
};
const UPDATE = {
  name: "update_task",
  text: `UPDATE tasks
    SET title = $3, description = CASE WHEN $4 THEN $5 ELSE description END
    WHERE id = $1 AND user_id = $2
    RETURNING ${COLUMNS}`,
};
const TOGGLE = {
  name: "toggle_task",
  text: `UPDATE tasks SET completed = NOT completed WHERE id = $1 AND user_id = $2
    RETURNING ${COLUMNS}`,
};
const DELETE = {
  name: "delete_task",
  text: "DELETE FROM tasks WHERE id = $1 AND user_id = $2",
};

const uuid = { type: "string", format: "uuid" };
// JSON Schema can't strip white space, but can require something else.
const title = { type: "string", minLength: 1, maxLength: 500, pattern: "\\S" };
const description = { type: ["string", "null"], maxLength: 10_000 };
const task = {
  type: "object",
  properties: {
    id: { type: "string" },
    user_id: { type: "string" },
    title: { type: "string" },
    description: { type: ["string", "null"] },
    completed: { type: "boolean" },
    created_at: { type: "string" },
    updated_at: { type: "string" },
  },
};
const listParams = { type: "object", properties: { user_id: uuid } };
const taskParams = { type: "object", properties: { user_id: uuid, id: uuid } };
const createBody = {
  type: "object",
  required: ["title"],
  properties: { title, description, completed: { type: "boolean", default: false } },
};
const updateBody = { type: "object", required: ["title"], properties: { title, description } };
const listQuery = {
  type: "object",
  properties: { limit: { type: "integer", minimum: 1, maximum: 1000, default: 1000 } },
};

function answerFirst(reply, { rows }) {
  return rows.length ? rows[0] : reply.code(404).send({ message: "Task not found" });
}

export default async function tasks(app) {
  app.addHook("onRequest", async (request, reply) => {
    await request.jwtVerify();
    if (request.user.sub !== request.params.user_id) {
      return reply
        .code(403)
        .send({ message: "Access denied: user_id does not match the token" });
    }
  });

  app.post(
    "/",
    { schema: { params: listParams, body: createBody, response: { 201: task } } },
    async (request, reply) => {
      const { title, description, completed } = request.body;
      const values = [request.user.sub, title.trim(), description, completed];
      const { rows } = await pool.query({ ...CREATE, values });
      return reply.code(201).send(rows[0]);
    },
  );

  app.get(
    "/",
    {
      schema: {
        params: listParams,
        querystring: listQuery,
        response: { 200: { type: "array", items: task } },
      },
    },
    async (request) => {
      const values = [request.user.sub, request.query.limit];
      return (await pool.query({ ...LIST, values })).rows;
    },
  );

  app.get(
    "/:id",
    { schema: { params: taskParams, response: { 200: task } } },
    async (request, reply) => {
      const values = [request.params.id, request.user.sub];
      return answerFirst(reply, await pool.query({ ...READ, values }));
    },
  );

  app.put(
    "/:id",
    { schema: { params: taskParams, body: updateBody, response: { 200: task } } },
    async (request, reply) => {
      const { title, description } = request.body;
      const isGiven = description !== undefined;
      const values = [request.params.id, request.user.sub, title.trim(), isGiven, description];
      return answerFirst(reply, await pool.query({ ...UPDATE, values }));
    },
  );

  app.patch(
    "/:id/complete",
    { schema: { params: taskParams, response: { 200: task } } },
    async (request, reply) => {
      const values = [request.params.id, request.user.sub];
      return answerFirst(reply, await pool.query({ ...TOGGLE, values }));
    },
  );

  app.delete("/:id", { schema: { params: taskParams } }, async (request, reply) => {
    const values = [request.params.id, request.user.sub];
    const { rowCount } = await pool.query({ ...DELETE, values });
    return rowCount
      ? reply.code(204).send()
      : reply.code(404).send({ message: "Task not found" });
  });
}
