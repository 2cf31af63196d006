// Colours of masks: apart from one another, for colour-blind eyes too, and apart from what they cover.

// Okabe and Ito (2008), vivid ones first, then lighter and darker kin.
const PALETTE = [
  [0, 158, 115], [230, 159, 0], [86, 180, 233], [204, 121, 167], [213, 94, 0], [240, 228, 66], [0, 114, 178],
  [255, 255, 255], [148, 103, 189], [23, 190, 207],
];
const CLEAR = 0.28; // distance in OKLab that is surely seen, also through a half transparent fill

/** What a picture looks like, small: enough to choose colours by. */
export class Backdrop {
  constructor(image, width, height) {
    this.scale = Math.min(1, 160 / Math.max(width, height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(width * this.scale));
    canvas.height = Math.max(1, Math.round(height * this.scale));
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    this.width = canvas.width;
    this.height = canvas.height;
    this.pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
  }

  /** The mean colour under a region. */
  under(region) {
    const sum = [0, 0, 0];
    let count = 0;
    const step = Math.max(1, Math.floor(Math.sqrt((region.width * region.height) / 900)));
    for (let row = 0; row < region.height; row += step) {
      for (let column = 0; column < region.width; column += step) {
        if (!region.bits[row * region.width + column]) continue;
        const x = Math.min(this.width - 1, Math.floor((region.x + column) * this.scale));
        const y = Math.min(this.height - 1, Math.floor((region.y + row) * this.scale));
        for (let channel = 0; channel < 3; channel++) sum[channel] += this.pixels[4 * (y * this.width + x) + channel];
        count++;
      }
    }
    return sum.map((value) => value / Math.max(1, count));
  }
}

/** A colour for the mask number `number` of a conversation: the next of the palette that stands out there. */
export function colourFor(number, region, backdrop) {
  const turned = PALETTE.map((_, step) => PALETTE[(number + step) % PALETTE.length]);
  const below = backdrop && region ? backdrop.under(region) : [128, 128, 128];
  const seen = oklab(below);
  const apart = (colour) => Math.hypot(...oklab(colour).map((value, axis) => value - seen[axis]));
  return turned.find((colour) => apart(colour) >= CLEAR) ?? turned.reduce((a, b) => (apart(b) > apart(a) ? b : a));
}

/** Red, green, blue (0 to 255) -> OKLab (Ottosson 2020), in which distances are as eyes see them. */
function oklab(colour) {
  const [r, g, b] = colour.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
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
