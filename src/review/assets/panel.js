// The panel next to the image: the finding, the decision, the proposal, references, the other hand and the history.

import { get, getBlob } from './api.js';
import { miniature } from './canvas.js';
import { byId, css, el, fill } from './dom.js';
import { bounds, union } from './geometry.js';
import { checkName, t } from './texts.js';

/** Largest side of the pictures of other images, px. */
const SMALL = 700;

/** A picture of another image, kept while the page is open. */
const pictures = new Map();
function picture(image, parameters) {
  const key = JSON.stringify([image, parameters]);
  if (!pictures.has(key)) {
    if (pictures.size > 60) pictures.delete(pictures.keys().next().value);
    const loading = getBlob(['pixels', image], parameters).then((blob) => createImageBitmap(blob));
    loading.catch(() => pictures.delete(key));
    pictures.set(key, loading);
  }
  return pictures.get(key);
}

/** The panel. `app` is the page. */
export class Panel {
  constructor(app) {
    this.app = app;
    this.root = byId('panel');
    this.bone = null;
    this.isMirrored = true;
  }

  /** Shows a finding; its image's parts follow with `image`. */
  finding(finding) {
    const { app } = this;
    this.current = finding;
    this.bone = null;
    this.reason = el('input.reason', { id: 'reason', list: 'reasons', placeholder: t('reason_hint'), maxLength: 2000, 'aria-label': t('reason') });
    this.parts = Object.fromEntries(['decision', 'proposal', 'notes', 'reference', 'other', 'history'].map((name) => [name, el('section.' + name)]));
    const state = app.queue.state(finding.id);
    fill(this.root,
      el('section.finding', {},
        el('h2', {}, checkName(finding.check), el('span.severity.' + finding.severity, {}, t(finding.severity)), el('span.score', {}, t('score', { score: finding.score.toFixed(2) }))),
        el('p.labels', {}, finding.labels.length ? finding.labels.map((label) => this.chip(label)) : el('span.muted', {}, t('whole_image'))),
        el('p.message', { id: 'message' }, finding.message),
        finding.suggestion && el('p.suggestion', {}, finding.suggestion),
        el('p.image', {}, this.place = el('span', {}, finding.image || `${t('patient')} ${finding.patient}`), el('button.link', { id: 'link', onclick: () => app.copyLink() }, t('copy_link')))),
      this.parts.decision, this.parts.proposal, this.parts.notes, this.parts.reference, this.parts.other, this.parts.history);
    this.decision(finding, state);
    if (!finding.in_data) fill(this.parts.notes, el('p.muted', {}, t(finding.image ? 'not_in_data' : 'whole_image')));
  }

  chip(label) {
    const bone = this.app.bones.find((bone) => bone.name === label);
    return el('button.chip', { onclick: () => this.app.selectLabel(label), style: { borderColor: bone ? css(bone.colour) : '#f66' } }, label);
  }

  /** The buttons and the reason. */
  decision(finding, state) {
    const { app } = this;
    const has = Object.keys(finding.proposal).length > 0;
    const button = (action, kind, isShown = true) => isShown && el('button.' + kind, {
      id: `do-${action}`, title: t(action + '_title'), onclick: () => app.act(action),
    }, t(action), el('kbd', {}, app.keyOf(action)));
    const judged = state.judgements.map((judgement) => el('li', {}, el('span.state.' + judgement.kind, {}, t(judgement.kind)), ` ${judgement.author}`, judgement.reason && el('span.muted', {}, ` – ${judgement.reason}`)));
    const reasons = t('reasons');
    fill(this.parts.decision,
      judged.length > 0 && el('ul.judged', {}, judged),
      el('div.buttons', {}, button('accept', state.state === 'corrected' ? 'plain' : 'primary', has), button('keep', has ? 'plain' : 'primary'), button('exclude', 'danger'), button('flag', 'plain')),
      ['side_order', 'same_side'].includes(finding.check) && el('div.buttons', {},
        el('button.plain', { onclick: () => app.decide('side-r') }, t('side_r')), el('button.plain', { onclick: () => app.decide('side-l') }, t('side_l'))),
      this.reason,
      el('datalist', { id: 'reasons' }, reasons.map((value) => el('option', { value }))),
      el('div.reasons', {}, reasons.map((reason) => el('button.tag', { onclick: () => { this.reason.value = this.reason.value === reason ? '' : reason; } }, reason))));
  }

