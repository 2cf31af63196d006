// The list of rounds: what was asked, what came of it, and what may be done with each.

import { css } from "./colours.js";
import { button, icon, make } from "./dom.js";

export class Rounds {
  constructor(list, app) {
    Object.assign(this, { list, app, items: new Map() });
    app.look.onChange(() => this.mark());
  }

  /** Bring the list to the conversation's state; items whose round is the same object stay as they are. */
  show() {
    const { conversation, other, twins } = this.app;
    const wanted = conversation ? conversation.all : [];
    const replaced = conversation ? [...conversation.replaced].join() : "";
    const frame = this.list.parentElement;
    const atEnd = frame.scrollHeight - frame.scrollTop - frame.clientHeight < 80;
    for (const [id, item] of this.items) {
      if (!wanted.some((round) => round.id === id)) {
        item.element.remove();
        this.items.delete(id);
      }
    }
    let before = null;
    const said = [new Set(), new Set()]; // notices of each conversation: what was said once is not said at every round
    for (const round of wanted) {
      const twin = other && twins.round(round.id);
      const notices = [fresh(round, said[0]), fresh(twin, said[1])];
      const state = JSON.stringify([round, twin, notices, replaced, Boolean(conversation.backdrop), this.editing === round.id]);
      let item = this.items.get(round.id);
      if (!item || item.state !== state) {
        const element = this.element(round, twin, notices);
        if (item) item.element.replaceWith(element);
        item = { element, state };
        this.items.set(round.id, item);
      }
      if (before ? before.nextSibling !== item.element : this.list.firstChild !== item.element) {
        if (before) before.after(item.element);
        else this.list.prepend(item.element);
      }
      before = item.element;
    }
    this.mark();
    if (atEnd) frame.scrollTop = frame.scrollHeight;
  }

  /** Light up what is lit or chosen. */
  mark() {
    const { look } = this.app;
    for (const chip of this.list.querySelectorAll("[data-segment]")) {
      chip.classList.toggle("lit", chip.dataset.segment === look.lit);
      chip.setAttribute("aria-pressed", String(look.chosen.has(chip.dataset.segment)));
    }
    for (const item of this.list.children) {
      const off = look.hidden.has(item.dataset.round);
      item.classList.toggle("off", off);
      const eye = item.querySelector("[data-eye]");
      if (eye) {
        eye.replaceChildren(icon(off ? "off" : "look"));
        eye.setAttribute("aria-label", off ? "Show its masks" : "Hide its masks");
        eye.title = off ? "Show its masks" : "Hide its masks";
      }
    }
  }

  element(round, twin, notices) {
    return make(
      "li.round",
      { "data-round": round.id },
      this.editing === round.id ? this.editor(round) : this.asked(round),
      this.answer(round, this.app.conversation, notices[0]),
      this.app.other ? this.twin(twin, notices[1]) : null,
      round.pending ? null : this.actions(round),
    );
  }

  asked(round) {
    const { prompt } = round;
    const about = (prompt.refers_to ?? prompt.about ?? []).map((id) => this.reference(id));
    const marks = [];
    const count = (number, what) => number && marks.push(`${number} ${what}${number > 1 ? (what === "box" ? "es" : "s") : ""}`);
    count(prompt.points?.length, "point");
    count(prompt.boxes?.length, "box");
    if (!marks.length && (prompt.masks?.length || prompt.drawn)) marks.push("drawn");
    const how = round.answer?.how;
    const verb = how === "add" ? "Add to " : how === "cut" ? "Cut from " : about.length ? "About " : "";
    const meant = how && how !== "new" ? (round.answer.replaces ?? []).map((id) => this.reference(id)) : about;
    return make(
      "div.asked",
      {},
      meant.length ? make("p.meant", {}, verb, meant) : null,
      prompt.text ? make("p.words", { dir: "auto" }, prompt.text) : null,
      marks.length ? make("p.marks", {}, icon(prompt.points?.length ? "point" : prompt.boxes?.length ? "box" : "lasso"), marks.join(", ")) : null,
    );
  }

  reference(id) {
    const found = this.app.conversation.segment(id);
    return make("span.reference", {}, found ? this.app.conversation.nameOf(found.segment) : id);
  }

  editor(round) {
    const words = make("textarea", { rows: 2, maxlength: "4000", "aria-label": "The prompt anew" });
    words.value = round.prompt.text ?? "";
    const stop = () => {
      this.editing = null;
      this.show();
    };
    const form = make(
      "form.editor",
      {
        onsubmit: (event) => {
          event.preventDefault();
          this.editing = null;
          this.app.edit(round, words.value);
        },
        onkeydown: (event) => {
          if (event.key === "Escape") stop();
          if (event.key === "Enter" && !event.shiftKey) {
            event.preventDefault();
            form.requestSubmit();
          }
        },
      },
      words,
      make("p.row.end", {}, button("Cancel", stop), make("button.button.primary", { type: "submit" }, "Ask anew")),
    );
    requestAnimationFrame(() => words.focus());
    return form;
  }

