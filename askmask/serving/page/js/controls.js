// Everything around the picture: header, tools, zoom, how masks look, dialogs, keys.

import { onKeyNeeded } from "./api.js";
import { all, button, make, one } from "./dom.js";
import { closeMenus } from "./start.js";

export function controls(app) {
  header(app);
  tools(app);
  looks(app);
  keyDialog();
  keys(app);
  app.onChange(() => refresh(app));
  app.look.onChange(() => refresh(app));
  app.view.onChange(() => (one("#scale").textContent = `${Math.round(100 * app.view.scale)} %`));
}

function header(app) {
  one("#home").addEventListener("click", () => app.home());
  one("#undo").addEventListener("click", () => app.undo());
  one("#help").addEventListener("click", () => one("#help-dialog").showModal());
  one("#banner button").addEventListener("click", () => {
    app.conversation.told = one("#banner p").textContent;
    refresh(app);
    one("#prompt").focus();
  });
  one("#compare").addEventListener("click", () => (app.other ? app.compareWith(null) : compare(app)));
  one("#model").addEventListener("change", (event) => change(app, event.target.value));
  for (const entry of all("[data-file]")) {
    entry.addEventListener("click", () => {
      closeMenus();
      app.download(entry.dataset.file);
    });
  }
  const kept = localStorage.getItem("askmask-theme");
  if (kept) document.documentElement.dataset.theme = kept;
  one("#theme").addEventListener("click", () => {
    const dark = getComputedStyle(document.documentElement).getPropertyValue("--dark").trim() === "1";
    document.documentElement.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("askmask-theme", document.documentElement.dataset.theme);
  });
  document.addEventListener("click", (event) => closeMenus(event.target.closest("details")));
}

/** Another model for the conversation: a fork in which it is asked everything anew. */
async function change(app, model) {
  if (!app.conversation || model === app.conversation.model) return;
  await app.run(async () => {
    const session = await app.conversation.fork({ model, ask_anew: true });
    await app.openId(session.id);
  }, `${model} was asked everything anew, in a second conversation`);
}

function compare(app) {
  const dialog = one("#compare-dialog");
  const others = app.models.filter((model) => model.id !== app.conversation.model);
  const begin = (model) => async () => {
    dialog.close();
    await app.run(() => app.compareWith(model.id), `beside it: ${model.id}`);
  };
  one("#compare-body").replaceChildren(
    others.length
      ? make("ul.choices", {}, others.map((model) => make("li", {}, button(model.id, begin(model)))))
      : make("p", {}, "This server has one model. Start it with two to see them side by side: ",
          make("code", {}, "askmask serve -m mini -m models/mine")),
  );
  dialog.showModal();
}

function tools(app) {
  for (const radio of all("[name=tool]")) {
    radio.addEventListener("change", () => {
      app.tool.cancel?.();
      app.tool = app.tools[radio.value];
      one("#stage").dataset.tool = radio.value;
      app.say(app.tool.hint);
      one("#stage").title = "";
      app.stage.redraw();
    });
  }
  for (const radio of all("[name=how]")) {
    radio.addEventListener("change", () => {
      app.how = radio.value;
      if (app.how !== "new" && app.tool === app.tools.select) one("[name=tool][value=point]").click();
    });
  }
  one("#in").addEventListener("click", () => app.view.zoom(1.5));
  one("#out").addEventListener("click", () => app.view.zoom(1 / 1.5));
  one("#fit").addEventListener("click", () => app.view.fit());
  one("#full").addEventListener("click", () => fullScreen());
}

function fullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else one("#work").requestFullscreen?.().catch(() => {});
}

function looks(app) {
  one("#opacity").addEventListener("input", (event) => app.look.set({ opacity: event.target.value / 100 }));
  one("#outline").addEventListener("change", (event) => app.look.set({ outline: event.target.checked }));
  one("#only").addEventListener("change", (event) => app.look.set({ only: event.target.checked }));
}

/** Bring what stands around the picture to the state of things. */
function refresh(app) {
  const { conversation, other, look } = app;
  one("#undo").disabled = !conversation?.canUndo;
  one("#only").checked = look.only;
  one("#compare").setAttribute("aria-pressed", String(Boolean(other)));
  one("#loading").hidden = !conversation || Boolean(conversation.image);
  one("#title").textContent = conversation?.picture.name ?? "";
  one("#left-name").textContent = other ? conversation.model : "";
  one("#right-name").textContent = other?.model ?? "";
  one("#work").setAttribute("aria-busy", String(Boolean(conversation?.busy || other?.busy)));
  if (conversation && one("#model").value !== conversation.model) one("#model").value = conversation.model;
  const chosen = conversation ? [...look.chosen] : [];
  const mend = one("#mend");
  mend.hidden = chosen.length !== 1;
  if (mend.hidden && app.how !== "new") {
    app.how = "new";
    one("[name=how][value=new]").checked = true;
  }
  const found = chosen.length === 1 && conversation.segment(chosen[0]);
  if (found) for (const name of all("b", mend)) name.textContent = conversation.nameOf(found.segment);
  const unlike = conversation?.all.flatMap((round) => round.answer?.notices ?? []).find((text) => /unlike/.test(text));
  one("#banner").hidden = !unlike || conversation.told === unlike;
  if (one("#banner p").textContent !== (unlike ?? "")) one("#banner p").textContent = unlike ?? "";
}

function keyDialog() {
  const dialog = one("#key-dialog");
  let asking = null;
  onKeyNeeded((wrong) => {
    asking ??= new Promise((given) => {
      one("#key-wrong").hidden = !wrong;
      dialog.addEventListener(
        "close",
        () => {
          asking = null;
          given(dialog.returnValue === "ok" ? one("#key").value.trim() : null);
          one("#key").value = "";
        },
        { once: true },
      );
      dialog.returnValue = "";
      dialog.showModal();
    });
    return asking;
  });
}

const typing = (target) => target.closest?.("input:not([type=radio]):not([type=checkbox]):not([type=range]), textarea, select, dialog");

function keys(app) {
  addEventListener("keyup", (event) => app.held.delete(event.key));
  addEventListener("blur", () => app.held.clear());
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      closeMenus();
      app.tool.cancel?.();
      if (!event.target.closest?.("dialog, .editor")) app.look.clear();
      app.stage.redraw();
    }
    if (typing(event.target)) return;
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
      event.preventDefault();
      app.undo();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || !app.conversation) return;
    if (event.key === " " && event.target === document.body) event.preventDefault();
    app.held.add(event.key);
    const act = {
      "/": () => one("#prompt").focus(),
      1: () => one("[name=tool][value=select]").click(),
      2: () => one("[name=tool][value=point]").click(),
      3: () => one("[name=tool][value=box]").click(),
      4: () => one("[name=tool][value=lasso]").click(),
      "+": () => app.view.zoom(1.5),
      "=": () => app.view.zoom(1.5),
      "-": () => app.view.zoom(1 / 1.5),
      0: () => app.view.fit(),
      f: fullScreen,
      o: () => app.look.set({ only: !app.look.only }),
      p: () => one("#left").focus(),
      "?": () => one("#help-dialog").showModal(),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}
