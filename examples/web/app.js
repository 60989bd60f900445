// A client of taskapi without a framework or a build. What users have typed becomes text, not HTML.

const { login, create, more, edit } = document.forms;
const ids = ["tasks", "heading", "list", "editor", "save", "discard"];
const [tasks, heading, list, editor, save, discard] = ids.map((id) => document.getElementById(id));

let session = null; // {token, url of the user's tasks}: in memory only, a reload logs out
let next = null; // the URL of the next page
let key = crypto.randomUUID(); // the Idempotency-Key of the next task
let editing = null; // {task, url, tag}: the task in the editor
const edits = new Map(); // the members that were edited

// What a person must know of a request that failed: the faults of a 422, a 412's current task.
const failure = (text, more) => Object.assign(new Error(text), { faults: [], ...more });

// Send a request; return the response and its JSON. Throws a failure.
async function call(method, url, body, headers = {}) {
  if (session) headers.Authorization = `Bearer ${session.token}`;
  if (body) headers["Content-Type"] = "application/json";
  const options = { method, headers, signal: AbortSignal.timeout(30_000) };
  if (body) options.body = JSON.stringify(body);
  const response = await fetch(url, options).catch(() => { // the browser doesn't say why
    throw failure(`No response from ${url.origin}: do its CORS_ORIGINS list ${location.origin}?`);
  });
  const json = await response.json().catch(() => ({}));
  if (response.ok) return { json, response };
  const more = { status: response.status, current: { json: json.current, response } };
  if (more.status === 422) throw failure("", { ...more, faults: json.detail });
  throw failure(json.detail ?? `The service answered ${more.status}`, more);
}

// Show a failure in a form, or none: each fault at its field, everything else in the form's alert.
function show(form, { message = "", faults = [] } = {}) {
  form.querySelectorAll(".fault").forEach((note) => note.remove());
  form.querySelectorAll("[aria-invalid]").forEach((field) => field.removeAttribute("aria-invalid"));
  for (const { loc, msg } of faults) { // loc is ["body", "title"], say
    const field = form.elements[loc[1]];
    if (!field) message += `${loc.join(" ")}: ${msg}. `;
    const note = document.createElement("p");
    Object.assign(note, { className: "fault", id: `${form.id}-${loc[1]}`, textContent: msg });
    field?.setAttribute("aria-invalid", "true");
    field?.setAttribute("aria-describedby", note.id);
    field?.closest("label").after(note);
  }
  form.querySelector("[role=alert]").textContent = message;
  form.querySelector("[aria-invalid]")?.focus();
}

// Run an action of a form, one at a time, and show its failure there.
async function run(form, action) {
  if (form.ariaBusy === "true") return;
  form.ariaBusy = "true";
  show(form);
  try {
    await action();
  } catch (error) {
    if (!error.faults) throw error; // a bug of this page
    const expired = session && error.status === 401;
    if (expired) start(null);
    show(expired ? login : form, error);
  } finally {
    form.ariaBusy = "false";
  }
}

const actions = { login: logIn, create: add, more: readPage, edit: change };
document.addEventListener("submit", (event) => {
  event.preventDefault();
  run(event.target, () => actions[event.target.id](event.submitter));
});

// A page of your own has a constant instead: a link to this one can name a foreign API.
const { api, email, password } = login.elements;
api.value = new URLSearchParams(location.search).get("api") ?? api.value;

async function logIn(button) {
  if (!URL.canParse(api.value)) throw failure("API must be a URL");
  const credentials = { email: email.value, password: password.value };
  if (button?.value) await call("POST", new URL("/api/auth/signup", api.value), credentials);
  const { json } = await call("POST", new URL("/api/auth/login", api.value), credentials);
  password.value = "";
  start({ token: json.token, url: new URL(`/api/${json.user_id}/tasks`, api.value) });
  heading.focus();
  next = new URL("?limit=20", session.url);
  await run(more, readPage);
}

function start(newSession) {
  session = newSession;
  [login.hidden, tasks.hidden] = [session !== null, session === null];
  editor.close();
  list.replaceChildren();
}

// A page may have few tasks, or none: only the absence of Link means the end.
async function readPage() {
  more.lastChild.hidden = false; // a page that fails can be tried again
  const { json, response } = await call("GET", next);
  const link = /<([^>]*)>; *rel="next"/.exec(response.headers.get("Link"));
  next = link && new URL(link[1], response.url);
  more.lastChild.hidden = !next;
  list.append(...json.map(toItem));
}

function toItem(task) {
  const [item, button] = [document.createElement("li"), document.createElement("button")];
  Object.assign(button, { textContent: "Edit", ariaLabel: `Edit ${task.title}` });
  button.addEventListener("click", () => run(more, () => openEditor(task.id)));
  item.id = task.id;
  item.append(`${task.title}${task.completed ? " (completed)" : ""} `, button);
  return item;
}

// With the same key until it succeeds: repeated after a lost response, it makes no second task.
async function add() {
  const body = { title: create.elements.title.value };
  const { json } = await call("POST", session.url, body, { "Idempotency-Key": key });
  list.prepend(toItem(json));
  create.reset();
  key = crypto.randomUUID();
}
create.addEventListener("input", () => { key = crypto.randomUUID(); });

async function openEditor(id) {
  const url = new URL(`${session.url}/${id}`);
  edits.clear();
  fill(url, await call("GET", url));
  show(edit);
  [save.textContent, discard.textContent] = ["Save", "Cancel"];
  editor.showModal();
}

// Remember a task and its ETag, and show it with what was edited.
function fill(url, { json, response }) {
  editing = { task: json, url, tag: response.headers.get("ETag") };
  const { title, description, completed } = { ...json, ...Object.fromEntries(edits) };
  edit.elements.title.value = title;
  edit.elements.description.value = description ?? "";
  edit.elements.completed.checked = completed;
}

edit.addEventListener("input", ({ target }) =>
  edits.set(target.name, target.type === "checkbox" ? target.checked : target.value));

// Send what was edited, on the condition that the task is still the one that was read.
async function change() {
  const [body, condition] = [Object.fromEntries(edits), { "If-Match": editing.tag }];
  try {
    closeEditor((await call("PATCH", editing.url, body, condition)).json);
  } catch (error) {
    if (error.status !== 412) throw error;
    fill(editing.url, error.current);
    [save.textContent, discard.textContent] = ["Try again", "Discard my changes"];
    const { title, description, completed } = editing.task;
    const now = [title, description || "no description", completed ? "completed" : "not completed"];
    throw failure(`This task has changed. It is now: ${now.join(", ")}. Above are your changes.`);
  }
}

function closeEditor(task) {
  editor.close();
  const item = toItem(task);
  document.getElementById(task.id).replaceWith(item);
  item.querySelector("button").focus();
}
discard.addEventListener("click", () => closeEditor(editing.task));