  answer(round, conversation, notices) {
    const { answer } = round;
    const replaced = conversation.replaced;
    const chips = (round.segments ?? []).map((segment) => this.chip(segment, conversation, replaced.has(segment.id)));
    return make(
      "div.answer",
      {},
      round.failed ? make("p.problem", { role: "alert" }, round.failed) : null,
      round.pending && !round.failed ? this.waiting(round) : null,
      round.reply ? make("p.reply", { dir: "auto" }, round.reply) : null,
      !round.pending && round.segments && !round.segments.length ? nothing(answer ?? undefined) : null,
      chips.length ? make("ul.chips", { "aria-label": `Masks of ${round.prompt.text || round.id}` }, chips) : null,
      notices.map((text) => make("p.notice", {}, text)),
      round.stale ? this.stale() : null,
      answer?.model ? make("p.facts", {}, facts(answer)) : null,
      round.failed ? make("p.row", {}, button("Dismiss", () => conversation.dismiss(round))) : null,
    );
  }

  waiting(round) {
    const why = round.waiting ? `${round.waiting.why}: once more in ${Math.round(round.waiting.seconds)} s` : "Looking";
    return make(
      "p.waiting",
      {},
      make("span.dots", { "aria-hidden": "true" }),
      why,
      round.job ? button("Stop", () => this.app.conversation.dismiss(round)) : null,
    );
  }

  twin(round, notices) {
    const { other } = this.app;
    return make(
      "div.twin",
      {},
      make("h3", {}, other.model),
      round ? this.answer(round, other, notices) : make("p.quiet", {}, "This model could not be asked that."),
    );
  }

  chip(segment, conversation, replaced) {
    const mine = conversation === this.app.conversation && !segment.id.startsWith("?");
    const { colour } = conversation.shape(segment);
    const name = segment.id.startsWith("?") ? "..." : conversation.nameOf(segment);
    const light = (on) => () => this.app.look.set({ lit: on ? segment.id : null });
    const dot = make("i.dot", { "aria-hidden": "true" });
    dot.style.background = css(colour);
    return make(
      "li",
      {},
      make(
        "button.chip",
        {
          type: "button",
          "data-segment": mine ? segment.id : undefined,
          class: replaced ? "chip replaced" : "chip",
          "aria-label": `${name}${name !== segment.id ? `, ${segment.id}` : ""}${replaced ? ", mended since" : ""}`,
          onmouseenter: light(true),
          onmouseleave: light(false),
          onfocus: light(true),
          onblur: light(false),
          onclick: (event) => mine && this.app.look.choose(segment.id, event.shiftKey || event.ctrlKey),
        },
        dot,
        make("span", {}, name),
        name !== segment.id && !segment.id.startsWith("?") ? make("small", {}, segment.id) : null,
      ),
    );
  }

  stale() {
    return make(
      "p.stale",
      {},
      "What it refers to has changed since.",
      button("Ask again", () => this.app.run(() => this.app.each((one) => one.refresh()), "asked again")),
    );
  }

  actions(round) {
    const { app } = this;
    const words = Boolean(round.prompt.text);
    return make(
      "div.doing",
      {},
      round.segments?.length ? button("Hide its masks", () => app.look.toggle(round.id), "look", { "data-eye": "" }) : null,
      words ? button("Edit the prompt", () => this.edit(round), "edit") : null,
      button("Fork from here", () => app.forkAt(round), "fork"),
      button("Remove the round", () => app.remove(round), "bin"),
    );
  }

  edit(round) {
    this.editing = round.id;
    this.show();
  }
}

/** A round's notices that were not `said` before; from now on they were. */
function fresh(round, said) {
  const found = (round?.answer?.notices ?? []).filter((text) => !said.has(text));
  for (const text of found) said.add(text);
  return found;
}

/** That nothing matches; and how near it was, where that was a question of chance and the model has learnt to say it. */
function nothing({ presence_trained: trained, presence, threshold } = {}) {
  const [chance, least] = [Math.floor(100 * presence), Math.ceil(100 * threshold)];
  const near =
    trained && presence < threshold
      ? ` The model sees a chance of ${chance} % that something does; it shows masks from ${least} % on.`
      : "";
  return make("p.none", {}, `Nothing in the picture matches.${near}`);
}

/** Model, time and score; a score only where training has taught one. */
function facts(answer) {
  // The picture was looked at once, before the first prompt.
  const { picture: _, ...own } = answer.timings ?? {};
  const seconds = Object.values(own).reduce((sum, value) => sum + value, 0);
  const parts = [answer.model];
  if (answer.found && answer.score_trained && answer.score != null) parts.push(`score ${answer.score.toFixed(2)}`);
  if (seconds) parts.push(`${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`);
  if (answer.usage?.usd) parts.push(`$${answer.usage.usd.toFixed(4)}`);
  return parts.join(" · ");
}
