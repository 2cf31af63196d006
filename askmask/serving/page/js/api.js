// Calls of the server. Every call of a model carries an Idempotency-Key: sent again, it is done once.

export class Refused extends Error {
  constructor(status, error = {}, retryAfter = null) {
    super(error.what ?? `the server answered ${status}`);
    Object.assign(this, { status, got: error.got, advice: error.do, retryAfter });
  }

  get text() {
    return [this.message, this.advice].filter(Boolean).map(sentence).join(" ");
  }
}

const capital = (text) => (/^\S+: /.test(text) ? text : `${text.charAt(0).toUpperCase()}${text.slice(1)}`); // or a file's name
const sentence = (text) => `${capital(text)}${/[.!?]$/.test(text) ? "" : "."}`;
const KEPT = "askmask-key";
const TRIES = 6;
const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

let askForKey = async () => null;
export const onKeyNeeded = (ask) => (askForKey = ask);

async function send(method, path, { body, headers = {}, signal } = {}) {
  for (;;) {
    const key = sessionStorage.getItem(KEPT);
    const response = await fetch(path, {
      method,
      body,
      signal,
      headers: { ...headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) },
    });
    if (response.ok) return response;
    let error = {};
    try {
      error = (await response.json()).error;
    } catch {
      // no JSON: the status says enough
    }
    if (response.status === 401) {
      const given = await askForKey(Boolean(key));
      if (given) {
        sessionStorage.setItem(KEPT, given);
        continue;
      }
    }
    const wait = Number(response.headers.get("Retry-After")) || null;
    throw new Refused(response.status, error, wait);
  }
}

const asJson = (value) => ({ body: JSON.stringify(value), headers: { "Content-Type": "application/json" } });

export const get = async (path) => (await send("GET", path)).json();
export const remove = async (path) => void (await send("DELETE", path));
export const blob = async (path) => (await send("GET", path)).blob();

/** Do work on a model: `told(kind, data)` hears how it goes; returns what it gave. */
export async function work(method, path, value, { told = () => {}, form } = {}) {
  const key = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
  const given = form ? { body: form, headers: {} } : asJson(value ?? {});
  for (let attempt = 1; ; attempt++) {
    try {
      const response = await send(method, path, {
        ...given,
        headers: { ...given.headers, Accept: "text/event-stream", "Idempotency-Key": key },
      });
      return await listen(response, told);
    } catch (error) {
      const again = error instanceof Refused ? [429, 503].includes(error.status) : error instanceof TypeError;
      if (!again || attempt === TRIES) throw error;
      const seconds = error.retryAfter ?? attempt;
      told("wait", { seconds, why: error instanceof Refused ? error.message : "the server cannot be reached" });
      await pause(seconds);
    }
  }
}

async function listen(response, told) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new TypeError("the answer broke off");
    text += value;
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const kind = lines.find((line) => line.startsWith("event: "))?.slice(7);
      if (!kind) continue; // a sign of life
      const data = JSON.parse(lines.find((line) => line.startsWith("data: ")).slice(6));
      if (kind === "done") return data;
      if (kind === "error") throw new Refused(data.status, data, data.retry_after_s);
      told(kind, data);
    }
  }
}

export const cancel = (job) => remove(`/v1/jobs/${job}`);

/** Open a session over a picture; with `saved`, go on with a conversation that was saved. */
export async function openSession(file, name, { model, saved }) {
  const form = new FormData();
  form.append("picture", file, name);
  if (model) form.append("model", model);
  if (saved) form.append("saved", JSON.stringify(saved));
  return work("POST", "/v1/sessions", null, { form });
}
