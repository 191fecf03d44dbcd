// Outlines and masks. Points are pixels [x, y]; the mask of an outline is that of OpenCV's fillPoly, which the server
// computes. A traced outline passes through the centres of the mask's border pixels, so filling it gives the mask again.

/** Smallest box around points: [left, top, right, bottom]. */
export function bounds(points) {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of points) {
    if (x < left) left = x;
    if (x > right) right = x;
    if (y < top) top = y;
    if (y > bottom) bottom = y;
  }
  return [left, top, right, bottom];
}

/** The smallest box around several. */
export function union(boxes) {
  return boxes.reduce((a, b) => [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[2], b[2]), Math.max(a[3], b[3])]);
}

/** Area of a polygon, px². */
export function area(points) {
  let sum = 0;
  for (let i = 0, j = points.length - 1; i < points.length; j = i++) {
    sum += points[j][0] * points[i][1] - points[i][0] * points[j][1];
  }
  return Math.abs(sum) / 2;
}

/** Centroid of a polygon; of a degenerate one, the mean of its points. */
export function centroid(points) {
  let [sum, x, y] = [0, 0, 0];
  for (let i = 0, j = points.length - 1; i < points.length; j = i++) {
    const cross = points[j][0] * points[i][1] - points[i][0] * points[j][1];
    sum += cross;
    x += (points[j][0] + points[i][0]) * cross;
    y += (points[j][1] + points[i][1]) * cross;
  }
  if (Math.abs(sum) > 1e-9) return [x / (3 * sum), y / (3 * sum)];
  const mean = (axis) => points.reduce((total, point) => total + point[axis], 0) / points.length;
  return [mean(0), mean(1)];
}

/** Whether a point is inside a polygon (even-odd). */
export function isInside(points, [px, py]) {
  let inside = false;
  for (let i = 0, j = points.length - 1; i < points.length; j = i++) {
    const [ax, ay] = points[i];
    const [bx, by] = points[j];
    if (ay > py !== by > py && px < ((bx - ax) * (py - ay)) / (by - ay) + ax) inside = !inside;
  }
  return inside;
}

/** The nearest vertex: its position in the outline and its distance. */
export function nearestVertex(points, [px, py]) {
  let best = { at: -1, distance: Infinity };
  points.forEach(([x, y], at) => {
    const distance = Math.hypot(x - px, y - py);
    if (distance < best.distance) best = { at, distance };
  });
  return best;
}

/** The nearest point of an edge: the edge ends at vertex `at`. */
export function nearestEdge(points, [px, py]) {
  let best = { at: -1, distance: Infinity, point: [0, 0] };
  for (let i = 0, j = points.length - 1; i < points.length; j = i++) {
    const [ax, ay] = points[j];
    const [dx, dy] = [points[i][0] - ax, points[i][1] - ay];
    const length = dx * dx + dy * dy;
    const share = length ? Math.max(0, Math.min(1, ((px - ax) * dx + (py - ay) * dy) / length)) : 0;
    const point = [ax + share * dx, ay + share * dy];
    const distance = Math.hypot(point[0] - px, point[1] - py);
    if (distance < best.distance) best = { at: i, distance, point };
  }
  return best;
}

/** The outline in whole pixels inside the image, without a point that is equal to the one before it. */
export function cleaned(points, width, height) {
  const within = (value, size) => Math.max(0, Math.min(size - 1, Math.round(value)));
  const whole = points.map(([x, y]) => [within(x, width), within(y, height)]);
  return whole.filter(([x, y], i) => {
    const [bx, by] = whole[(i + whole.length - 1) % whole.length];
    return whole.length === 1 || x !== bx || y !== by;
  });
}

/** Without the points between two steps in the same direction. */
function straightened(points) {
  const n = points.length;
  if (n < 4) return points;
  const kept = points.filter((point, i) => {
    const [before, after] = [points[(i + n - 1) % n], points[(i + 1) % n]];
    const [ax, ay] = [point[0] - before[0], point[1] - before[1]];
    const [bx, by] = [after[0] - point[0], after[1] - point[1]];
    return ax * by !== ay * bx || ax * bx + ay * by < 0 || Math.max(Math.abs(ax), Math.abs(ay)) > 1 || Math.max(Math.abs(bx), Math.abs(by)) > 1;
  });
  return kept.length >= 3 ? kept : points;
}

