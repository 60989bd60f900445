// As many workers as the machine is to use, on one port: `node server.js`.

import cluster from "node:cluster";
import process from "node:process";

import { buildApp } from "./app.js";
import { HOST, PORT, WORKERS } from "./settings.js";

if (cluster.isPrimary) {
  for (let started = 0; started < WORKERS; started += 1) cluster.fork();
  process.on("SIGTERM", () => {
    for (const worker of Object.values(cluster.workers)) worker.process.kill("SIGTERM");
  });
  // Whatever started the service starts it again.
  cluster.on("exit", (_worker, code) => {
    if (code) process.exit(code);
  });
} else {
  const app = await buildApp();
  process.on("SIGTERM", async () => {
    await app.close();
    process.exit(0);
  });
  await app.listen({ host: HOST, port: PORT });
}