  /** Shows everything that needs the image: `detail` from the server and its `bitmap`. */
  image(detail, bitmap) {
    const { current: finding } = this;
    const person = detail.person;
    const side = { R: t('right'), L: t('left') }[detail.side] ?? t('unknown_side');
    const known = person && [person.sex, person.age, person.height_cm, person.weight_kg].some((value) => value !== null);
    this.place.textContent = `${detail.image} · ${t('patient')} ${detail.patient} · ${side}` + (known ? ` · ${t('person', {
      sex: { F: t('female'), M: t('male') }[person.sex] ?? '–', age: person.age ?? '–', height: person.height_cm ?? '–', weight: person.weight_kg ?? '–',
    })}` : '') + (person?.note ? ` · ${person.note}` : '');
    this.proposal(finding, detail, bitmap);
    fill(this.parts.notes,
      detail.unreadable && el('p.error', {}, detail.unreadable),
      !detail.annotated && !detail.unreadable && el('p.muted', {}, t('no_annotation')),
      detail.problems.length > 0 && [el('h3', {}, t('problems')), el('ul.small', {}, detail.problems.map((problem) => el('li', {}, `${problem.place} ${problem.reason}`)))]);
    this.history(detail);
    this.showReference(finding.labels[0] ?? null, detail);
    this.otherHand(finding, detail);
  }

  /** Before and after the proposed labels. */
  proposal(finding, detail, bitmap) {
    const labels = new Set(Object.entries(finding.proposal).flat());
    const { before, after } = this.app.sides(detail.shapes, finding);
    const involved = before.filter((shape) => labels.has(shape.label));
    if (!labels.size || !involved.length) { fill(this.parts.proposal); return; }
    const [left, top, right, bottom] = union(involved.map((shape) => bounds(shape.points)));
    const grow = 0.25 * Math.max(right - left, bottom - top) + 10;
    const box = [Math.max(0, left - grow), Math.max(0, top - grow), Math.min(detail.width, right + grow), Math.min(detail.height, bottom + grow)];
    const canvases = [el('canvas'), el('canvas')];
    fill(this.parts.proposal,
      el('h3', {}, t('proposal'), el('button.link', { id: 'compare', onclick: () => this.app.act('compare') }, t('compare'), el('kbd', {}, this.app.keyOf('compare')))),
      el('div.pair', {}, ['before', 'after'].map((name, i) => el('figure', {}, canvases[i], el('figcaption', {}, t(name))))));
    const source = [0, 0, detail.width, detail.height];
    canvases.forEach((canvas, i) => miniature(canvas, {
      image: bitmap, source, box, shapes: i ? after : before, strong: [...labels], names: 'strong', bones: this.app.bones,
    }));
  }

  /** The decisions about the image. */
  history(detail) {
    const text = (action) => {
      const what = action.do === 'relabel' ? (action.labels ? Object.entries(action.labels).map(([a, b]) => `${a} → ${b}`).join(', ') : `${action.shape.label} → ${action.to}`)
        : action.shape ? action.shape.label : [action.check && checkName(action.check), action.label, action.side].filter(Boolean).join(' ');
      return `${action.do} ${what}`.trim();
    };
    const row = (decision) => el('li.' + decision.state, { dataset: { decision: decision.id } },
      el('span', {}, text(decision.action)), el('span.muted', {}, ` ${decision.author}, ${decision.time.slice(0, 16).replace('T', ' ')}${decision.reason ? ` – ${decision.reason}` : ''}`),
      decision.state === 'active' && decision.action.do !== 'undo' && el('button.link', { onclick: () => this.app.undoDecision(decision.id) }, t('undo')));
    const shown = detail.decisions.filter((decision) => decision.action.do !== 'undo').reverse();
    fill(this.parts.history, el('h3', {}, t('history')), shown.length ? el('ul.small', {}, shown.map(row)) : el('p.muted', {}, t('none_yet')));
  }

