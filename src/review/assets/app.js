// The page: loads findings and images, carries out actions, saves, and keeps up with decisions of other people.

import { ApiError, get, getBlob, send } from './api.js';
import { Viewer, applyLevels, levels, look } from './canvas.js';
import { byId, el, fill, toast } from './dom.js';
import { askAuthor, chooseLabel, confirm, enlarge, help, keySettings, showProgress } from './dialogs.js';
import { Edit, Tools } from './edit.js';
import { keyName, loadKeys, shown } from './keys.js';
import { base64, fromLabelme, toLabelme } from './labelme.js';
import { Panel } from './panel.js';
import { Queue } from './queue.js';
import { language, setLanguage, t } from './texts.js';

const AUTHOR = 'carpus-review-author';
const DONE = 'carpus-review-done';
/** Time between two questions for changes, ms. */
const POLL = 1000;
/** Images that are kept decoded. */
const KEPT_IMAGES = 8;
/** Images that are loaded ahead. */
const AHEAD = 3;

const draftKey = (author, image) => `carpus-draft:${author}:${image}`;

class App {
  constructor() {
    this.findings = [];
    this.bones = [];
    this.states = new Map();
    this.version = null;
    this.images = new Map();
    this.detail = null;
    this.editing = null;
    this.finding = null;
    this.isComparing = false;
    this.isSpaceDown = false;
    this.isOnline = true;
    this.drafted = new Set();
    this.done = JSON.parse(sessionStorage.getItem(DONE) ?? '[]');
    this.redoable = [];
    this.keys = loadKeys();
  }

  author() { return localStorage.getItem(AUTHOR) ?? ''; }
  drafts() { return this.drafted; }
  keyOf(action) { return shown(this.keys.keymap[action])[0] ?? ''; }

  async start() {
    let loaded;
    try {
      loaded = await get(['queue']);
    } catch (error) {
      document.body.append(el('p.fatal', {}, error.status === 401 ? t('unauthorised') : error.message));
      document.body.dataset.ready = 'failed';
      return;
    }
    Object.assign(this, { findings: loaded.findings, bones: loaded.bones });
    this.byId = new Map(this.findings.map((finding) => [finding.id, finding]));
    document.title = `${t('title')} – ${String(loaded.data).split('/').pop()}`;
    if (!this.author()) localStorage.setItem(AUTHOR, await askAuthor(loaded.author, true));
    this.noteDrafts();
    this.queue = new Queue(this);
    this.panel = new Panel(this);
    this.viewer = new Viewer(byId('view'), this.bones);
    this.tools = new Tools(this.toolHost());
    this.tools.onTool = () => this.paintTools();
    this.listen();
    const linked = new URLSearchParams(location.hash.slice(1)).get('finding');
    // While the judgements are read, the image that is probably shown first is loaded.
    const likely = this.byId.get(linked) ?? this.findings[0];
    if (likely?.in_data) this.image(likely.image).catch(() => {});
    await this.poll(true);
    this.paintFrame();
    const first = this.byId.get(linked) ?? this.queue.shown.find((finding) => this.queue.state(finding.id).state === null) ?? this.queue.shown[0];
    if (first) await this.open(first.id);
    document.body.dataset.ready = 'true';
    setInterval(() => this.poll(), POLL);
  }

  /** What the tools need of the page. */
  toolHost() {
    return {
      viewer: this.viewer,
      edit: () => (this.isComparing ? null : this.editing),
      say: (key, values) => { byId('hint').textContent = t(key, values); },
      select: (index) => this.select(index),
      isPanning: () => this.isSpaceDown,
      moved: (point) => this.moved(point),
      adjustWindow: (dx, dy) => this.adjustWindow(dx, dy),
    };
  }

