// The picture on its canvas: draws picture, masks and what a tool is doing, and tells the tool where the pointer is.

import { css } from "./colours.js";
import { layers } from "./look.js";
import { holds } from "./rle.js";

export class Stage {
  constructor(canvas, view, look) {
    Object.assign(this, { canvas, view, look, pen: canvas.getContext("2d"), conversation: null, tool: null, cursor: null });
    this.pixels = 1; // of the canvas for each of the page's
    this.waiting = false;
    const redraw = () => this.redraw();
    view.onChange(redraw);
    look.onChange(redraw);
    this.watch();
  }

  show(conversation) {
    this.conversation = conversation;
    conversation?.onChange(() => this.redraw());
    this.redraw();
  }

  /** Follow the canvas' size in the screen's own pixels: browsers round it, and places must not drift by that. */
  watch() {
    const sized = (entries) => {
      const entry = entries.at(-1);
      const { width, height } = this.canvas.getBoundingClientRect();
      const own = entry?.devicePixelContentBoxSize?.[0];
      this.canvas.width = own ? own.inlineSize : Math.round(width * devicePixelRatio);
      this.canvas.height = own ? own.blockSize : Math.round(height * devicePixelRatio);
      this.pixels = width ? this.canvas.width / width : devicePixelRatio;
      if (width && height) this.view.resize(width, height);
      this.draw();
    };
    this.watcher = new ResizeObserver(sized);
    try {
      this.watcher.observe(this.canvas, { box: "device-pixel-content-box" });
    } catch {
      this.watcher.observe(this.canvas); // not every browser tells its own pixels
    }
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  draw() {
    const { pen, canvas, view, conversation } = this;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (!conversation?.image) return;
    const scale = view.scale * this.pixels;
    pen.setTransform(scale, 0, 0, scale, view.left * this.pixels, view.top * this.pixels);
    pen.imageSmoothingEnabled = scale < 2;
    pen.imageSmoothingQuality = "high";
    pen.drawImage(conversation.image, 0, 0, ...view.picture);
    const shown = layers(conversation, this.look);
    for (const layer of shown) this.drawMask(layer, scale);
    this.drawMarks(scale);
    this.tool?.draw?.(pen, scale, this);
    if (this.cursor) this.drawCursor(scale);
    pen.setTransform(this.pixels, 0, 0, this.pixels, 0, 0);
    for (const layer of shown) if (layer.weight >= 0.8) this.drawName(layer);
  }

  drawMask({ shape, weight }, scale) {
    const { pen, look } = this;
    const fill = weight >= 0.8 ? Math.min(1, look.opacity + 0.2) : weight >= 0.6 ? look.opacity : look.opacity * weight;
    pen.fillStyle = css(shape.colour, fill);
    pen.fill(shape.path, "evenodd");
    if (!look.outline && weight < 0.8) return;
    const width = ((weight >= 0.8 ? 2.5 : 1.5) * this.pixels) / scale;
    pen.lineJoin = "round";
    if (weight >= 0.6) {
      pen.strokeStyle = css([255, 255, 255], 0.9);
      pen.lineWidth = 2 * width;
      pen.stroke(shape.path);
      pen.strokeStyle = css([20, 20, 20], 0.5);
      pen.lineWidth = 1.2 * width;
      pen.stroke(shape.path);
    }
    pen.strokeStyle = css(shape.colour, weight < 0.2 ? 0.4 : 1);
    pen.lineWidth = width;
    pen.stroke(shape.path);
  }

  /** Points and boxes of the last round. */
  drawMarks(scale) {
    const last = this.conversation.all.at(-1);
    if (!last || this.look.hidden.has(last.id)) return;
    for (const [x, y, inside] of last.prompt.points ?? []) drawPoint(this.pen, x, y, inside ?? 1, this.pixels / scale);
    for (const box of last.prompt.boxes ?? []) drawBox(this.pen, box, this.pixels / scale);
  }

  drawName({ segment, shape }) {
    const { pen, view } = this;
    const text = this.conversation.nameOf(segment);
    const [x0, y0] = view.toCanvas(segment.box[0], segment.box[1]);
    pen.font = "600 13px system-ui, sans-serif";
    const width = Math.min(pen.measureText(text).width, 240) + 26;
    const x = Math.max(6, Math.min(x0, view.canvas[0] - width - 6));
    const y = Math.max(6, Math.min(y0 - 30, view.canvas[1] - 30));
    pen.fillStyle = "rgb(20 20 19 / 0.88)";
    pen.beginPath();
    pen.roundRect(x, y, width, 24, 12);
    pen.fill();
    pen.fillStyle = css(shape.colour);
    pen.beginPath();
    pen.arc(x + 12, y + 12, 4.5, 0, 7);
    pen.fill();
    pen.fillStyle = "#fff";
    pen.textBaseline = "middle";
    pen.fillText(text, x + 21, y + 12.5, 236);
  }

  drawCursor(scale) {
    const { pen, cursor } = this;
    const reach = (14 * this.pixels) / scale;
    for (const [colour, width] of [["#000", 4], ["#fff", 2]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = (width * this.pixels) / scale;
      pen.beginPath();
      pen.moveTo(cursor[0] - reach, cursor[1]);
      pen.lineTo(cursor[0] + reach, cursor[1]);
      pen.moveTo(cursor[0], cursor[1] - reach);
      pen.lineTo(cursor[0], cursor[1] + reach);
      pen.stroke();
    }
  }

  // -- where --------------------------------------------------------------------------------------------------

  /** The place of the picture under the pointer, in its own pixels; not cut to its edges. */
  place(event) {
    const frame = this.canvas.getBoundingClientRect();
    return this.view.toPicture(event.clientX - frame.left, event.clientY - frame.top);
  }

  onCanvas(event) {
    const frame = this.canvas.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  }

  /** The smallest mask there that is not hidden, else null. */
  under(x, y) {
    if (!this.conversation) return null;
    const found = layers(this.conversation, { ...this.look, lit: null }).filter(
      ({ shape, segment }) => !segment.id.startsWith("?") && holds(shape.region, x, y),
    );
    return found.at(-1)?.segment ?? null;
  }
}

export function drawPoint(pen, x, y, inside, unit) {
  pen.beginPath();
  pen.arc(x, y, 6 * unit, 0, 7);
  pen.fillStyle = inside ? "#fff" : "#111";
  pen.fill();
  pen.lineWidth = 2.5 * unit;
  pen.strokeStyle = inside ? "#111" : "#fff";
  pen.stroke();
}

export function drawBox(pen, [x0, y0, x1, y1], unit) {
  for (const [colour, width] of [["rgb(0 0 0 / 0.7)", 3.5], ["#fff", 1.5]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = width * unit;
    pen.setLineDash(colour === "#fff" ? [6 * unit, 4 * unit] : []);
    pen.strokeRect(Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0));
  }
  pen.setLineDash([]);
}
