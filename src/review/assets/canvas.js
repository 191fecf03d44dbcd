// A radiograph with outlines that can be zoomed and moved.

import { css, el, oncePerFrame } from './dom.js';
import { area, bounds, centroid, isInside, union } from './geometry.js';

const MIN_SCALE = 0.02;
const MAX_SCALE = 40;

/** How shapes are drawn; the page changes it and calls `draw`. */
export const look = {
  outlines: true,
  fill: false,
  opacity: 0.9,
  hidden: false,
  solo: false,
  names: true,
};

/** Grey levels: shown from black at `low` to white at `high`. */
export const levels = { low: 0, high: 255, invert: false };

/** Applies the levels to every picture. */
export function applyLevels() {
  const span = Math.max(1, levels.high - levels.low);
  let [slope, intercept] = [255 / span, -levels.low / span];
  if (levels.invert) [slope, intercept] = [-slope, 1 - intercept];
  for (const channel of document.querySelectorAll('#window feComponentTransfer > *')) {
    channel.setAttribute('slope', slope);
    channel.setAttribute('intercept', intercept);
  }
  const isPlain = levels.low === 0 && levels.high === 255 && !levels.invert;
  document.body.classList.toggle('windowed', !isPlain);
}

/** The outline of a shape as a path in image coordinates: vertices are pixel centres. */
export function pathOf(points) {
  const path = new Path2D();
  points.forEach(([x, y], i) => (i ? path.lineTo(x + 0.5, y + 0.5) : path.moveTo(x + 0.5, y + 0.5)));
  path.closePath();
  return path;
}

/** The name of a bone on a dark halo. */
export function writeName(context, text, x, y, colour, px = 12) {
  context.font = `600 ${px}px "Carpus Sans", system-ui, sans-serif`;
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.lineWidth = 3.5;
  context.lineJoin = 'round';
  context.strokeStyle = 'rgba(8, 11, 14, .85)';
  context.strokeText(text, x, y);
  context.fillStyle = colour;
  context.fillText(text, x, y);
}

/** A large view with zoom. Tools listen to its pointer events and draw on top by `onOverlay`. */
export class Viewer {
  constructor(parent, bones) {
    this.bones = bones;
    this.base = el('canvas.base');
    this.overlay = el('canvas.overlay', { tabIndex: -1 });
    this.parent = parent;
    parent.replaceChildren(this.base, this.overlay);
    this.image = null;
    this.size = [1, 1];
    this.shapes = [];
    this.emphasis = new Set();
    this.selected = null;
    this.hovered = null;
    this.view = { scale: 1, x: 0, y: 0 };
    this.onOverlay = null;
    this.onMove = null;
    this.paths = new Map();
    this.draw = oncePerFrame(() => this.paint());
    this.drawOverlay = oncePerFrame(() => this.paintOverlay());
    new ResizeObserver(() => this.resized()).observe(parent);
    this.overlay.addEventListener('wheel', (event) => this.wheel(event), { passive: false });
    this.resized();
  }

  /** Shows an image (an `ImageBitmap`, or `null` while it loads) with its shapes. */
  show(image, [width, height], shapes) {
    this.image = image;
    this.size = [width, height];
    this.setShapes(shapes);
  }

  /** Replaces the shapes. */
  setShapes(shapes) {
    this.shapes = shapes;
    this.draw();
  }

  path(shape) {
    const known = this.paths.get(shape.index);
    if (known?.points === shape.points) return known.path;
    const path = pathOf(shape.points);
    this.paths.set(shape.index, { points: shape.points, path });
    return path;
  }

  resized() {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [this.parent.clientWidth, this.parent.clientHeight];
    for (const canvas of [this.base, this.overlay]) {
      canvas.width = Math.max(1, Math.round(width * ratio));
      canvas.height = Math.max(1, Math.round(height * ratio));
    }
    if (this.fitted) this.fit(this.fitted);
    this.draw();
  }

  /** Shows a box of the image, or all of it. */
  fit(box = null) {
    const [left, top, right, bottom] = box ?? [0, 0, this.size[0], this.size[1]];
    const [width, height] = [this.parent.clientWidth || 1, this.parent.clientHeight || 1];
    const scale = Math.min(width / Math.max(1, right - left), height / Math.max(1, bottom - top)) * 0.98;
    this.view = { scale, x: width / 2 - (scale * (left + right)) / 2, y: height / 2 - (scale * (top + bottom)) / 2 };
    this.fitted = box ?? [0, 0, this.size[0], this.size[1]];
    this.draw();
  }