  listen() {
    document.addEventListener('keydown', (event) => this.keydown(event));
    document.addEventListener('keyup', (event) => { if (event.key === ' ') this.isSpaceDown = false; });
    window.addEventListener('hashchange', () => {
      const id = new URLSearchParams(location.hash.slice(1)).get('finding');
      if (this.byId.has(id) && id !== this.finding?.id) this.open(id);
    });
    window.addEventListener('storage', (event) => {
      if (this.detail && event.key === draftKey(this.author(), this.detail.image)) this.attempt(() => this.mirrorDraft(event.newValue));
    });
    byId('help').onclick = () => this.act('help');
    byId('settings').onclick = () => keySettings(this.keys, (preset, keymap) => { this.keys = { preset, keymap }; this.paintFrame(); this.repaintPanel(); });
    byId('progress').onclick = () => this.attempt(showProgress);
    byId('language').onclick = () => { setLanguage(language() === 'en' ? 'ko' : 'en'); this.paintFrame(); this.repaintPanel(); };
    byId('author').onclick = async () => {
      const name = await askAuthor(this.author(), false);
      if (!name) return;
      localStorage.setItem(AUTHOR, name);
      this.done = [];
      this.noteDrafts();
      this.paintFrame();
      if (this.finding) this.open(this.finding.id);
    };
    this.viewer.onMove = () => { byId('zoom').textContent = `${Math.round(this.viewer.view.scale * 100)} %`; };
  }

  // Texts and bars.

  paintFrame() {
    byId('author').textContent = this.author();
    byId('progress').textContent = t('progress');
    byId('settings').textContent = t('settings');
    byId('language').textContent = language() === 'en' ? '한국어' : 'English';
    byId('help').title = t('help');
    this.queue.build();
    this.paintTools();
    this.paintProgress();
    this.paintSaved();
  }

  repaintPanel() {
    if (!this.finding) return;
    this.panel.finding(this.finding);
    if (this.detail) this.panel.image(this.detail, this.bitmap);
  }

  paintProgress() {
    const done = this.findings.filter((finding) => ![null, 'flagged'].includes(this.queue.state(finding.id).state)).length;
    byId('done').textContent = t('done_of', { done, all: this.findings.length });
    byId('bar').firstElementChild.style.width = `${(100 * done) / Math.max(1, this.findings.length)}%`;
    byId('bar').setAttribute('aria-valuenow', done);
    byId('bar').setAttribute('aria-valuemax', this.findings.length);
  }

  paintSaved(state = null, text = null) {
    const isDirty = this.editing?.isDirty();
    const kind = state ?? (!this.isOnline ? 'offline' : isDirty ? 'draft' : 'saved');
    const shownText = text ?? (kind === 'offline' ? t('not_saved') : kind === 'draft' ? t('unsaved') : this.savedAt ? t('saved_at', { time: this.savedAt }) : t('all_saved'));
    byId('saved').className = kind;
    byId('saved').textContent = shownText;
  }

  paintTools() {
    const tool = (name) => el('button.tool' + (this.tools.name === name ? '.on' : ''), { id: `tool-${name}`, title: `${t('tool_' + name)} (${this.keyOf(name)})`, onclick: () => this.act(name) }, t('tool_' + name), el('kbd', {}, this.keyOf(name)));
    const view = (name, isOn) => el('button.tool' + (isOn ? '.on' : ''), { id: `view-${name}`, title: t('keys')[name], onclick: () => this.act(name) }, t('tool_' + name));
    const opacity = el('input', { type: 'range', min: 0, max: 1, step: 0.05, value: look.opacity, title: t('opacity'), 'aria-label': t('opacity'), oninput: () => { look.opacity = Number(opacity.value); this.viewer.draw(); } });
    const isDirty = this.editing?.isDirty();
    fill(byId('tools'),
      el('div.group', {}, ['select', 'vertices', 'pen', 'brush', 'eraser', 'swap', 'label', 'drop'].map(tool)),
      el('div.group', {}, view('focus'), view('fit'), view('fill', look.fill), view('hide', look.hidden), view('solo', look.solo), view('names', look.names), view('invert', levels.invert),
        (levels.low !== 0 || levels.high !== 255) && view('levels'), opacity, view('export'), view('import')),
      isDirty && el('div.group.dirty', {},
        el('button.tool', { id: 'edit-undo', disabled: !this.editing.canUndo(), onclick: () => this.act('undo') }, t('undo')),
        el('button.tool', { id: 'edit-redo', disabled: !this.editing.canRedo(), onclick: () => this.act('redo') }, t('redo')),
        el('button.plain', { id: 'edit-discard', onclick: () => this.discard() }, t('discard')),
        el('button.primary', { id: 'edit-save', onclick: () => this.act('save') }, t('save'), el('kbd', {}, this.keyOf('save')))));
    byId('stage').dataset.tool = this.tools.name;
  }

  banner(text, ...buttons) {
    byId('banner').hidden = !text;
    fill(byId('banner'), el('span', {}, text), buttons.map(([label, work, id]) => el('button.plain', { id, onclick: work }, label)));
  }

