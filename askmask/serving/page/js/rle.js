// COCO's run-length code of a mask -> its run lengths, its outline as a path, and what lies where.
// A mask is {size: [height, width], counts: text}; runs go down the columns from the top left, outside first.

export function runsOf(counts) {
  const runs = [];
  let at = 0;
  while (at < counts.length) {
    let value = 0;
    let place = 0;
    let code;
    do {
      code = counts.charCodeAt(at++) - 48;
      value += (code & 31) * 2 ** (5 * place++);
    } while (code & 32);
    if (code & 16) value -= 2 ** (5 * place); // negative: differences to the run two back
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  return runs;
}

/** The pixels of a mask within its box: {x, y, width, height, bits}, bits row by row. */
export function crop({ size, counts }, box) {
  const [height] = size;
  const [x0, y0, x1, y1] = box;
  const width = x1 - x0;
  const bits = new Uint8Array(width * (y1 - y0));
  let position = 0;
  runsOf(counts).forEach((run, number) => {
    if (number % 2) {
      for (let place = position; place < position + run; place++) {
        bits[((place % height) - y0) * width + Math.floor(place / height) - x0] = 1;
      }
    }
    position += run;
  });
  return { x: x0, y: y0, width, height: y1 - y0, bits };
}

export function holds(region, x, y) {
  const column = Math.floor(x) - region.x;
  const row = Math.floor(y) - region.y;
  if (column < 0 || row < 0 || column >= region.width || row >= region.height) return false;
  return region.bits[row * region.width + column] === 1;
}

const STEPS = [[1, 0], [0, 1], [-1, 0], [0, -1]]; // east, south, west, north: the mask lies to the right

/** Closed loops of corners [[x, y], ...] along pixel edges; holes run the other way round. */
export function loops({ x, y, width, height, bits }) {
  const inside = (column, row) =>
    column >= 0 && row >= 0 && column < width && row < height && bits[row * width + column] === 1;
  const across = width + 1;
  // For each corner, which of the four edges that leave it are still to be walked.
  const leaving = new Uint8Array(across * (height + 1));
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      if (!bits[row * width + column]) continue;
      const corner = row * across + column;
      if (!inside(column, row - 1)) leaving[corner] |= 1;
      if (!inside(column + 1, row)) leaving[corner + 1] |= 2;
      if (!inside(column, row + 1)) leaving[corner + across + 1] |= 4;
      if (!inside(column - 1, row)) leaving[corner + across] |= 8;
    }
  }
  const found = [];
  for (let start = 0; start < leaving.length; start++) {
    while (leaving[start]) found.push(walk(leaving, start, across, x, y));
  }
  return found;
}

function walk(leaving, start, across, x, y) {
  const corners = [];
  let corner = start;
  let heading = [0, 1, 2, 3].find((way) => leaving[corner] & (1 << way));
  let before = -1;
  while (heading !== undefined) {
    leaving[corner] &= ~(1 << heading);
    if (heading !== before) corners.push([x + (corner % across), y + Math.floor(corner / across)]);
    before = heading;
    corner += STEPS[heading][0] + STEPS[heading][1] * across;
    // At a crossing keep to the same pixel: turn right first.
    heading = [before + 1, before, before + 3]
      .map((way) => way % 4)
      .find((way) => leaving[corner] & (1 << way));
  }
  return corners;
}

export function pathOf(region) {
  const path = new Path2D();
  for (const corners of loops(region)) {
    corners.forEach(([x, y], number) => (number ? path.lineTo(x, y) : path.moveTo(x, y)));
    path.closePath();
  }
  return path;
}
