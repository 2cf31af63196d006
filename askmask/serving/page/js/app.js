// What the parts of the page share: the conversation that is open, the one beside it, and how things are done to them.

import * as api from "./api.js";
import { load, unique } from "./conversation.js";
import { all, one } from "./dom.js";
import { Look } from "./look.js";
import { Rounds } from "./rounds.js";
import { Stage } from "./stage.js";
import { BoxTool, hearPointer, LassoTool, PointTool, SelectTool } from "./tools.js";
import { Twins } from "./twins.js";
import { View } from "./view.js";

export class App {
  constructor() {
    this.look = new Look();
    this.view = new View();
    this.stage = new Stage(one("#left"), this.view, this.look);
    this.beside = new Stage(one("#right"), this.view, this.look);
    this.rounds = new Rounds(one("#rounds"), this);
    this.held = new Set(); // keys that are down
    this.models = [];
    this.conversation = null;
    this.other = null;
    this.saved = null; // a conversation that waits for its picture
    this.how = "new";
    this.tools = {
      select: new SelectTool(this),
      point: new PointTool(this),
      box: new BoxTool(this),
      lasso: new LassoTool(this),
    };
    this.tool = this.tools.select;
    this.heard = [];
    for (const stage of [this.stage, this.beside]) {
      stage.tool = { draw: (...given) => this.tool.draw?.(...given) };
      hearPointer(stage, this);
    }
  }

  /** Hear of any change of what is open. */
  onChange(hear) {
    this.heard.push(hear);
  }

  changed() {
    this.rounds.show();
    for (const hear of this.heard) hear();
  }

  // -- what is open -------------------------------------------------------------------------------------------

  async show(conversation) {
    this.leave();
    this.conversation = conversation;
    conversation.onChange(() => this.changed());
    document.body.dataset.state = "work";
    history.replaceState(null, "", `#${conversation.id}`);
    document.title = `${conversation.picture.name} - askmask`;
    this.view.show(conversation.picture.width, conversation.picture.height);
    this.stage.show(conversation);
    this.changed();
    await conversation.loadPicture();
  }

  leave() {
    this.compareWith(null);
    this.conversation = null;
    this.look.chosen.clear();
    this.look.hidden.clear();
    this.look.only = false;
    this.stage.show(null);
    this.rounds.editing = null;
    this.changed();
  }

  home() {
    this.leave();
    document.body.dataset.state = "start";
    document.title = "askmask";
    history.replaceState(null, "", location.pathname);
    for (const hear of this.heard) hear();
  }

  async openId(id) {
    await this.run(async () => this.show(await load(id)));
    if (!this.conversation) this.home();
  }

  async openFile(file) {
    const name = file.name || "pasted picture.png";
    await this.run(async () => {
      this.toast("Opening the picture", 0);
      const session = await api.openSession(file, name, { model: one("#model").value, saved: this.saved });
      this.saved = null;
      this.toast("");
      await this.show(await load(session.id));
      one("#prompt").focus();
    });
  }

  async compareWith(model) {
    this.other = this.twins = null;
    this.beside.show(null);
    one("#second").hidden = true;
    if (model) {
      const session = await this.conversation.fork({ model, ask_anew: true });
      this.other = await load(session.id);
      this.other.onChange(() => this.changed());
      this.other.image = this.conversation.image;
      this.other.backdrop = this.conversation.backdrop;
      one("#second").hidden = false;
      this.twins = new Twins(this.conversation, this.other);
      this.beside.show(this.other);
      for (const { why } of session.refused ?? []) this.toast(why);
    }
    this.changed();
  }

  async forkAt(round) {
    const { conversation } = this;
    const rounds = conversation.order.indexOf(round.id) + 1;
    await this.run(async () => {
      const session = await conversation.fork({ rounds });
      await this.show(await load(session.id));
    }, "forked: this is the second conversation");
  }

  // -- what is done -------------------------------------------------------------------------------------------

  /** Do something for the conversation and the one beside it: `act(conversation, id -> its own id)`. */
  async each(act) {
    const mine = act(this.conversation, (id) => id);
    if (!this.other) return [await mine];
    const { twins } = this;
    const both = await Promise.all([mine, act(this.other, (id) => twins.id(id))]);
    twins.pair(...both);
    this.changed();
    return both;
  }