  moved(point) {
    if (!point || !this.detail) { byId('where').textContent = ''; return; }
    const [x, y] = point.map(Math.round);
    const under = this.viewer.shapesAt(point).map((shape) => shape.label);
    const isInside = x >= 0 && y >= 0 && x < this.detail.width && y < this.detail.height;
    byId('where').textContent = isInside ? [t('position', { x, y }), ...under].join(' · ') : '';
  }

  adjustWindow(dx, dy) {
    const [centre, span] = [(levels.low + levels.high) / 2 + dy * 0.5, Math.max(4, levels.high - levels.low - dx)];
    levels.low = centre - span / 2;
    levels.high = centre + span / 2;
    applyLevels();
    this.paintTools();
  }

  // Findings and images.

  /** Shows a finding. */
  async open(id) {
    const finding = this.byId.get(id);
    if (!finding) return;
    this.tools.cancelDrag();
    if (this.tools.name !== 'select') this.tools.use('select');
    const isSameImage = this.finding?.image === finding.image && this.detail !== null;
    this.finding = finding;
    this.isComparing = false;
    const link = `#finding=${id}`;
    if (location.hash !== link) history.replaceState(null, '', link);
    this.queue.mark(id);
    this.panel.finding(finding);
    this.banner('');
    if (isSameImage) this.showImage(this.detail, this.bitmap, true);
    else await this.loadImage(finding);
    this.loadAhead();
  }

  async loadImage(finding) {
    this.detail = null;
    this.editing = null;
    byId('stage').dataset.image = '';
    if (!finding.in_data) { this.viewer.show(null, [1, 1], []); this.banner(t('not_in_data')); return; }
    const slow = setTimeout(() => { if (this.finding === finding && !this.detail) this.banner(t('loading')); }, 150);
    try {
      const [detail, bitmap] = await this.image(finding.image);
      if (this.finding === finding) { this.banner(''); this.showImage(detail, bitmap, false); }
    } catch (error) {
      if (this.finding === finding) { this.viewer.show(null, [1, 1], []); this.banner(t('cannot_show', { reason: error.message })); }
    } finally {
      clearTimeout(slow);
    }
  }

  /** The image as the server describes it, and its pixels. Both are kept for a while. */
  image(id) {
    if (!this.images.has(id)) {
      const bitmap = getBlob(['pixels', id]).then((blob) => createImageBitmap(blob));
      const loading = Promise.all([get(['image', id], { author: this.author() }), bitmap]);
      loading.catch(() => this.images.delete(id));
      this.images.set(id, loading);
    } else {
      const known = this.images.get(id);
      this.images.delete(id);
      this.images.set(id, known);
    }
    for (const old of this.images.keys()) {
      if (this.images.size <= KEPT_IMAGES) break;
      if (old !== this.finding?.image) {
        this.images.get(old).then(([, bitmap]) => { if (bitmap !== this.bitmap) bitmap.close(); }, () => {});
        this.images.delete(old);
      }
    }
    return this.images.get(id);
  }

  loadAhead() {
    for (let step = 1; step <= AHEAD; step++) {
      const next = this.queue.neighbour(step);
      if (next?.in_data) this.image(next.image).catch(() => {});
    }
  }

  /** Shows an image with its shapes, and the curator's draft if there is one. */
  showImage(detail, bitmap, keepEdit) {
    const isNewImage = this.detail?.image !== detail.image;
    this.detail = detail;
    this.bitmap = bitmap;
    if (!keepEdit || !this.editing) {
      this.editing = new Edit(detail, this.bones);
      this.editing.onChange = () => this.edited();
      this.offerDraft(detail);
    }
    this.viewer.selected = null;
    this.viewer.hovered = null;
    this.emphasise();
    this.viewer.show(bitmap, [detail.width, detail.height], this.editing.shapes());
    if (isNewImage || !keepEdit) this.focus();
    // The image comes first; the panel's pictures follow.
    setTimeout(() => { if (this.detail === detail) this.panel.image(detail, bitmap); });
    this.paintTools();
    this.paintSaved();
    byId('stage').dataset.image = detail.image;
    byId('stage').dataset.finding = this.finding.id;
    byId('stage').dataset.version = detail.version;
  }

