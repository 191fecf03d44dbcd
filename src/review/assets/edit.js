// Editing the shapes of one image: steps that can be undone, and the tools that make them.

import { send } from './api.js';
import { css } from './dom.js';
import { Mask, cleaned, nearestEdge, nearestVertex } from './geometry.js';
import { pathOf } from './canvas.js';

/** Most characters of a draft with every step; a longer one keeps only the result. */
const MAX_DRAFT = 1_500_000;
/** Distance in px of the screen within which a vertex or an edge is hit. */
const REACH = 9;

/** The part of a shape that edits change. */
const valueOf = ({ label, points, dropped }) => ({ label, points, dropped: dropped === true });
const isSame = (a, b) => a.label === b.label && a.dropped === b.dropped && (a.points === b.points || JSON.stringify(a.points) === JSON.stringify(b.points));

/** The working copy of an annotation with its steps. */
export class Edit {
  /** `detail` is the image as the server describes it; `bones` the bone list. */
  constructor(detail, bones) {
    this.bones = bones;
    this.image = detail.image;
    this.version = detail.version;
    this.size = [detail.width, detail.height];
    this.base = new Map(detail.shapes.map((shape) => [shape.index, shape]));
    this.work = new Map(detail.shapes.map((shape) => [shape.index, { ...shape, dropped: false }]));
    this.steps = [];
    this.position = 0;
    this.onChange = null;
  }

  /** The shapes to draw. */
  shapes() {
    return [...this.work.values()].filter((shape) => !shape.dropped);
  }

  shape(index) {
    return this.work.get(index);
  }

  boneOf(label) {
    const at = this.bones.findIndex((bone) => bone.name === label);
    return at < 0 ? null : at;
  }

  /** Makes a step of new values by shape: `[[index, { label?, points?, dropped? }], …]`. */
  step(values) {
    const parts = values
      .map(([index, value]) => ({ index, from: valueOf(this.work.get(index)), to: { ...valueOf(this.work.get(index)), ...value } }))
      .filter(({ from, to }) => !isSame(from, to));
    if (!parts.length) return;
    this.steps.splice(this.position, Infinity, parts);
    this.position++;
    this.put(parts, 'to');
    this.onChange?.();
  }

  put(parts, which) {
    for (const part of parts) {
      const shape = this.work.get(part.index);
      if (shape) this.work.set(part.index, { ...shape, ...part[which], bone: part[which].label === shape.label ? shape.bone : this.boneOf(part[which].label) });
    }
  }

  canUndo() { return this.position > 0; }
  canRedo() { return this.position < this.steps.length; }

  undo() {
    if (!this.canUndo()) return false;
    this.position--;
    this.put(this.steps[this.position], 'from');
    this.onChange?.();
    return true;
  }

  redo() {
    if (!this.canRedo()) return false;
    this.put(this.steps[this.position], 'to');
    this.position++;
    this.onChange?.();
    return true;
  }

  /** What differs from the annotation, as the server takes it. */
  changes() {
    const found = [];
    for (const [index, now] of this.work) {
      const before = this.base.get(index);
      const change = { index };
      if (now.dropped) change.drop = true;
      else {
        if (now.label !== before.label) change.label = now.label;
        if (now.points !== before.points && JSON.stringify(now.points) !== JSON.stringify(before.points)) change.points = now.points;
      }
      if (Object.keys(change).length > 1) found.push(change);
    }
    return found;
  }

  isDirty() {
    return this.changes().length > 0;
  }

  /** What a draft holds. */
  draft() {
    const whole = { version: this.version, steps: this.steps, position: this.position, saved_at: Date.now() };
    if (JSON.stringify(whole).length <= MAX_DRAFT) return whole;
    const result = this.changes().map(({ index }) => ({ index, from: valueOf(this.base.get(index)), to: valueOf(this.work.get(index)) }));
    return { ...whole, steps: [result], position: 1 };
  }

  /** Restores a draft; `false` if it does not fit the shapes. */
  restore(draft) {
    const isStep = (step) => Array.isArray(step) && step.every((part) => this.work.has(part.index) && part.to && part.from);
    if (!draft || !Array.isArray(draft.steps) || !draft.steps.every(isStep)) return false;
    this.steps = draft.steps;
    this.position = 0;
    const position = Math.min(draft.position ?? 0, draft.steps.length);
    while (this.position < position) {
      this.put(this.steps[this.position], 'to');
      this.position++;
    }
    return true;
  }

