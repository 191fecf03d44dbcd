// The list of findings with its filters. Only the visible rows are in the page.

import { byId, el, fill, oncePerFrame } from './dom.js';
import { checkName, t } from './texts.js';

const ROW = 58;
const SPARE = 6;

/** The judgements of a finding that has none. */
const OPEN = { state: null, disputed: false, judgements: [] };

/** The queue. `app` has `findings`, `states`, `author()`, `drafts()`, `open(id)`, `keepShown(findings)`. */
export class Queue {
  constructor(app) {
    this.app = app;
    this.filter = { text: '', check: '', bone: '', severity: '', state: 'all', author: '' };
    this.shown = [];
    this.current = null;
    this.list = byId('list');
    this.rows = byId('rows');
    this.paint = oncePerFrame(() => this.paintNow());
    this.list.addEventListener('scroll', this.paint);
    new ResizeObserver(this.paint).observe(this.list);
    this.rows.addEventListener('click', (event) => {
      const row = event.target.closest('[data-id]');
      if (row) app.open(row.dataset.id);
    });
  }

  state(id) {
    return this.app.states.get(id) ?? OPEN;
  }

  /** Builds the form of filters. */
  build() {
    const { findings } = this.app;
    const distinct = (values) => [...new Set(values)].sort();
    const option = (value, text) => el('option', { value, selected: value === this.filter[this.building] }, text);
    const select = (name, any, values, text = (value) => value) => {
      this.building = name;
      const made = el('select', { name, 'aria-label': t(name), onchange: (event) => this.set({ [name]: event.target.value }) },
        any === null ? [] : [option('', any)], values.map((value) => option(value, text(value))));
      return made;
    };
    const states = ['all', 'open', 'mine', 'kept', 'corrected', 'excluded', 'flagged', 'disputed', 'drafts'];
    const search = el('input', {
      name: 'text', type: 'search', placeholder: t('search'), 'aria-label': t('search'), value: this.filter.text, spellcheck: false,
      oninput: (event) => this.set({ text: event.target.value }),
    });
    const authors = distinct([...this.app.states.values()].flatMap((state) => state.judgements.map((judgement) => judgement.author)));
    fill(byId('filter'),
      search,
      select('state', null, states, (state) => t(state === 'all' ? 'all_states' : state)),
      select('check', t('any_check'), distinct(findings.map((finding) => finding.check)), checkName),
      select('severity', t('any_severity'), ['high', 'medium', 'low'], t),
      select('bone', t('any_bone'), distinct(findings.flatMap((finding) => finding.labels))),
      authors.length > 0 && select('author', t('any_author'), authors));
    byId('filter').onsubmit = (event) => event.preventDefault();
    this.authors = authors.join('\n');
    this.refresh();
  }

  /** Changes filters. */
  set(values) {
    this.filter = { ...this.filter, ...values };
    this.list.scrollTop = 0;
    this.refresh();
  }

  fits(finding) {
    const { text, check, bone, severity, author } = this.filter;
    if (check && finding.check !== check || severity && finding.severity !== severity) return false;
    if (bone && !finding.labels.includes(bone)) return false;
    const state = this.state(finding.id);
    if (author && !state.judgements.some((judgement) => judgement.author === author)) return false;
    if (text) {
      const wanted = text.trim().toLowerCase();
      if (![finding.image, finding.patient, finding.id].some((part) => part.toLowerCase().includes(wanted))) return false;
    }
    return this.fitsState(finding, state);
  }

  fitsState(finding, state) {
    const me = this.app.author();
    switch (this.filter.state) {
      case 'all': return true;
      case 'open': return state.state === null || state.state === 'flagged';
      case 'mine': return !state.judgements.some((judgement) => judgement.author === me && judgement.kind !== 'flagged');
      case 'disputed': return state.disputed;
      case 'drafts': return this.app.drafts().has(finding.image);
      default: return state.state === this.filter.state;
    }
  }

  /** Computes the shown findings again. */
  refresh() {
    this.shown = this.app.findings.filter((finding) => this.fits(finding));
    this.positions = new Map(this.shown.map((finding, position) => [finding.id, position]));
    this.rows.style.height = `${this.shown.length * ROW}px`;
    this.paint();
    const { shown, app } = this;
    const text = shown.length ? t('shown_of', { shown: shown.length, all: app.findings.length }) : t(app.findings.length ? 'nothing_found' : 'no_findings');
    const isFiltered = Object.entries(this.filter).some(([name, value]) => value !== (name === 'state' ? 'all' : ''));
    fill(byId('listfoot'),
      el('span', {}, text),
      isFiltered && el('button.link', { onclick: () => this.reset() }, t('reset_filter')),
      shown.length > 0 && el('button.link', { id: 'keepshown', onclick: () => app.keepShown(shown) }, t('keep_shown', { count: shown.length })));
  }

  reset() {
    this.filter = { text: '', check: '', bone: '', severity: '', state: 'all', author: '' };
    this.build();
  }

  paintNow() {
    const first = Math.max(0, Math.floor(this.list.scrollTop / ROW) - SPARE);
    const last = Math.min(this.shown.length, Math.ceil((this.list.scrollTop + this.list.clientHeight) / ROW) + SPARE);
    fill(this.rows, this.shown.slice(first, last).map((finding, i) => this.row(finding, first + i)));
  }

  row(finding, position) {
    const state = this.state(finding.id);
    const name = state.state ?? 'open';
    const isCurrent = finding.id === this.current;
    return el('div.row' + (isCurrent ? '.current' : ''), {
      role: 'option', 'aria-selected': String(isCurrent), dataset: { id: finding.id, state: name }, style: { top: `${position * ROW}px` },
    },
    el('i.severity.' + finding.severity, { title: t(finding.severity) }),
    el('div.what', {},
      el('b', {}, checkName(finding.check)),
      el('span.labels', {}, finding.labels.length ? finding.labels.join(', ') : t('whole_image'))),
    el('div.where', {}, el('span', {}, finding.image || `${t('patient')} ${finding.patient}`), el('span.score', {}, finding.score.toFixed(1))),
    el('span.state.' + (state.disputed ? 'disputed' : name), {}, state.disputed ? t('disputed') : state.state ? t(state.state) : ''));
  }

  /** Marks a finding as the current one and scrolls to it. */
  mark(id) {
    this.current = id;
    const position = this.positions.get(id);
    if (position !== undefined) {
      const [top, height] = [position * ROW, this.list.clientHeight];
      if (top < this.list.scrollTop || top + ROW > this.list.scrollTop + height) {
        this.list.scrollTop = Math.max(0, top - height / 2 + ROW / 2);
      }
    }
    this.paint();
  }

  /** The finding some steps after the current one in the list; `null` at the ends. */
  neighbour(step) {
    const at = this.positions.get(this.current);
    if (at === undefined) return this.shown[0] ?? null;
    return this.shown[at + step] ?? null;
  }

  /** The next finding that the curator has not judged, after the current one, then from the beginning. */
  nextOpen() {
    const me = this.app.author();
    const isOpen = (finding) => finding.id !== this.current && !this.state(finding.id).judgements.some((judgement) => judgement.author === me);
    const at = this.positions.get(this.current) ?? -1;
    return this.shown.slice(at + 1).find(isOpen) ?? this.shown.slice(0, Math.max(0, at)).find(isOpen) ?? null;
  }
}
