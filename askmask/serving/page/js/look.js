// How masks are looked at: what is lit, chosen, shown or hidden; shared by the picture and the list of rounds.

export class Look {
  constructor() {
    Object.assign(this, {
      lit: null, // a segment's id under the pointer or the focus
      chosen: new Set(), // segments that the next prompt is about
      hidden: new Set(), // rounds
      opacity: 0.45,
      outline: true,
      only: false,
      heard: [],
    });
  }

  onChange(hear) {
    this.heard.push(hear);
  }

  changed() {
    for (const hear of this.heard) hear();
  }

  set(values) {
    if (Object.entries(values).every(([name, value]) => this[name] === value)) return;
    Object.assign(this, values);
    this.changed();
  }

  choose(id, more = false) {
    const was = this.chosen.has(id);
    if (!more) this.chosen.clear();
    if (was) this.chosen.delete(id);
    else this.chosen.add(id);
    this.changed();
  }

  clear() {
    this.chosen.clear();
    this.only = false;
    this.changed();
  }

  toggle(round) {
    if (!this.hidden.delete(round)) this.hidden.add(round);
    this.changed();
  }
}

/** What is drawn of a conversation, back to front: [{segment, shape, weight}], weight 0 (hint) to 1 (lit). */
export function layers(conversation, look) {
  const replaced = conversation.replaced;
  const visible = conversation.all.filter((round) => !look.hidden.has(round.id) && round.segments?.length);
  const last = visible.at(-1);
  const found = [];
  conversation.segments.forEach(({ round, segment }) => {
    const marked = look.lit === segment.id || look.chosen.has(segment.id);
    if (!marked && (!visible.includes(round) || replaced.has(segment.id) || look.only)) return;
    const shape = conversation.shape(segment);
    if (!shape.path) return;
    let weight = round === last ? 0.6 : 0.2;
    if (look.lit && look.lit !== segment.id) weight = 0.1;
    if (look.chosen.has(segment.id)) weight = 0.8;
    if (look.lit === segment.id) weight = 1;
    found.push({ segment, shape, weight });
  });
  return found.sort((one, other) => other.segment.area - one.segment.area);
}
