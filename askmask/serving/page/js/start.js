// The start: a picture by file, camera, paste or drop; examples; conversations of before.

import * as api from "./api.js";
import { all, make, one } from "./dom.js";

let shelf = null; // examples.json

export async function examples() {
  shelf ??= await (await fetch("/page/examples/examples.json")).json();
  return shelf;
}

export function start(app) {
  hearFiles(app);
  one("#watch").addEventListener("click", () => watch(app));
  showExamples(app);
}

function hearFiles(app) {
  for (const input of [one("#file"), one("#camera")]) {
    input.addEventListener("change", () => {
      if (input.files[0]) app.openFile(input.files[0]);
      input.value = "";
    });
  }
  one("#saved-file").addEventListener("change", async (event) => {
    const file = event.target.files[0];
    event.target.value = "";
    if (!file) return;
    try {
      app.saved = JSON.parse(await file.text());
      app.toast(`Now choose its picture: ${app.saved.picture.name}.`, 30);
    } catch {
      app.saved = null;
      app.toast("That is no saved conversation.");
    }
  });
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    app.openFile(file);
  });
  let depth = 0; // enter and leave come for every element below the pointer
  const drag = (event, change) => {
    if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
    event.preventDefault();
    depth = Math.max(0, depth + change);
    document.body.classList.toggle("dropping", depth > 0);
  };
  addEventListener("dragenter", (event) => drag(event, 1));
  addEventListener("dragleave", (event) => drag(event, -1));
  addEventListener("dragover", (event) => drag(event, 0));
  addEventListener("drop", (event) => {
    drag(event, -depth);
    const file = event.dataTransfer?.files[0];
    if (file) app.openFile(file);
  });
}

async function showExamples(app) {
  const { pictures } = await examples();
  one("#examples").replaceChildren(
    ...pictures.map((picture) =>
      make(
        "li",
        {},
        make(
          "button",
          { type: "button", onclick: () => open(app, picture) },
          make("img", { src: `/page/examples/${picture.file}`, alt: "", width: 224, height: 224, loading: "lazy" }),
          make("span", {}, picture.title),
        ),
      ),
    ),
  );
}

async function open(app, picture) {
  const data = await (await fetch(`/page/examples/${picture.file}`)).blob();
  await app.openFile(new File([data], picture.file, { type: data.type }));
}

/** Ask the rounds of the example conversation one after the other, as anybody would. */
async function watch(app) {
  const { pictures, conversation } = await examples();
  await open(app, pictures.find((picture) => picture.file === conversation.file));
  for (const step of conversation.rounds) {
    const { conversation: talk } = app;
    if (!talk || app.look.chosen.size) return; // somebody took over
    const known = talk.segments.map(({ segment }) => segment.id);
    const about = step.about ? known.slice(step.about) : [];
    const { about: _, ...prompt } = step;
    if (!(await app.run(() => talk.ask({ text: "", ...prompt, about }), null))) return;
  }
}

export async function showSessions(app) {
  let listed;
  try {
    listed = await api.get("/v1/sessions?most=12");
  } catch {
    return; // no key yet: asked for when something is opened
  }
  one("#recent").hidden = !listed.sessions.length;
  one("#sessions").replaceChildren(...listed.sessions.map((session) => item(app, session)));
}

function item(app, session) {
  const rounds = `${session.rounds} ${session.rounds === 1 ? "round" : "rounds"}`;
  return make(
    "li",
    {},
    make(
      "a",
      {
        href: `#${session.id}`,
        onclick: (event) => {
          event.preventDefault();
          app.openId(session.id);
        },
      },
      make("b", {}, session.picture.name),
      make("span", {}, session.last || "nothing asked yet"),
      make("small", {}, `${rounds}, ${session.model}, ${when(session.used)}${session.parent ? ", a fork" : ""}`),
    ),
    make(
      "button",
      {
        type: "button",
        "aria-label": `Delete the conversation over ${session.picture.name}`,
        onclick: async () => {
          await app.run(() => api.remove(`/v1/sessions/${session.id}`), "deleted");
          showSessions(app);
        },
      },
      "Delete",
    ),
  );
}

function when(seconds) {
  const ago = Date.now() / 1000 - seconds;
  const words = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
  for (const [unit, length] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (ago >= length) return words.format(-Math.round(ago / length), unit);
  }
  return words.format(0, "minute");
}

/** What could be asked of the example that is open. */
export async function ideasFor(name) {
  const { pictures } = await examples();
  return pictures.find((picture) => picture.file === name)?.prompts ?? [];
}

export const closeMenus = (except) => {
  for (const menu of all("details[open]")) if (menu !== except) menu.open = false;
};