  /** Shows shapes with a margin around them. */
  fitShapes(shapes, margin = 0.9) {
    if (!shapes.length) return this.fit();
    const [left, top, right, bottom] = union(shapes.map((shape) => bounds(shape.points)));
    // A small bone is shown with its surroundings.
    const grow = Math.max((right - left) * margin, (bottom - top) * margin, 0.11 * Math.max(...this.size));
    return this.fit([
      Math.max(0, left - grow), Math.max(0, top - grow),
      Math.min(this.size[0], right + grow), Math.min(this.size[1], bottom + grow),
    ]);
  }

  wheel(event) {
    event.preventDefault();
    const pixels = event.deltaMode === 1 ? event.deltaY * 16 : event.deltaY;
    this.zoomAt([event.offsetX, event.offsetY], Math.exp(-pixels * 0.0016));
  }

  /** Zooms so that the point of the image under the cursor stays. */
  zoomAt([x, y], factor) {
    const scale = Math.max(MIN_SCALE, Math.min(MAX_SCALE, this.view.scale * factor));
    const share = scale / this.view.scale;
    this.view = { scale, x: x - (x - this.view.x) * share, y: y - (y - this.view.y) * share };
    this.fitted = null;
    this.draw();
    this.onMove?.();
  }

  /** Zooms at the middle of the view. */
  zoomBy(factor) {
    this.zoomAt([this.parent.clientWidth / 2, this.parent.clientHeight / 2], factor);
  }

  pan(dx, dy) {
    this.view = { ...this.view, x: this.view.x + dx, y: this.view.y + dy };
    this.fitted = null;
    this.draw();
  }

  /** The point of the image under a point of the view: pixel centres are whole numbers. */
  toImage([x, y]) {
    return [(x - this.view.x) / this.view.scale - 0.5, (y - this.view.y) / this.view.scale - 0.5];
  }

  /** The point of the view over a pixel of the image. */
  toView([x, y]) {
    return [(x + 0.5) * this.view.scale + this.view.x, (y + 0.5) * this.view.scale + this.view.y];
  }

  /** Shapes at a point of the image, the smallest first. */
  shapesAt(point) {
    const found = this.shapes.filter((shape) => this.isShown(shape) && isInside(shape.points, point));
    return found.sort((a, b) => area(a.points) - area(b.points));
  }

  isShown(shape) {
    if (!look.solo) return true;
    return this.selected === null ? this.emphasis.has(shape.index) : this.selected === shape.index;
  }

  colour(shape) {
    return shape.bone === null ? [255, 90, 90] : this.bones[shape.bone].colour;
  }

  transform(canvas) {
    const ratio = window.devicePixelRatio || 1;
    const context = canvas.getContext('2d');
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    const { scale, x, y } = this.view;
    context.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * x, ratio * y);
    return context;
  }

  paint() {
    const context = this.transform(this.base);
    if (this.image) {
      context.imageSmoothingEnabled = this.view.scale < 3;
      context.imageSmoothingQuality = 'medium';
      context.drawImage(this.image, 0, 0, this.size[0], this.size[1]);
    }
    this.paintOverlay();
    this.onMove?.();
  }

  paintOverlay() {
    const context = this.transform(this.overlay);
    if (!look.hidden) {
      const strong = (shape) => this.emphasis.has(shape.index) || this.selected === shape.index;
      const shown = this.shapes.filter((shape) => this.isShown(shape));
      for (const shape of shown.filter((shape) => !strong(shape))) this.paintShape(context, shape, false);
      for (const shape of shown.filter(strong)) this.paintShape(context, shape, true);
      this.paintNames(context, shown.filter((shape) => strong(shape) || shape.index === this.hovered));
    }
    this.onOverlay?.(context);
  }

  paintShape(context, shape, strong) {
    const path = this.path(shape);
    const colour = this.colour(shape);
    const isHovered = shape.index === this.hovered;
    if (look.fill) {
      context.fillStyle = css(colour, look.opacity * (strong || isHovered ? 0.45 : 0.28));
      context.fill(path, 'evenodd');
    } else if (isHovered) {
      context.fillStyle = css(colour, 0.14);
      context.fill(path, 'evenodd');
    }
    if (look.outlines || strong) {
      const px = (shape.index === this.selected ? 3 : strong ? 2.4 : 1.3) / this.view.scale;
      context.lineWidth = px;
      context.lineJoin = 'round';
      context.strokeStyle = css(colour, look.opacity * (strong || isHovered ? 1 : 0.62));
      context.stroke(path);
    }
  }

  paintNames(context, shapes) {
    if (!look.names) return;
    const ratio = window.devicePixelRatio || 1;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const px = shapes.length > 6 ? 11 : 13;
    const names = shapes.map((shape) => {
      const [x, y] = this.toView(centroid(shape.points));
      return { text: shape.label, x, y, colour: css(lighter(this.colour(shape))) };
    });
    for (const name of spread(context, names, px)) writeName(context, name.text, name.x, name.y, name.colour, px);
  }
}

