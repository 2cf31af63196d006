// The page begins here.

import * as api from "./api.js";
import { App, showModels } from "./app.js";
import { composer } from "./composer.js";
import { controls } from "./controls.js";
import { one } from "./dom.js";
import { showSessions, start } from "./start.js";

const app = new App();
controls(app);
composer(app);
start(app);

app.onChange(() => {
  if (!app.conversation && document.body.dataset.state === "start") showSessionsSoon();
});
let due = null;
function showSessionsSoon() {
  clearTimeout(due);
  due = setTimeout(() => showSessions(app), 50);
}

const session = () => /^#([\w-]{22})$/.exec(location.hash)?.[1];
addEventListener("hashchange", () => {
  const id = session();
  if (id && id !== app.conversation?.id) app.openId(id);
  else if (!id && app.conversation) app.home();
});

addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") app.conversation?.catchUp().catch(() => {}); // said at the next call
});

app.models = (await app.run(() => api.get("/v1/models")))?.data ?? [];
showModels(app.models);
const domain = { mini: "The model mini knows simulated tables like those below, and no photographs." };
one("#domain").textContent = app.models.length === 1 ? (domain[app.models[0].id] ?? "") : "";
if (session()) await app.openId(session());
else showSessionsSoon();
document.documentElement.dataset.ready = "yes";