  /** Exchanges the labels of two shapes. */
  exchange(a, b) {
    this.step([[a, { label: this.work.get(b).label }], [b, { label: this.work.get(a).label }]]);
  }

  relabel(index, label) { this.step([[index, { label }]]); }
  drop(index) { this.step([[index, { dropped: true }]]); }

  /** An outline in whole pixels inside the image. */
  clean(points) { return cleaned(points, ...this.size); }

  /** Gives a shape another outline; `false` if it is degenerate. */
  outline(index, points) {
    const clean = this.clean(points);
    if (new Set(clean.map(String)).size < 3) return false;
    this.step([[index, { points: clean }]]);
    return true;
  }
}

/** The tools. `host` has `viewer`, `edit()`, `say(key, values)`, `select(index)`, `pick(shape)`, `refresh()`. */
export class Tools {
  constructor(host) {
    this.host = host;
    this.name = 'select';
    this.radius = 12;
    this.drag = null;
    this.pen = [];
    this.cursor = null;
    this.onTool = null;
    const surface = host.viewer.overlay;
    surface.addEventListener('pointerdown', (event) => this.down(event));
    surface.addEventListener('pointermove', (event) => this.move(event));
    surface.addEventListener('pointerup', (event) => this.up(event));
    surface.addEventListener('pointercancel', () => this.cancelDrag());
    surface.addEventListener('pointerleave', () => this.leave());
    surface.addEventListener('dblclick', () => this.finishPen());
    surface.addEventListener('contextmenu', (event) => event.preventDefault());
    host.viewer.onOverlay = (context) => this.paint(context);
  }

  get viewer() { return this.host.viewer; }
  get selected() { return this.viewer.selected; }

  /** Chooses a tool. Tools that change an outline need a selected shape. */
  use(name) {
    this.pen = [];
    this.swapFirst = name === 'swap' ? this.selected : null;
    this.name = name;
    if (['vertices', 'pen', 'brush', 'eraser'].includes(name) && this.selected === null) this.host.say('select_first');
    else this.host.say('hint_' + name);
    this.onTool?.();
    this.viewer.drawOverlay();
  }

  /** Ends what is under way; `false` if there was nothing. */
  cancel() {
    if (this.pen.length) { this.pen = []; this.viewer.drawOverlay(); return true; }
    if (this.name !== 'select') { this.use('select'); return true; }
    return false;
  }

  resize(factor) {
    this.radius = Math.max(1, Math.min(300, this.radius * factor));
    this.viewer.drawOverlay();
  }

  point(event) {
    return this.viewer.toImage([event.offsetX, event.offsetY]);
  }

  down(event) {
    this.viewer.overlay.setPointerCapture(event.pointerId);
    const view = [event.offsetX, event.offsetY];
    const isPan = event.button === 1 || event.button === 0 && this.host.isPanning();
    if (isPan) { this.drag = { kind: 'pan', view }; return; }
    if (event.button === 2 || event.button === 0 && event.altKey && this.name === 'select') {
      this.drag = { kind: 'window', view };
      return;
    }
    if (event.button !== 0 || !this.host.edit()) return;
    const at = this.point(event);
    if (this.name === 'vertices' && this.selected !== null) this.downVertex(at, event);
    else if (this.name === 'pen' && this.selected !== null) this.drag = { kind: 'pen', last: view, added: this.addPen(at) };
    else if ((this.name === 'brush' || this.name === 'eraser') && this.selected !== null) this.downBrush(at);
    else if (this.name === 'swap') this.clickSwap(at);
    else this.drag = { kind: 'click', view, at };
  }

