// What part of the picture is seen, and how large: the one place where places on the screen become pixels of it.
// `scale` is screen pixels (CSS) per pixel of the picture; (left, top) is where its corner lies on the canvas.

const MOST = 64;

export class View {
  constructor() {
    Object.assign(this, { scale: 1, left: 0, top: 0, fitted: true, picture: [1, 1], canvas: [1, 1], heard: [] });
  }

  onChange(hear) {
    this.heard.push(hear);
  }

  changed() {
    for (const hear of this.heard) hear();
  }

  show(width, height) {
    this.picture = [width, height];
    this.fit();
  }

  resize(width, height) {
    if (width === this.canvas[0] && height === this.canvas[1]) return;
    const [x, y] = this.toPicture(this.canvas[0] / 2, this.canvas[1] / 2);
    this.canvas = [width, height];
    if (this.fitted) this.fit();
    else {
      this.left = width / 2 - x * this.scale;
      this.top = height / 2 - y * this.scale;
      this.changed();
    }
  }

  get least() {
    return Math.min(this.canvas[0] / this.picture[0], this.canvas[1] / this.picture[1]) || 1;
  }

  fit() {
    this.fitted = true;
    this.scale = this.least;
    this.left = (this.canvas[0] - this.picture[0] * this.scale) / 2;
    this.top = (this.canvas[1] - this.picture[1] * this.scale) / 2;
    this.changed();
  }

  zoom(factor, x = this.canvas[0] / 2, y = this.canvas[1] / 2) {
    const scale = Math.min(MOST, Math.max(this.least / 4, this.scale * factor));
    const [px, py] = this.toPicture(x, y);
    this.fitted = false;
    this.scale = scale;
    this.left = x - px * scale;
    this.top = y - py * scale;
    this.keep();
  }

  pan(dx, dy) {
    this.fitted = false;
    this.left += dx;
    this.top += dy;
    this.keep();
  }

  /** Never lose the picture: some of it stays on the canvas. */
  keep() {
    for (const [axis, side] of [["left", 0], ["top", 1]]) {
      const span = this.picture[side] * this.scale;
      const rest = Math.min(80, span);
      this[axis] = Math.min(this.canvas[side] - rest, Math.max(rest - span, this[axis]));
    }
    this.changed();
  }

  toPicture(x, y) {
    return [(x - this.left) / this.scale, (y - this.top) / this.scale];
  }

  toCanvas(x, y) {
    return [x * this.scale + this.left, y * this.scale + this.top];
  }

  clamped(x, y) {
    return [Math.min(this.picture[0], Math.max(0, x)), Math.min(this.picture[1], Math.max(0, y))];
  }
}
