// One conversation as the server told it: rounds, their segments with shapes and colours, and what replaced what.

import { get, work, cancel, blob } from "./api.js";
import { Backdrop, colourFor } from "./colours.js";
import { crop, pathOf } from "./rle.js";

const MOST_SIDE = 4096; // of the picture that is shown; places are always those of the picture itself

export class Conversation {
  constructor(session) {
    Object.assign(this, {
      id: session.id,
      model: session.model,
      picture: session.picture,
      order: [],
      rounds: new Map(),
      pending: [],
      canUndo: false,
      image: null,
      backdrop: null,
      heard: [],
      shapes: new Map(),
      busy: 0,
      told: null, // the notice that was closed
    });
    this.take(inOrder(session));
  }

  get path() {
    return `/v1/sessions/${this.id}`;
  }

  onChange(hear) {
    this.heard.push(hear);
  }

  changed() {
    for (const hear of this.heard) hear(this);
  }

  async loadPicture() {
    const data = await blob(`${this.path}/picture?most=${MOST_SIDE}`);
    this.image = await createImageBitmap(data);
    this.backdrop = new Backdrop(this.image, this.picture.width, this.picture.height);
    this.shapes.clear();
    this.changed();
  }

  /** What is to be taken in after a change: all there is, where another tab has changed something in between. */
  async upToDate(changes) {
    if (changes.version === this.version + 1) return changes;
    const whole = inOrder(await get(this.path));
    return whole.version > this.version ? whole : null;
  }

  /** Hear what other tabs did. */
  async catchUp() {
    const whole = this.busy ? null : inOrder(await get(this.path));
    if (whole?.version > this.version) this.take(whole);
  }

  /** Take in what the server says has changed. */
  take({ rounds, order, can_undo, version }) {
    for (const round of rounds) this.rounds.set(round.id, round);
    this.order = order;
    for (const id of [...this.rounds.keys()]) if (!order.includes(id)) this.rounds.delete(id);
    this.canUndo = can_undo;
    this.version = version;
    this.changed();
  }

  /** The rounds in order, then those under way. */
  get all() {
    return [...this.order.map((id) => this.rounds.get(id)), ...this.pending];
  }

  get segments() {
    const found = [];
    for (const round of this.all) for (const segment of round.segments ?? []) found.push({ round, segment });
    return found;
  }

  /** Ids of segments that a mended one has taken the place of. */
  get replaced() {
    return new Set(this.all.flatMap((round) => round.answer?.replaces ?? []));
  }

  segment(id) {
    return this.segments.find((one) => one.segment.id === id);
  }

  /** What a segment is called, with its number where others of the same answer are called the same. */
  nameOf(segment) {
    const called = (one) => one.name ?? one.phrase;
    const round = this.all.find((one) => one.segments?.includes(segment));
    const alike = round?.segments.filter((one) => called(one) === called(segment)) ?? [];
    const number = called(segment) && alike.length > 1 ? ` ${alike.indexOf(segment) + 1}` : "";
    return `${called(segment) ?? segment.id}${number}`;
  }

  /** Outline, pixels and colour of a segment, made once; the colour is none that another mask has. */
  shape(segment) {
    const key = shapeKey(segment);
    if (!this.shapes.has(key)) {
      const region = segment.box && segment.mask.rle ? crop(segment.mask.rle, segment.box) : null;
      const { replaced } = this;
      const live = this.segments.filter((one) => !replaced.has(one.segment.id));
      const taken = live.map((one) => this.shapes.get(shapeKey(one.segment))?.colour).filter(Boolean);
      const colour = colourFor(region, this.backdrop, taken);
      this.shapes.set(key, { region, path: region && pathOf(region), colour });
    }
    return this.shapes.get(key);
  }

  // -- what may be done ---------------------------------------------------------------------------------------

  /** `id` names the round while it is under way: the same in two conversations side by side. */
  ask(prompt, id) {
    return this.adding(id, prompt, () => ["POST", `${this.path}/rounds`, prompt]);
  }

  add(call, id) {
    const marks = { text: "", points: call.points ?? [], boxes: call.boxes ?? [], drawn: Boolean(call.mask) };
    const prompt = { ...marks, about: call.of ? [call.of] : [] };
    return this.adding(id, prompt, () => ["POST", `${this.path}/segments`, call]);
  }

  /** Show a round while it is answered; on failure it stays, with the reason, until it is sent away. */
  async adding(id, prompt, request) {
    const round = { id: id ?? unique(), pending: true, prompt, segments: [], reply: "" };
    this.pending.push(round);
    this.changed();
    const told = (kind, data) => {
      if (kind === "job") round.job = data.id;
      if (kind === "segment") round.segments = [...round.segments, { ...data, id: `?${round.segments.length + 1}` }];
      if (kind === "words") round.reply += data.text;
      round.waiting = kind === "wait" ? data : null;
      this.changed();
    };
    try {
      const [method, path, value] = request();
      const changes = await this.doing(method, path, value, told);
      const news = await this.upToDate(changes);
      this.pending = this.pending.filter((one) => one !== round);
      if (news) this.take(news);
      else this.changed();
      return changes.rounds.at(-1);
    } catch (error) {
      round.failed = error.text ?? String(error.message ?? error);
      round.segments = [];
      this.changed();
      throw error;
    }
  }

  dismiss(round) {
    if (round.job && !round.failed) cancel(round.job).catch(() => {});
    this.pending = this.pending.filter((one) => one !== round);
    this.changed();
  }

  async doing(method, path, value, told) {
    this.busy++;
    this.changed();
    try {
      return await work(method, path, value, { told });
    } finally {
      this.busy--;
      this.changed();
    }
  }

  async change(method, path, value) {
    const news = await this.upToDate(await this.doing(method, `${this.path}${path}`, value));
    if (news) this.take(news);
  }

  edit(id, text) {
    return this.change("PUT", `/rounds/${id}`, { text, refresh: true });
  }

  refresh() {
    return this.change("POST", "/refresh");
  }

  removeRound(id) {
    return this.change("DELETE", `/rounds/${id}`);
  }

  undo() {
    return this.change("POST", "/undo");
  }

  async rename(segment, name) {
    await this.doing("PATCH", `${this.path}/segments/${encodeURIComponent(segment.id)}`, { name: name || null });
    segment.name = name || undefined;
    this.canUndo = true;
    this.version++;
    this.changed();
  }

  fork(call) {
    return work("POST", `${this.path}/fork`, call);
  }
}

const inOrder = (session) => ({ ...session, order: session.rounds.map((round) => round.id) });

const shapeKey = ({ id, area, mask }) => `${id} ${area} ${mask.rle?.counts.length ?? 0}`;

export const unique = () => crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;

export const load = async (id) => new Conversation(await get(`/v1/sessions/${encodeURIComponent(id)}`));
