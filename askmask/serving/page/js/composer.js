// Where prompts are written: the words, what they are about, and what could be asked.

import { css } from "./colours.js";
import { button, make, one } from "./dom.js";
import { ideasFor } from "./start.js";

export function composer(app) {
  const form = one("#composer");
  const words = one("#prompt");
  const grow = () => {
    words.style.height = "auto";
    if (words.value) words.style.height = `${Math.min(160, words.scrollHeight)}px`;
  };
  words.addEventListener("input", grow);
  words.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = words.value.trim();
    if (!text || !app.conversation) return;
    words.value = "";
    grow();
    app.ask(text);
  });
  const refresh = () => showAbout(app);
  app.onChange(refresh);
  app.look.onChange(refresh);
  let shown = null;
  app.onChange(() => {
    if (shown !== app.conversation) showIdeas(app);
    shown = app.conversation;
  });
}

/** A chip for each mask that the next prompt is about, with its name to change. */
function showAbout(app) {
  const { conversation, look } = app;
  const chosen = conversation ? [...look.chosen].map((id) => conversation.segment(id)).filter(Boolean) : [];
  for (const id of [...look.chosen]) if (!conversation?.segment(id)) look.chosen.delete(id);
  const state = chosen.map(({ segment }) => `${segment.id} ${segment.name}`).join("\n");
  const list = one("#about");
  if (list.dataset.state === state) return;
  list.dataset.state = state;
  list.replaceChildren(...chosen.map(({ segment }) => about(app, segment)));
  one("#prompt").placeholder = chosen.length ? "What about it?" : "What should be found?";
}

function about(app, segment) {
  const { conversation, look } = app;
  const name = make("input", {
    value: segment.name ?? "",
    placeholder: segment.phrase ?? segment.id,
    "aria-label": `Name of ${segment.id}`,
    maxlength: "100",
    size: Math.min(30, Math.max(8, conversation.nameOf(segment).length + 1)),
    onchange: (event) => app.run(() => conversation.rename(segment, event.target.value.trim()), "named"),
    onkeydown: (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault(); // the form's own answer would be to ask
      event.target.blur();
      one("#prompt").focus();
    },
  });
  const dot = make("i.dot", { "aria-hidden": "true" });
  dot.style.background = css(conversation.shape(segment).colour);
  return make(
    "li",
    {},
    dot,
    name,
    button(`Not about ${conversation.nameOf(segment)}`, () => look.choose(segment.id, true), "close"),
  );
}

async function showIdeas(app) {
  const { conversation } = app;
  const ideas = conversation ? await ideasFor(conversation.picture.name) : [];
  if (conversation !== app.conversation) return;
  one("#ideas").replaceChildren(
    ...ideas.map((text) =>
      make(
        "li",
        {},
        button(text, (event) => {
          event.target.closest("li").remove();
          app.ask(text);
        }),
      ),
    ),
  );
}
