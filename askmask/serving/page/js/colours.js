// Colours of masks: apart from one another and from what they cover, for colour-blind eyes too; as the library draws.

// Okabe and Ito (2008), vivid ones first, then what is lighter, darker or of another hue than those.
const PALETTE = [
  [0, 158, 115], [230, 159, 0], [86, 180, 233], [204, 121, 167], [213, 94, 0], [240, 228, 66], [0, 114, 178],
  [255, 255, 255], [20, 20, 60], [170, 255, 60], [150, 0, 130], [255, 190, 170], [0, 70, 60], [130, 70, 20],
  [0, 235, 235],
];
const ENOUGH = 0.2; // of the way from black to white: nobody takes such colours for one another
const LINES = 100; // along which a region's edge is looked for
const SAMPLES = 300;
// Linear RGB -> linear RGB as it is seen: usual eyes, protanopia, deuteranopia (Machado, Oliveira and Fernandes 2009).
const EYES = [
  [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
];

/** What a picture looks like, small: enough to choose colours by. */
export class Backdrop {
  constructor(image, width, height) {
    this.scale = Math.min(1, 512 / Math.max(width, height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(width * this.scale));
    canvas.height = Math.max(1, Math.round(height * this.scale));
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    this.width = canvas.width;
    this.height = canvas.height;
    this.pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
  }

  at(x, y) {
    const column = Math.min(this.width - 1, Math.max(0, Math.floor(x * this.scale)));
    const row = Math.min(this.height - 1, Math.max(0, Math.floor(y * this.scale)));
    const start = 4 * (row * this.width + column);
    return [this.pixels[start], this.pixels[start + 1], this.pixels[start + 2]];
  }

  /** Colours on both sides of a region's edge, where its outline will lie. */
  along(region) {
    const { x, y, width, height, bits } = region;
    const holds = (column, row) =>
      column >= 0 && row >= 0 && column < width && row < height && bits[row * width + column] === 1;
    const found = [];
    const look = (column, row, right, down) => {
      if (holds(column, row) === holds(column + right, row + down)) return;
      found.push(this.at(x + column, y + row), this.at(x + column + right, y + row + down));
    };
    for (let row = 0; row < height; row += Math.ceil(height / LINES)) {
      for (let column = -1; column < width; column++) look(column, row, 1, 0);
    }
    for (let column = 0; column < width; column += Math.ceil(width / LINES)) {
      for (let row = -1; row < height; row++) look(column, row, 0, 1);
    }
    const step = Math.ceil(found.length / SAMPLES);
    return found.filter((_, number) => number % step === 0);
  }
}

/** The first colour that is far enough from what lies under a region and from those taken; else nearly the clearest. */
export function colourFor(region, backdrop, taken) {
  const used = new Set(taken.map(String));
  let free = PALETTE.filter((colour) => !used.has(String(colour)));
  if (!free.length) free = further(taken.length + 12).filter((colour) => !used.has(String(colour)));
  const ground = backdrop && region ? backdrop.along(region).map(seen) : [];
  const others = taken.map(seen);
  const clearness = free.map(seen).map((colour) => {
    const below = ground.map((one) => apart(colour, one)).sort((a, b) => a - b);
    return Math.min(below[Math.floor(below.length / 10)] ?? Infinity, ...others.map((one) => apart(colour, one)));
  });
  const least = Math.min(ENOUGH, 0.8 * Math.max(...clearness));
  return free[clearness.findIndex((value) => value >= least)];
}

/** Hues far from one another, for more masks than anybody could tell apart by colour. */
function further(count) {
  return Array.from({ length: count }, (_, number) => {
    const [hue, light] = [(number * 0.618034) % 1, [0.45, 0.65, 0.55][number % 3]];
    const reach = 0.75 * Math.min(light, 1 - light);
    return [0, 8, 4].map((turn) => {
      const place = (turn + 12 * hue) % 12;
      return Math.round(255 * (light - reach * Math.max(-1, Math.min(place - 3, 9 - place, 1))));
    });
  });
}

/** Red, green, blue (0 to 255) -> Oklab (Ottosson 2020) as each of EYES sees it. */
function seen(colour) {
  const linear = colour.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return EYES.map((eye) => oklab(eye.map((row) => Math.min(1, Math.max(0, dot(row, linear))))));
}

const dot = (ones, others) => ones[0] * others[0] + ones[1] * others[1] + ones[2] * others[2];

/** How far apart two colours are, to the eyes that tell them worst. */
const apart = (one, other) =>
  Math.min(...one.map((lab, eye) => Math.hypot(...lab.map((value, axis) => value - other[eye][axis]))));

function oklab([r, g, b]) {
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

export const css = ([red, green, blue], alpha = 1) => `rgb(${red} ${green} ${blue} / ${alpha})`;