  ask(text) {
    const chosen = [...this.look.chosen];
    this.look.clear();
    const id = unique();
    const act = (one, own) => one.ask({ text, about: chosen.map(own).filter(Boolean) }, id);
    return this.run(() => this.each(act), null);
  }

  edit(round, text) {
    return this.run(() => this.each((one, own) => own(round.id) && one.edit(own(round.id), text)), "asked anew");
  }

  remove(round) {
    return this.run(() => this.each((one, own) => own(round.id) && one.removeRound(own(round.id))), "removed");
  }

  /** A mark on the picture: a new mask, or one that mends what is chosen. */
  mark({ points, boxes, polygon }) {
    const of = this.how === "new" ? null : [...this.look.chosen][0];
    const mask = polygon && { polygons: [[polygon]] };
    const id = unique();
    const act = (conversation, own) => {
      if (of) return conversation.add({ how: this.how, of: own(of), points, boxes, mask }, id);
      return mask ? conversation.add({ how: "new", mask }, id) : conversation.ask({ text: "", points, boxes }, id);
    };
    return this.run(async () => {
      const [round] = await this.each(act);
      if (of && round?.segments?.[0]) this.look.choose(round.segments[0].id);
    }, null);
  }

  undo() {
    if (this.conversation?.canUndo) this.run(() => this.each((one) => one.undo()), "undone");
  }

  /** Run something that may be refused; say what came of it. */
  async run(act, done) {
    try {
      const result = await act();
      const round = this.conversation?.all.at(-1);
      if (done) this.say(done);
      else if (done === null && round) this.say(summary(round, this.conversation));
      return result;
    } catch (error) {
      console.debug(error);
      this.toast(error.text ?? String(error.message ?? error));
      return undefined;
    }
  }

  async download(file) {
    const { conversation } = this;
    await this.run(async () => {
      const shown = conversation.order.filter((id) => !this.look.hidden.has(id));
      const query = /zip|png/.test(file) && shown.length < conversation.order.length ? `?rounds=${shown}` : "";
      const data = await api.blob(`${conversation.path}/${file}${query}`);
      const stem = conversation.picture.name.replace(/\.[^.]*$/, "") || "picture";
      const link = document.createElement("a");
      link.href = URL.createObjectURL(data);
      link.download = { saved: `${stem}.json`, "page.html": `${stem}.html` }[file] ?? `${stem}-${file}`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    }, "saved");
  }

  // -- what is said -------------------------------------------------------------------------------------------

  say(text) {
    one("#say").textContent = text;
  }

  point(x, y, stage) {
    const [width, height] = this.view.picture;
    const inside = x >= 0 && y >= 0 && x < width && y < height;
    const under = inside && stage.under(x, y);
    const name = under ? ` ${stage.conversation.nameOf(under)}` : "";
    one("#place").textContent = inside ? `${Math.floor(x)}, ${Math.floor(y)}${name}` : "";
    stage.canvas.style.cursor = this.held.has(" ") ? "grab" : under && this.tool === this.tools.select ? "pointer" : "";
  }

  toast(text, seconds = 8) {
    const toast = one("#toast");
    clearTimeout(this.toasting);
    toast.textContent = text;
    toast.hidden = !text;
    if (text && seconds) this.toasting = setTimeout(() => (toast.hidden = true), 1000 * seconds);
  }
}

function summary(round, conversation) {
  if (round.failed) return round.failed;
  const names = (round.segments ?? []).map((segment) => conversation.nameOf(segment));
  if (!round.segments && round.reply) return round.reply; // in words alone, such as a question back
  return names.length ? `${names.length} ${names.length > 1 ? "masks" : "mask"}: ${names.join(", ")}` : "nothing matches";
}

export const showModels = (models, chosen) => {
  const select = one("#model");
  select.replaceChildren(...models.map((model) => new Option(model.id, model.id, false, model.id === chosen)));
  for (const label of all(".model")) label.classList.toggle("single", models.length < 2);
};