/** A colour that is legible on a dark halo. */
const lighter = (colour) => colour.map((value) => Math.round(value * 0.6 + 255 * 0.4));

/** Moves names up or down until they do not overlap: from the top, each as little as possible. */
function spread(context, names, px) {
  context.font = `600 ${px}px "Carpus Sans", system-ui, sans-serif`;
  const placed = [];
  const width = (name) => context.measureText(name.text).width + 6;
  const isFree = (name, y) => placed.every((other) => Math.abs(other.y - y) >= px + 2 || Math.abs(other.x - name.x) >= (width(name) + width(other)) / 2);
  for (const name of [...names].sort((a, b) => a.y - b.y)) {
    let shift = 0;
    while (shift < 120 && !isFree(name, name.y + shift)) shift = shift > 0 ? -shift : 2 - shift;
    placed.push({ ...name, y: name.y + shift });
  }
  return placed;
}

/**
 * A small picture of a part of an image with shapes. `box` is [left, top, right, bottom] in pixels of the image; `source`
 * is the part of the radiograph that `image` holds. `names` says which shapes are named: those in `strong`, also those `near` them, or `all`.
 */
export function miniature(canvas, { image, source, box, shapes, strong = [], names = false, mirrored = false, bones }) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth || 150, canvas.clientHeight || 150];
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext('2d');
  const scale = Math.min(width / (box[2] - box[0]), height / (box[3] - box[1]));
  const [offX, offY] = [(width - scale * (box[2] - box[0])) / 2 - scale * box[0], (height - scale * (box[3] - box[1])) / 2 - scale * box[1]];
  const flip = (x) => (mirrored ? width - x : x);
  const toImage = () => {
    if (mirrored) context.setTransform(-ratio * scale, 0, 0, ratio * scale, ratio * (width - offX), ratio * offY);
    else context.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * offX, ratio * offY);
  };
  toImage();
  if (image) context.drawImage(image, source[0], source[1], source[2] - source[0], source[3] - source[1]);
  const colourOf = (shape) => (shape.bone === null ? [255, 90, 90] : bones[shape.bone].colour);
  const isStrong = (shape) => strong.includes(shape.label);
  for (const shape of [...shapes].sort((a, b) => isStrong(a) - isStrong(b))) {
    context.lineWidth = (isStrong(shape) ? 2 : 1) / scale;
    context.strokeStyle = css(colourOf(shape), isStrong(shape) || !strong.length ? 1 : 0.5);
    context.stroke(pathOf(shape.points));
  }
  if (names) {
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const near = new Set(strong.flatMap((label) => bones.find((bone) => bone.name === label)?.neighbours ?? []));
    const isNamed = { all: () => true, near: (shape) => isStrong(shape) || near.has(shape.bone), strong: isStrong }[names];
    const named = strong.length ? shapes.filter(isNamed) : shapes;
    const px = Math.max(9, Math.min(13, Math.round(width / (names === 'strong' ? 15 : 34))));
    const placed = named.map((shape) => {
      const [x, y] = centroid(shape.points);
      return { text: shape.label, x: flip(offX + scale * x), y: offY + scale * y, colour: css(lighter(colourOf(shape))) };
    });
    for (const name of spread(context, placed, px)) writeName(context, name.text, name.x, name.y, name.colour, px);
  }
}