  move(event) {
    const view = [event.offsetX, event.offsetY];
    this.cursor = this.point(event);
    const drag = this.drag;
    if (drag?.kind === 'pan' || drag?.kind === 'click' && Math.hypot(view[0] - drag.view[0], view[1] - drag.view[1]) > 4) {
      this.viewer.pan(view[0] - drag.view[0], view[1] - drag.view[1]);
      this.drag = { kind: 'pan', view };
    } else if (drag?.kind === 'window') {
      this.host.adjustWindow(view[0] - drag.view[0], view[1] - drag.view[1]);
      drag.view = view;
    } else if (drag?.kind === 'vertex') {
      drag.points = drag.points.with(drag.at, this.cursor.map(Math.round));
    } else if (drag?.kind === 'brush') {
      drag.mask?.stroke(drag.last, this.cursor, this.radius, drag.value);
      drag.strokes.push(this.cursor);
      drag.last = this.cursor;
    } else if (drag?.kind === 'pen' && Math.hypot(view[0] - drag.last[0], view[1] - drag.last[1]) > 6) {
      this.addPen(this.cursor);
      drag.last = view;
    }
    if (!drag) {
      const under = this.viewer.shapesAt(this.cursor)[0];
      this.viewer.hovered = under?.index ?? null;
    }
    this.host.moved(this.cursor);
    this.viewer.drawOverlay();
  }

  up() {
    const drag = this.drag;
    this.drag = null;
    if (drag?.kind === 'click') this.click(drag.at);
    else if (drag?.kind === 'vertex') this.host.edit().outline(this.selected, drag.points);
    else if (drag?.kind === 'brush') this.endBrush(drag);
    this.viewer.drawOverlay();
  }

  cancelDrag() {
    this.drag = null;
    this.viewer.drawOverlay();
  }

  leave() {
    this.cursor = null;
    if (this.viewer.hovered !== null) this.viewer.hovered = null;
    this.host.moved(null);
    this.viewer.drawOverlay();
  }

  /** Selects the shape under the cursor; another click at the same place selects the one below it. */
  click(at) {
    const under = this.viewer.shapesAt(at).map((shape) => shape.index);
    const next = under[(under.indexOf(this.selected) + 1) % Math.max(1, under.length)];
    this.host.select(next ?? null);
  }

  clickSwap(at) {
    const under = this.viewer.shapesAt(at)[0];
    if (!under) return;
    if (this.swapFirst === null || this.swapFirst === under.index) {
      this.swapFirst = under.index;
      this.host.select(under.index);
      this.host.say('hint_swap_second', { label: under.label });
      return;
    }
    this.host.edit().exchange(this.swapFirst, under.index);
    this.host.select(under.index);
    this.use('select');
  }

  downVertex(at, event) {
    const shape = this.host.edit().shape(this.selected);
    const reach = REACH / this.viewer.view.scale;
    const vertex = nearestVertex(shape.points, at);
    if (vertex.distance <= reach) {
      if (event.shiftKey || event.ctrlKey) this.removeVertex(vertex.at);
      else this.drag = { kind: 'vertex', at: vertex.at, points: shape.points };
      return;
    }
    const edge = nearestEdge(shape.points, at);
    if (edge.distance <= reach) {
      const points = shape.points.toSpliced(edge.at, 0, at.map(Math.round));
      this.drag = { kind: 'vertex', at: edge.at, points };
      return;
    }
    this.drag = { kind: 'click', view: [event.offsetX, event.offsetY], at };
  }

  removeVertex(at) {
    const shape = this.host.edit().shape(this.selected);
    if (!this.host.edit().outline(this.selected, shape.points.toSpliced(at, 1))) this.host.say('three_points');
  }

  /** Removes the vertex under the cursor; `false` if there is none. */
  removeUnderCursor() {
    if (this.name !== 'vertices' || this.selected === null || !this.cursor) return false;
    const vertex = nearestVertex(this.host.edit().shape(this.selected).points, this.cursor);
    if (vertex.distance > REACH / this.viewer.view.scale) return false;
    this.removeVertex(vertex.at);
    return true;
  }

  addPen(at) {
    this.pen.push(at.map(Math.round));
    this.host.say('hint_pen_points', { count: this.pen.length });
    return true;
  }

  /** Takes back the last point of the pen; `false` if there is none. */
  undoPen() {
    if (!this.pen.length) return false;
    this.pen.pop();
    this.viewer.drawOverlay();
    return true;
  }

  /** Closes the outline that the pen has drawn; `false` if there is none. */
  finishPen() {
    if (this.name !== 'pen' || !this.pen.length) return false;
    const points = this.pen;
    this.pen = [];
    if (!this.host.edit().outline(this.selected, points)) this.host.say('three_points');
    else this.host.say('hint_pen_done');
    this.viewer.drawOverlay();
    return true;
  }

