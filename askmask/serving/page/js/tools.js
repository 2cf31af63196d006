// Tools: what a press, a drag or a key on the picture means. Each gets places in the picture's own pixels.

import { drawBox, drawPoint } from "./stage.js";

const round2 = (value) => Math.round(100 * value) / 100;
const least = 3; // screen pixels below which a drag is a click

/** Click a mask to refer to it; drag to move the picture. */
export class SelectTool {
  constructor(app) {
    this.app = app;
  }

  hint = "Click a mask to refer to it. Drag to move the picture.";

  click([x, y], event) {
    const segment = this.app.stage.under(x, y);
    if (segment) this.app.look.choose(segment.id, event.shiftKey);
    else this.app.look.clear();
    this.app.say(segment ? `${this.app.conversation.nameOf(segment)} chosen` : "nothing chosen");
  }
}

/** Click a thing. With Shift points are gathered, with Alt those outside it; Enter asks. */
export class PointTool {
  constructor(app) {
    this.app = app;
    this.points = [];
  }

  hint = "Click a thing. Shift adds a point, Alt one outside the thing, Enter asks with all of them.";

  click(place, event) {
    const [x, y] = this.app.view.clamped(...place).map(round2);
    const more = event.shiftKey || event.altKey;
    this.points.push([x, y, event.altKey ? 0 : 1]);
    if (!more) this.finish();
    this.app.stage.redraw();
  }

  finish() {
    const points = this.points;
    this.points = [];
    if (points.length) this.app.mark({ points });
  }

  cancel() {
    this.points = [];
  }

  draw(pen, scale, stage) {
    for (const [x, y, inside] of this.points) drawPoint(pen, x, y, inside, stage.pixels / scale);
  }
}

/** Drag a box around a thing. */
export class BoxTool {
  constructor(app) {
    this.app = app;
    this.corners = null;
  }

  hint = "Drag a box around a thing.";
  drags = true;

  start(place) {
    this.corners = [...place, ...place];
  }

  move(place) {
    if (this.corners) this.corners.splice(2, 2, ...place);
  }

  end() {
    const [a, b, c, d] = this.corners;
    this.corners = null;
    const [x0, y0] = this.app.view.clamped(Math.min(a, c), Math.min(b, d)).map(round2);
    const [x1, y1] = this.app.view.clamped(Math.max(a, c), Math.max(b, d)).map(round2);
    if ((x1 - x0) * this.app.view.scale >= least && (y1 - y0) * this.app.view.scale >= least) {
      this.app.mark({ boxes: [[x0, y0, x1, y1]] });
    }
  }

  /** With the keyboard: the first press is one corner, the second the other. */
  key(place) {
    if (this.corners) {
      this.move(place);
      this.end();
    } else {
      this.start(place);
      this.app.say("first corner set; go to the other and press Enter");
    }
  }

  cancel() {
    this.corners = null;
  }

  draw(pen, scale, stage) {
    if (this.corners) drawBox(pen, this.corners, stage.pixels / scale);
  }
}

/** Draw around a region: it becomes a mask of your own, or is added to or cut from one. */
export class LassoTool {
  constructor(app) {
    this.app = app;
    this.corners = [];
  }

  hint = "Draw around a region: it becomes a mask exactly as drawn.";
  drags = true;

  start(place) {
    this.corners = [place];
  }

  move(place) {
    const last = this.corners.at(-1);
    if (!last) return;
    const apart = Math.hypot(place[0] - last[0], place[1] - last[1]) * this.app.view.scale;
    if (apart >= 2) this.corners.push(place);
  }

  end() {
    const corners = this.corners.map((place) => this.app.view.clamped(...place).map(round2));
    this.corners = [];
    if (corners.length >= 3) this.app.mark({ polygon: corners });
  }

  /** With the keyboard: every press is a corner, a press at the same place ends it. */
  key(place) {
    const last = this.corners.at(-1);
    if (last && Math.hypot(place[0] - last[0], place[1] - last[1]) < 1) {
      if (this.corners.length >= 3) this.end();
      return;
    }
    this.corners.push([...place]);
    this.app.say(`corner ${this.corners.length}; press Enter twice at the last one to end`);
  }

  cancel() {
    this.corners = [];
  }

  draw(pen, scale, stage) {
    if (!this.corners.length) return;
    const unit = stage.pixels / scale;
    pen.beginPath();
    this.corners.forEach((place, number) => (number ? pen.lineTo(...place) : pen.moveTo(...place)));
    pen.closePath();
    pen.fillStyle = "rgb(255 255 255 / 0.2)";
    pen.fill();
    for (const [colour, width] of [["rgb(0 0 0 / 0.7)", 3.5], ["#fff", 1.5]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = width * unit;
      pen.stroke();
    }
  }
}

/** Hear pointer and keys on a stage and tell the tool in use. */
export function hearPointer(stage, app) {
  const { canvas, view } = stage;
  const down = new Map(); // pointers that touch, by id
  let begun = null; // where the press began, on the canvas
  let panning = false;
  let pinch = null;

  canvas.addEventListener("pointerdown", (event) => {
    if (!stage.conversation?.image) return;
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, stage.onCanvas(event));
    if (down.size === 2) {
      app.tool.cancel?.();
      pinch = spread(down);
      begun = null;
      return;
    }
    begun = stage.onCanvas(event);
    panning = event.button === 1 || event.button === 2 || app.held.has(" ") || !app.tool.drags;
    if (!panning) app.tool.start(stage.place(event));
    stage.cursor = null;
  });