  /** Emphasises the bones of the finding. */
  emphasise() {
    const named = new Set([...this.finding.labels, ...Object.keys(this.finding.proposal)]);
    const shapes = this.editing?.shapes() ?? [];
    this.viewer.emphasis = new Set(shapes.filter((shape) => named.has(shape.label) || named.has(shape.stored_label)).map((shape) => shape.index));
  }

  focus() {
    let shapes = this.editing.shapes().filter((shape) => this.viewer.emphasis.has(shape.index));
    if (!shapes.length) {
      // A missing bone: its neighbours show where it should be.
      const near = new Set(this.finding.labels.flatMap((label) => this.bones.find((bone) => bone.name === label)?.neighbours ?? []));
      shapes = this.editing.shapes().filter((shape) => near.has(shape.bone));
    }
    if (shapes.length && shapes.length <= 6) this.viewer.fitShapes(shapes);
    else this.viewer.fit();
  }

  select(index) {
    this.viewer.selected = index;
    const shape = index === null ? null : this.editing?.shape(index);
    byId('hint').textContent = shape ? `${shape.label} · ${shape.points.length}` : '';
    byId('stage').dataset.selected = index ?? '';
    if (shape && shape.label !== this.panel.bone && this.detail) this.panel.showReference(shape.label, this.detail);
    this.viewer.drawOverlay();
  }

  selectLabel(label) {
    const shape = this.editing?.shapes().find((shape) => shape.label === label);
    if (!shape) return;
    this.select(shape.index);
    this.viewer.fitShapes([shape]);
  }

  /** Whether a decision has corrected the shapes of a finding. */
  isCorrected(finding) {
    return this.queue.state(finding.id).judgements.some((judgement) => judgement.kind === 'corrected');
  }

  /** The shapes before and after the proposal of a finding; once it is accepted, they have the new labels. */
  sides(shapes, finding) {
    const named = (shape, label) => (label && label !== shape.label ? { ...shape, label, bone: this.editing.boneOf(label) } : shape);
    if (this.isCorrected(finding)) return { before: shapes.map((shape) => named(shape, shape.stored_label)), after: shapes };
    return { before: shapes, after: shapes.map((shape) => named(shape, finding.proposal[shape.label])) };
  }

  enlarge(hand, strong) { this.attempt(() => enlarge(hand, strong, this.bones)); }

  // Edits and drafts.

  edited() {
    const { editing } = this;
    if (this.viewer.selected !== null && editing.shape(this.viewer.selected)?.dropped) this.select(null);
    this.viewer.setShapes(editing.shapes());
    this.storeDraft();
    this.paintTools();
    this.paintSaved();
    byId('stage').dataset.steps = editing.position;
  }

  noteDrafts() {
    const start = draftKey(this.author(), '');
    const here = Object.keys(localStorage).filter((key) => key.startsWith(start)).map((key) => key.slice(start.length));
    this.drafted = new Set([...here, ...(this.serverDrafts ?? [])]);
  }

  /** Keeps the edit in the browser and, as soon as the server is free, next to the corrections file. */
  storeDraft() {
    const { editing } = this;
    const key = draftKey(this.author(), editing.image);
    const draft = editing.isDirty() || editing.canRedo() ? editing.draft() : null;
    try {
      if (draft) localStorage.setItem(key, JSON.stringify(draft));
      else localStorage.removeItem(key);
    } catch { /* The browser's storage is full; the server has the draft. */ }
    this.noteDrafts();
    this.waitingDrafts ??= new Map();
    this.waitingDrafts.set(editing.image, { author: this.author(), draft });
    this.sendDrafts();
  }

  async sendDrafts() {
    if (this.isSendingDrafts || !this.waitingDrafts?.size) return;
    this.isSendingDrafts = true;
    const [image, body] = this.waitingDrafts.entries().next().value;
    try {
      await send(['draft', image], body, 'PUT');
      if (this.waitingDrafts.get(image) === body) this.waitingDrafts.delete(image);
      byId('stage').dataset.drafted = String(body.draft !== null && this.waitingDrafts.size === 0);
    } catch (error) {
      this.isSendingDrafts = false;
      if (error.status === 0) { this.setOnline(false); return; }
      this.waitingDrafts.delete(image);
      toast(t('conflict', { reason: error.message }), 'error');
    }
    this.isSendingDrafts = false;
    this.sendDrafts();
  }

