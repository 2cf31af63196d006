// Two conversations side by side: which round of the other answers the same as one of ours, and which masks of it are
// meant by ours. Ids of the two part as soon as either is edited.

export class Twins {
  constructor(mine, theirs) {
    Object.assign(this, { mine, theirs });
    this.rounds = new Map(theirs.order.map((id) => [id, id])); // a fork begins with the same ids
  }

  pair(mine, theirs) {
    if (mine && theirs) this.rounds.set(mine.id, theirs.id);
  }

  /** The other's round to one of ours, undefined where it has none. */
  round(id) {
    const other = this.rounds.get(id) ?? id; // what is under way has one id in both
    return this.theirs.all.find((one) => one.id === other);
  }

  /** A round or mask of ours in the other's ids: one of several masks where it has as many, else the whole round. */
  id(id) {
    if (this.mine.rounds.has(id)) return this.round(id)?.id;
    const found = this.mine.segment(id);
    const twin = found && this.round(found.round.id);
    if (!twin) return undefined;
    const place = found.round.segments.indexOf(found.segment);
    return twin.segments?.length === found.round.segments.length ? twin.segments[place].id : twin.id;
  }
}