  canvas.addEventListener("pointermove", (event) => {
    const now = stage.onCanvas(event);
    const before = down.get(event.pointerId);
    if (!before) {
      const [x, y] = stage.place(event);
      app.look.set({ lit: stage.under(x, y)?.id ?? null });
      app.point(x, y, stage);
      return;
    }
    down.set(event.pointerId, now);
    if (pinch && down.size === 2) {
      const next = spread(down);
      view.zoom(next.apart / pinch.apart, ...next.middle);
      view.pan(next.middle[0] - pinch.middle[0], next.middle[1] - pinch.middle[1]);
      pinch = next;
    } else if (begun && panning) {
      if (Math.hypot(now[0] - begun[0], now[1] - begun[1]) >= least || begun.moved) {
        begun.moved = true;
        view.pan(now[0] - before[0], now[1] - before[1]);
      }
    } else if (begun) {
      for (const part of event.getCoalescedEvents?.() ?? [event]) app.tool.move(stage.place(part));
      stage.redraw();
    }
  });

  const lift = (event) => {
    const known = down.delete(event.pointerId);
    if (!known) return;
    if (pinch) {
      if (!down.size) pinch = null;
      return;
    }
    const was = begun;
    begun = null;
    if (!was) return;
    if (event.type === "pointercancel") app.tool.cancel?.();
    else if (!panning) {
      app.tool.move(stage.place(event));
      app.tool.end();
    } else if (!was.moved && event.button === 0) app.tool.click?.(stage.place(event), event);
    stage.redraw();
  };
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("pointerleave", () => app.look.set({ lit: null }));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const turn = event.deltaMode ? event.deltaY * 30 : event.deltaY;
      view.zoom(Math.exp(-turn * (event.ctrlKey ? 0.01 : 0.0018)), ...stage.onCanvas(event));
    },
    { passive: false },
  );
  canvas.addEventListener("keydown", (event) => hearKey(event, stage, app));
  canvas.addEventListener("blur", () => {
    stage.cursor = null;
    stage.redraw();
  });
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** A cross hair that arrow keys move; Enter presses there. */
function hearKey(event, stage, app) {
  const { view } = stage;
  if (!stage.conversation?.image || event.ctrlKey || event.metaKey) return;
  if (event.key in ARROWS) {
    event.preventDefault();
    const [dx, dy] = ARROWS[event.key];
    const step = event.shiftKey ? 1 : Math.max(1, Math.round(12 / view.scale));
    const from = stage.cursor ?? view.picture.map((side) => Math.floor(side / 2) + 0.5);
    const [width, height] = view.picture;
    stage.cursor = [
      Math.min(width - 0.5, Math.max(0.5, from[0] + dx * step)),
      Math.min(height - 0.5, Math.max(0.5, from[1] + dy * step)),
    ];
    reveal(stage);
    const under = stage.under(...stage.cursor);
    app.look.set({ lit: under?.id ?? null });
    app.point(...stage.cursor, stage);
    const place = `${Math.floor(stage.cursor[0])}, ${Math.floor(stage.cursor[1])}`;
    app.say(under ? `${place}, on ${stage.conversation.nameOf(under)}` : place);
    stage.redraw();
  } else if ((event.key === "Enter" || event.key === " ") && stage.cursor) {
    event.preventDefault();
    if (app.tool.key) app.tool.key(stage.cursor);
    else app.tool.click?.(stage.cursor, event);
    stage.redraw();
  } else if (event.key === "Enter" && app.tool.points?.length) {
    app.tool.finish();
  }
}

/** Move the view so that the cross hair is seen. */
function reveal(stage) {
  const { view, cursor } = stage;
  const [x, y] = view.toCanvas(...cursor);
  const edge = 24;
  const dx = x < edge ? edge - x : x > view.canvas[0] - edge ? view.canvas[0] - edge - x : 0;
  const dy = y < edge ? edge - y : y > view.canvas[1] - edge ? view.canvas[1] - edge - y : 0;
  if (dx || dy) view.pan(dx, dy);
}

function spread(down) {
  const [[ax, ay], [bx, by]] = [...down.values()];
  return { apart: Math.hypot(ax - bx, ay - by) || 1, middle: [(ax + bx) / 2, (ay + by) / 2] };
}