  /** The same bone in typical hands. */
  async showReference(label, detail) {
    const part = this.parts.reference;
    const isBone = this.app.bones.some((bone) => bone.name === label);
    this.bone = label;
    if (!isBone) { fill(part, el('p.muted', {}, t('no_reference'))); return; }
    let found;
    try { found = await get(['reference', label], { image: detail.image }); } catch { fill(part); return; }
    if (this.bone !== label || this.app.detail !== detail) return;
    const hands = found.hands.map((hand) => this.hand(hand, [label], false));
    const median = found.median && this.hand(found.median, [label, ...this.current.labels], true);
    const finding = this.current;
    fill(part,
      el('h3', {}, t('reference', { bone: label }), finding.labels.length > 1 && finding.labels.length < 8 && el('span.chips', {}, finding.labels.map((name) => el('button.tag' + (name === label ? '.on' : ''), { onclick: () => this.showReference(name, detail) }, name)))),
      el('div.hands', {}, hands), el('p.small', {}, t('reference_caption')),
      median && el('figure.median', {}, median, el('figcaption', {}, `${t('median_caption')} (${found.median.image})`)));
  }

  /** A canvas with a typical hand. */
  hand(hand, strong, isWhole) {
    const canvas = el('canvas', { title: hand.image + (hand.mirrored ? `, ${t('mirrored')}` : '') });
    const parameters = isWhole ? { max: SMALL } : { box: hand.box.join(','), max: 240 };
    const source = isWhole ? [0, 0, hand.width, hand.height] : [hand.box[0], hand.box[1], hand.box[2] + 1, hand.box[3] + 1];
    const draw = (image) => requestAnimationFrame(() => miniature(canvas, {
      image, source, box: hand.box, shapes: hand.shapes, strong, names: isWhole ? 'near' : false, mirrored: hand.mirrored, bones: this.app.bones,
    }));
    picture(hand.image, parameters).then(draw, () => draw(null));
    canvas.addEventListener('click', () => this.app.enlarge(hand, strong));
    return canvas;
  }

  /** The other hand of the patient, mirrored so that both hands look alike. */
  async otherHand(finding, detail) {
    const part = this.parts.other;
    if (!detail.others.length) { fill(part, el('p.muted', {}, t('no_other'))); return; }
    const { image } = detail.others[0];
    let other, bitmap;
    try {
      [other, bitmap] = await Promise.all([get(['image', image], {}), picture(image, { max: SMALL })]);
    } catch { fill(part); return; }
    if (this.app.detail !== detail) return;
    const canvas = el('canvas');
    const draw = () => miniature(canvas, {
      image: bitmap, source: [0, 0, other.width, other.height], box: [0, 0, other.width, other.height], shapes: other.shapes,
      strong: finding.labels, names: 'strong', mirrored: this.isMirrored, bones: this.app.bones,
    });
    canvas.addEventListener('click', () => this.app.enlarge({ ...other, mirrored: this.isMirrored, box: [0, 0, other.width, other.height] }, finding.labels));
    const box = el('input', { type: 'checkbox', checked: this.isMirrored, onchange: () => { this.isMirrored = box.checked; draw(); } });
    fill(part, el('h3', {}, t('other_hand'), el('label.small', {}, box, t('mirrored'))), el('figure.other', {}, canvas, el('figcaption', {}, image)));
    draw();
  }
}