/** A mask of the image's size, one byte per pixel, with the box of its pixels. */
export class Mask {
  constructor(width, height) {
    this.width = width;
    this.height = height;
    this.pixels = new Uint8Array(width * height);
  }

  /** The mask of rows [y, first column, column after the last], as the server sends them. */
  static fromRows(rows, width, height) {
    const mask = new Mask(width, height);
    for (const [y, start, end] of rows) mask.pixels.fill(1, y * width + start, y * width + end);
    return mask;
  }

  /** Sets or clears a disc. */
  disc([cx, cy], radius, value) {
    const top = Math.max(0, Math.ceil(cy - radius));
    const bottom = Math.min(this.height - 1, Math.floor(cy + radius));
    for (let y = top; y <= bottom; y++) {
      const half = Math.sqrt(Math.max(0, radius * radius - (y - cy) ** 2));
      const start = Math.max(0, Math.ceil(cx - half));
      const end = Math.min(this.width, Math.floor(cx + half) + 1);
      if (end > start) this.pixels.fill(value, y * this.width + start, y * this.width + end);
    }
  }

  /** Sets or clears discs along a line. */
  stroke(from, to, radius, value) {
    const steps = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) / Math.max(1, radius / 2)));
    for (let i = 0; i <= steps; i++) {
      const share = i / steps;
      this.disc([from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1])], radius, value);
    }
  }

  /** The outer outline of the largest connected part (8 neighbours); empty without pixels. Smaller parts are left out. */
  outline() {
    const { first, count } = this.largestPart();
    return count ? this.trace(first) : [];
  }

  /** First pixel, in reading order, and size of the largest part. */
  largestPart() {
    const { width, height, pixels } = this;
    const seen = new Uint8Array(pixels.length);
    let best = { first: -1, count: 0 };
    const stack = [];
    for (let start = 0; start < pixels.length; start++) {
      if (!pixels[start] || seen[start]) continue;
      let count = 0;
      stack.push(start);
      seen[start] = 1;
      while (stack.length) {
        const at = stack.pop();
        count++;
        const x = at % width;
        const y = (at - x) / width;
        for (let dy = -1; dy <= 1; dy++) {
          for (let dx = -1; dx <= 1; dx++) {
            const [nx, ny] = [x + dx, y + dy];
            const next = ny * width + nx;
            if (nx >= 0 && ny >= 0 && nx < width && ny < height && pixels[next] && !seen[next]) {
              seen[next] = 1;
              stack.push(next);
            }
          }
        }
      }
      if (count > best.count) best = { first: start, count };
    }
    return best;
  }

  /** Follows the border from its first pixel in reading order (Moore neighbours, stop when the first step repeats). */
  trace(first) {
    const { width, height, pixels } = this;
    const steps = [[1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0], [-1, -1], [0, -1], [1, -1]];
    const set = (x, y) => x >= 0 && y >= 0 && x < width && y < height && pixels[y * width + x] === 1;
    const start = [first % width, Math.floor(first / width)];
    const points = [start];
    let [x, y] = start;
    let direction = 0;
    let firstStep = -1;
    for (;;) {
      // The search begins after the pixel from which this one was reached.
      let found = -1;
      for (let turn = 0; turn < 8; turn++) {
        const candidate = (direction + 6 + turn) % 8;
        if (set(x + steps[candidate][0], y + steps[candidate][1])) { found = candidate; break; }
      }
      if (found < 0) return points;
      if (x === start[0] && y === start[1]) {
        if (firstStep < 0) firstStep = found;
        else if (found === firstStep) { points.pop(); return straightened(points); }
      }
      x += steps[found][0];
      y += steps[found][1];
      direction = found;
      points.push([x, y]);
      if (points.length > 4 * pixels.length) return points;
    }
  }
}
