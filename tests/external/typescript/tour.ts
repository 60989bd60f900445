// The README's tour by a client that is made from the document; compiled under --strict, then run.
import createClient from "openapi-fetch";
import type { components, paths } from "./generated/taskapi.js";

type Task = components["schemas"]["Task"];

function present<T>(value: T | undefined, error: unknown): T {
  if (value === undefined) throw new Error(JSON.stringify(error));
  return value;
}

declare const process: { argv: string[] };
const client = createClient<paths>({ baseUrl: process.argv[2] ?? "" });

const credentials = { email: "typescript@example.com", password: "a long password" };
const account = await client.POST("/api/auth/signup", { body: credentials });
present(account.data, account.error);
const login = await client.POST("/api/auth/login", { body: credentials });
const { token, user_id } = present(login.data, login.error);
const headers = { Authorization: `Bearer ${token}` };

const creation = await client.POST("/api/{user_id}/tasks", {
  headers,
  params: { path: { user_id }, header: { "Idempotency-Key": "one" } },
  body: { title: "Buy milk" },
});
const task: Task = present(creation.data, creation.error);
const path = { user_id, id: task.id };

const list = await client.GET("/api/{user_id}/tasks", {
  headers,
  params: { path: { user_id }, query: { completed: false, sort: "created_at" } },
});
const titles: string[] = present(list.data, list.error).map((one) => one.title);

const change = await client.PATCH("/api/{user_id}/tasks/{id}", {
  headers,
  params: { path },
  body: { description: null, completed: true },
});
const description: string | null = present(change.data, change.error).description;

const deletion = await client.DELETE("/api/{user_id}/tasks/{id}", { headers, params: { path } });
const missing = await client.GET("/api/{user_id}/tasks/{id}", { headers, params: { path } });
const status: number = missing.response.status;
console.log(JSON.stringify([titles, description, deletion.response.status, status]));

// What the document doesn't allow isn't compiled.
export const neverCalled = () =>
  // @ts-expect-error a title is a string
  client.POST("/api/{user_id}/tasks", { params: { path: { user_id } }, body: { title: 1 } });