  downBrush(at) {
    const shape = this.host.edit().shape(this.selected);
    const drag = { kind: 'brush', value: this.name === 'brush' ? 1 : 0, last: at, strokes: [at], mask: null, index: shape.index };
    this.drag = drag;
    // The mask is that of the outline as the masks of the data set are filled.
    drag.ready = this.maskOf(shape).then((mask) => {
      drag.strokes.forEach((point, i) => mask.stroke(drag.strokes[Math.max(0, i - 1)], point, drag.radius ?? this.radius, drag.value));
      drag.mask = mask;
    });
    drag.radius = this.radius;
    drag.ready.catch(() => this.host.say('no_server_mask'));
  }

  async maskOf(shape) {
    const [width, height] = this.host.edit().size;
    const { rows } = await send(['mask'], { image: this.host.edit().image, points: shape.points });
    return Mask.fromRows(rows, width, height);
  }

  async endBrush(drag) {
    const edit = this.host.edit();
    try { await drag.ready; } catch { return; }
    if (edit !== this.host.edit()) return;
    if (!edit.outline(drag.index, drag.mask.outline())) { this.host.say('nothing_left'); return; }
    this.viewer.drawOverlay();
  }

  /** Draws what the tools show: vertices, the pen's line, the brush. */
  paint(context) {
    const { viewer } = this;
    const scale = viewer.view.scale;
    const ratio = window.devicePixelRatio || 1;
    context.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * viewer.view.x, ratio * viewer.view.y);
    const shape = this.selected === null ? null : this.host.edit()?.shape(this.selected);
    if (!shape || shape.dropped) return;
    const colour = css(viewer.colour(shape));
    if (this.name === 'vertices') this.paintVertices(context, this.drag?.kind === 'vertex' ? this.drag.points : shape.points, colour, scale);
    if (this.name === 'pen' && this.pen.length) this.paintPen(context, scale);
    if (this.name === 'brush' || this.name === 'eraser') this.paintBrush(context, colour, scale);
  }

  paintVertices(context, points, colour, scale) {
    if (this.drag?.kind === 'vertex') {
      context.lineWidth = 2 / scale;
      context.strokeStyle = '#fff';
      context.stroke(pathOf(points));
    }
    const radius = 3.2 / scale;
    const near = this.cursor && !this.drag ? nearestVertex(points, this.cursor) : null;
    points.forEach(([x, y], i) => {
      const isNear = near?.at === i && near.distance <= REACH / scale;
      context.beginPath();
      context.arc(x + 0.5, y + 0.5, isNear ? radius * 1.7 : radius, 0, 2 * Math.PI);
      context.fillStyle = isNear ? '#fff' : colour;
      context.fill();
      context.lineWidth = 1 / scale;
      context.strokeStyle = '#000';
      context.stroke();
    });
  }

  paintPen(context, scale) {
    context.beginPath();
    for (const [x, y] of [...this.pen, ...(this.cursor ? [this.cursor] : [])]) context.lineTo(x + 0.5, y + 0.5);
    context.lineWidth = 2 / scale;
    context.strokeStyle = '#fff';
    context.stroke();
    for (const [x, y] of this.pen) {
      context.beginPath();
      context.arc(x + 0.5, y + 0.5, 3 / scale, 0, 2 * Math.PI);
      context.fillStyle = '#fff';
      context.fill();
    }
  }

  paintBrush(context, colour, scale) {
    if (this.drag?.kind === 'brush') {
      context.lineCap = 'round';
      context.lineJoin = 'round';
      context.lineWidth = 2 * this.radius;
      context.strokeStyle = this.drag.value ? colour.replace(', 1)', ', .55)') : 'rgba(0, 0, 0, .55)';
      context.beginPath();
      for (const [x, y] of [this.drag.strokes[0], ...this.drag.strokes]) context.lineTo(x + 0.5, y + 0.5);
      context.stroke();
    }
    if (!this.cursor) return;
    context.beginPath();
    context.arc(this.cursor[0] + 0.5, this.cursor[1] + 0.5, this.radius, 0, 2 * Math.PI);
    context.lineWidth = 1.5 / scale;
    context.strokeStyle = '#fff';
    context.stroke();
  }
}