  /** Restores the newer of the drafts in the browser and on the server. */
  offerDraft(detail) {
    let stored = null;
    try { stored = JSON.parse(localStorage.getItem(draftKey(this.author(), detail.image))); } catch { /* unreadable */ }
    const drafts = [stored, detail.draft].filter(Boolean).sort((a, b) => (b.saved_at ?? 0) - (a.saved_at ?? 0));
    const draft = drafts[0];
    if (!draft) return;
    const isEmpty = !(draft.position > 0);
    if (isEmpty && draft.version !== detail.version) { this.dropDraft(detail.image); return; }
    const restore = () => {
      if (!this.editing.restore(draft)) { this.discard(); return; }
      this.edited();
      if (isEmpty) return;
      this.banner(t('draft_restored'), [t('discard'), () => this.discard(), 'draft-discard']);
    };
    if (draft.version === detail.version) restore();
    else this.banner(t('draft_old'), [t('draft_apply'), restore, 'draft-apply'], [t('discard'), () => this.discard(), 'draft-discard']);
  }

  /** Takes over the edit that the same curator has just changed in another tab, so that no tab goes on from an older one. */
  mirrorDraft(text) {
    const draft = text && JSON.parse(text);
    if (draft && draft.version !== this.detail.version) return;
    const editing = new Edit(this.detail, this.bones);
    if (draft && !editing.restore(draft)) return;
    this.tools.cancelDrag();
    this.editing = editing;
    editing.onChange = () => this.edited();
    if (this.viewer.selected !== null && editing.shape(this.viewer.selected).dropped) this.select(null);
    this.showShapes();
    this.noteDrafts();
    this.paintTools();
    this.paintSaved();
    byId('stage').dataset.steps = editing.position;
  }

  discard() {
    this.banner('');
    this.editing = new Edit(this.detail, this.bones);
    this.editing.onChange = () => this.edited();
    this.detail.draft = null;
    this.edited();
  }

  async saveEdit() {
    const { editing, finding } = this;
    const changes = editing.changes();
    if (!changes.length) { toast(t('nothing_changed')); return; }
    const reason = this.panel.reason.value;
    const added = await this.save(() => send(['correct'], { image: editing.image, version: editing.version, changes, author: this.author(), reason }));
    if (!added) return;
    this.remember(finding.id, added, t('saved_correct', { count: changes.length }));
    this.dropDraft(editing.image);
    this.banner('');
    await this.reload();
    toast(t('saved_correct', { count: changes.length }), 'good');
  }

  dropDraft(image) {
    localStorage.removeItem(draftKey(this.author(), image));
    this.noteDrafts();
    (this.waitingDrafts ??= new Map()).set(image, { author: this.author(), draft: null });
    this.sendDrafts();
  }

  /** Reads the current image's decisions again; its pixels stay. */
  async reload() {
    const { finding, bitmap } = this;
    if (!finding?.in_data) { await this.poll(true); return; }
    const detail = await get(['image', finding.image], { author: this.author() });
    if (this.images.has(finding.image)) this.images.set(finding.image, Promise.resolve([detail, bitmap]));
    await this.poll(true);
    if (this.finding !== finding) return;
    this.panel.finding(finding);
    const view = this.viewer.view;
    this.showImage(detail, bitmap, false);
    this.viewer.view = view;
    this.viewer.fitted = null;
    this.viewer.draw();
  }

  // Saving.

  /** Runs a request that saves; shows its state. Returns the ids of the added decisions, or `null`. */
  async save(work) {
    this.paintSaved('saving', t('saving'));
    this.busy = (this.busy ?? 0) + 1;
    try {
      const { added } = await work();
      this.savedAt = new Date().toLocaleTimeString(language());
      this.setOnline(true);
      return added;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 0) this.setOnline(false);
      else if (error.status === 409) this.showConflict(error);
      else toast(t('conflict', { reason: error.message }), 'error');
      return null;
    } finally {
      this.busy--;
      this.paintSaved();
    }
  }

  showConflict(error) {
    this.banner(t('conflict', { reason: error.message }), [t('look_again'), () => { this.banner(''); this.attempt(() => this.reload()); }, 'look-again']);
  }

  /** Decides about the current finding and goes on to the next. */
  async decide(choice) {
    const { finding } = this;
    if (!finding) return;
    if (this.editing?.isDirty()) { toast(t('unsaved_first'), 'error'); return; }
    if (choice === 'accept' && !Object.keys(finding.proposal).length) { toast(t('no_proposal'), 'error'); return; }
    const body = { finding: finding.id, choice, author: this.author(), reason: this.panel.reason.value, version: this.detail?.version ?? await this.versionOf(finding) };
    const added = await this.save(() => send(['decide'], body));
    if (!added) return;
    const text = t(`saved_${choice.startsWith('side') ? 'side' : choice}`);
    this.remember(finding.id, added, text);
    toast(text, 'good');
    this.noteJudgement(finding, choice, added[0], body.reason);
    this.refreshImage(finding.image);
    if (this.finding === finding) {
      const next = this.queue.nextOpen();
      if (next && next.image === finding.image) this.detail = null;
      if (next) await this.open(next.id);
      else await this.reload();
    }
    await this.poll(true);
  }

  /** Shows the curator's judgement before the server's list of all judgements arrives. */
  noteJudgement(finding, choice, decision, reason) {
    const kind = { keep: 'kept', flag: 'flagged', exclude: 'excluded' }[choice] ?? 'corrected';
    const author = this.author();
    const others = this.queue.state(finding.id).judgements.filter((judgement) => judgement.author !== author);
    const judgements = [...others, { author, kind, decision, reason, time: '' }];
    this.states.set(finding.id, { state: kind, disputed: false, judgements });
    this.queue.refresh();
    this.paintProgress();
  }

  /** Reads the decisions about an image again; its pixels stay. */
  refreshImage(id) {
    const known = this.images.get(id);
    if (!known) return;
    const fresh = Promise.all([get(['image', id], { author: this.author() }), known.then(([, bitmap]) => bitmap)]);
    fresh.catch(() => this.images.delete(id));
    this.images.set(id, fresh);
  }

  /** The version of an image whose pixels cannot be shown. */
  async versionOf(finding) {
    if (!finding.in_data) return undefined;
    try { return (await get(['image', finding.image], {})).version; } catch { return undefined; }
  }

  remember(finding, decisions, what) {
    this.done.push({ finding, decisions, what });
    this.redoable = [];
    sessionStorage.setItem(DONE, JSON.stringify(this.done.slice(-200)));
  }

  /** Undoes the last decision of this tab, or restores it. */
  async stepBack(from, to, message, empty) {
    const last = from.pop();
    if (!last) { toast(t(empty)); return; }
    const undone = [];
    for (const decision of last.decisions.toReversed()) {
      const added = await this.save(() => send(['undo'], { decision, author: this.author() }));
      if (!added) break;
      undone.push(...added);
    }
    if (undone.length) to.push({ ...last, decisions: undone });
    sessionStorage.setItem(DONE, JSON.stringify(this.done.slice(-200)));
    const finding = this.byId.get(last.finding);
    if (finding) this.images.delete(finding.image);
    await this.poll(true);
    if (undone.length) toast(t(message, { what: last.what }), 'good');
    if (finding && finding.id !== this.finding?.id) { await this.open(finding.id); if (this.detail?.image === finding.image) await this.reload(); } else await this.reload();
  }

  async undoDecision(id) {
    if (this.editing?.isDirty()) { toast(t('unsaved_first'), 'error'); return; }
    const added = await this.save(() => send(['undo'], { decision: id, author: this.author() }));
    if (added) await this.reload();
  }

  async keepShown(findings) {
    const me = this.author();
    const wanted = findings.filter((finding) => finding.image && !this.queue.state(finding.id).judgements.some((judgement) => judgement.author === me && judgement.kind === 'kept'));
    const checks = [...new Set(wanted.map((finding) => finding.check))].join(', ');
    if (!wanted.length) { toast(t('nothing_changed')); return; }
    if (!await confirm(t('keep_many', { count: wanted.length }), t('keep_many_text', { checks }))) return;
    const body = { findings: wanted.map((finding) => finding.id), author: me, reason: this.panel.reason?.value ?? '' };
    const added = await this.save(() => send(['keep'], body));
    if (!added) return;
    this.remember(this.finding?.id, added, t('kept_many', { count: added.length }));
    toast(t('kept_many', { count: added.length }), 'good');
    await this.reload();
  }

  // Keeping up with the server.

  setOnline(isOnline) {
    if (isOnline === this.isOnline) return;
    this.isOnline = isOnline;
    document.body.classList.toggle('offline', !isOnline);
    if (isOnline) { toast(t('back_online'), 'good'); this.banner(''); } else this.banner(t('offline'));
    this.paintSaved();
  }

  /** Asks for changed judgements. */
  async poll(isNow = false) {
    if (!isNow && (this.isPolling || this.busy)) return;
    this.isPolling = true;
    try {
      const answer = await get(['states'], { since: this.version ?? undefined, author: this.author() });
      this.setOnline(true);
      this.sendDrafts();
      this.serverDrafts = answer.drafts ?? [];
      this.noteDrafts();
      if (answer.version !== this.version) {
        const isFirst = this.version === null;
        this.version = answer.version;
        this.states = new Map(Object.entries(answer.states ?? {}));
        document.body.dataset.version = answer.version;
        this.statesChanged(isNow || isFirst);
      }
    } catch (error) {
      if (error.status === 0) this.setOnline(false);
      else if (error.status === 401) this.banner(t('unauthorised'));
    } finally {
      this.isPolling = false;
    }
  }

  /** Shows changed judgements; those of others about the current image are announced. */
  statesChanged(isOwn) {
    const authors = [...new Set([...this.states.values()].flatMap((state) => state.judgements.map((judgement) => judgement.author)))].sort();
    if (authors.join('\n') !== (this.queue.authors ?? '')) this.queue.build();
    else this.queue.refresh();
    this.paintProgress();
    if (isOwn || !this.finding) return;
    // Decisions of another tab or person: images that were loaded before are old.
    for (const id of [...this.images.keys()]) if (id !== this.finding.image) this.images.delete(id);
    this.attempt(() => this.checkCurrent());
  }

  async checkCurrent() {
    const { finding, detail } = this;
    if (!detail) return;
    const now = await get(['image', detail.image], { author: this.author() });
    if (this.finding !== finding || this.detail !== detail) return;
    const known = new Set(detail.decisions.map((decision) => decision.id + decision.state));
    const fresh = now.decisions.filter((decision) => !known.has(decision.id + decision.state));
    if (!fresh.length && now.version === detail.version) { this.panel.decision(finding, this.queue.state(finding.id)); return; }
    const last = fresh.at(-1);
    const text = t('changed_elsewhere', { author: last?.author ?? '', what: last?.action.do ?? '' });
    if (this.editing.isDirty() && now.version !== detail.version) {
      this.banner(text, [t('look_again'), () => this.attempt(() => this.reload()), 'look-again']);
    } else if (!this.editing.isDirty()) {
      toast(text);
      await this.reload();
    }
  }

  /** Runs work and shows its error. */
  async attempt(work) {
    try {
      return await work();
    } catch (error) {
      if (error instanceof ApiError && error.status === 0) this.setOnline(false);
      else toast(error.message, 'error');
      return null;
    }
  }

  // Keys and actions.

  keydown(event) {
    if (document.querySelector('dialog[open]') || event.isComposing) return;
    const isTyping = event.target.matches('input:not([type=range]):not([type=checkbox]), textarea, select');
    const name = keyName(event);
    if (isTyping) {
      if (name === 'Escape' || name === 'Enter') { event.preventDefault(); event.target.blur(); }
      if (!name.startsWith('Ctrl+s')) return;
    }
    if (name === 'Escape') {
      if (!this.tools.cancel()) { this.isComparing = false; this.select(null); this.showShapes(); }
      return;
    }
    const button = event.target.closest('button');
    // A button that was reached by the Tab key is pressed by Enter and Space; one that was clicked is not pressed again.
    if (button?.matches(':focus-visible') && (name === 'Enter' || name === 'Space')) return;
    button?.blur();
    if (name === 'Space') { this.isSpaceDown = true; event.preventDefault(); return; }
    const action = Object.keys(this.keys.keymap).find((action) => this.keys.keymap[action].includes(name));
    if (!action) return;
    event.preventDefault();
    if (event.repeat && !['next', 'previous', 'zoom_in', 'zoom_out', 'smaller', 'larger', 'undo', 'redo'].includes(action)) return;
    this.act(action);
  }

  showShapes() {
    const shapes = this.editing?.shapes() ?? [];
    this.viewer.setShapes(this.isComparing ? this.sides(shapes, this.finding)[this.isCorrected(this.finding) ? 'before' : 'after'] : shapes);
    byId('stage').dataset.comparing = this.isComparing;
  }

  /** Carries out an action by its name. */
  act(action) {
    return this.attempt(() => this.actions[action]?.call(this));
  }

  toggle(name) {
    look[name] = !look[name];
    this.viewer.draw();
    this.paintTools();
  }

  async go(step) {
    const next = this.queue.neighbour(step);
    if (next) await this.open(next.id);
  }

  needSelected(work) {
    if (!this.editing || this.viewer.selected === null) { byId('hint').textContent = t('select_first'); return null; }
    return work(this.viewer.selected);
  }

  /** Saves the shapes, with the image, as a file for labelme. */
  async exportLabelme() {
    const { editing } = this;
    const pixels = await base64(await getBlob(['pixels', editing.image]));
    const text = JSON.stringify(toLabelme(editing.image, editing.size, editing.shapes(), pixels));
    const link = el('a', { href: URL.createObjectURL(new Blob([text], { type: 'application/json' })), download: `${editing.image}.json` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  /** Reads a file of labelme as one step of the edit. */
  importLabelme() {
    const input = el('input', { type: 'file', accept: '.json,application/json', onchange: () => this.attempt(async () => {
      if (input.files.length) this.readLabelme(await input.files[0].text());
    }) });
    input.click();
  }

  readLabelme(text) {
    this.editing.step(fromLabelme(text, this.editing, this.bones));
    toast(t('imported'), 'good');
  }

  async copyLink() {
    const link = `${location.origin}/#finding=${this.finding.id}`;
    await this.attempt(async () => { await navigator.clipboard.writeText(link); toast(t('link_copied')); });
  }

  actions = {
    next() { return this.go(1); },
    previous() { return this.go(-1); },
    accept() {
      if (this.tools.finishPen()) return null;
      return this.editing?.isDirty() ? this.saveEdit() : this.decide('accept');
    },
    keep() { return this.decide('keep'); },
    exclude() { return this.decide('exclude'); },
    flag() { return this.decide('flag'); },
    save() { return this.editing ? this.saveEdit() : null; },
    undo() {
      if (this.tools.undoPen() || this.editing?.undo()) return null;
      return this.stepBack(this.done, this.redoable, 'undone_decision', 'nothing_to_undo');
    },
    redo() {
      if (this.editing?.redo()) return null;
      return this.stepBack(this.redoable, this.done, 'redone_decision', 'nothing_to_redo');
    },
    reason() { this.panel.reason?.focus(); },
    compare() {
      if (!this.finding || !Object.keys(this.finding.proposal).length) { toast(t('no_proposal')); return; }
      this.isComparing = !this.isComparing;
      this.showShapes();
      byId('hint').textContent = t(this.isComparing !== this.isCorrected(this.finding) ? 'after' : 'before');
    },
    hide() { look.hidden = !look.hidden; this.viewer.draw(); this.paintTools(); },
    solo() { this.toggle('solo'); },
    fill() { this.toggle('fill'); },
    names() { this.toggle('names'); },
    invert() { levels.invert = !levels.invert; applyLevels(); this.paintTools(); },
    levels() { Object.assign(levels, { low: 0, high: 255, invert: false }); applyLevels(); this.paintTools(); },
    fit() { this.viewer.fit(); },
    focus() { if (this.editing) this.focus(); },
    zoom_in() { this.viewer.zoomBy(1.25); },
    zoom_out() { this.viewer.zoomBy(0.8); },
    select() { this.tools.use('select'); },
    vertices() { this.tools.use('vertices'); },
    pen() { this.tools.use('pen'); },
    brush() { this.tools.use('brush'); },
    eraser() { this.tools.use('eraser'); },
    swap() { this.tools.use('swap'); },
    smaller() { this.tools.resize(0.8); },
    larger() { this.tools.resize(1.25); },
    label() {
      return this.needSelected(async (index) => {
        const label = await chooseLabel(this.bones, this.editing.shape(index).label);
        if (label) this.editing.relabel(index, label);
      });
    },
    drop() {
      if (this.tools.undoPen() || this.tools.removeUnderCursor()) return null;
      return this.needSelected((index) => this.editing.drop(index));
    },
    export() { return this.editing ? this.exportLabelme() : null; },
    import() { return this.editing ? this.importLabelme() : null; },
    search() { document.querySelector('#filter input')?.focus(); },
    help() { help(this.keys.keymap); },
  };
}

const app = new App();
// For tests and the browser's console.
window.carpus = app;
app.start();
