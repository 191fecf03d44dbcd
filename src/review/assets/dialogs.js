// Dialogs: the curator's name, help, keymaps, progress, choosing a label, confirmations.

import { get, getBlob } from './api.js';
import { miniature } from './canvas.js';
import { css, el, fill, toast } from './dom.js';
import { ACTIONS, PRESETS, conflicts, keyName, saveKeys, shown } from './keys.js';
import { checkName, t } from './texts.js';

/** Opens a dialog; it removes itself when it closes. */
function open(kind, ...children) {
  const made = el('dialog.' + kind, {}, children);
  document.body.append(made);
  made.addEventListener('close', () => made.remove());
  made.addEventListener('click', (event) => { if (event.target === made && kind !== 'who') made.close(); });
  made.showModal();
  return made;
}

const heading = (text) => el('h2', {}, text);

/** Asks for the curator's name until there is one. */
export function askAuthor(proposed, isNeeded) {
  return new Promise((resolve) => {
    const input = el('input', { name: 'author', value: proposed, maxLength: 100, required: true, 'aria-label': t('name'), autocomplete: 'name' });
    const form = el('form', { method: 'dialog' },
      heading(t('who')), el('p', {}, t('who_text')), input,
      el('div.buttons', {}, !isNeeded && el('button.plain', { type: 'button', onclick: () => made.close() }, t('cancel')), el('button.primary', { id: 'who-ok' }, t(isNeeded ? 'start' : 'ok'))));
    const made = open('who', form);
    let isGiven = false;
    input.select();
    form.addEventListener('submit', (event) => {
      isGiven = input.value.trim() !== '';
      if (!isGiven) event.preventDefault();
    });
    made.addEventListener('cancel', (event) => { if (isNeeded) event.preventDefault(); });
    made.addEventListener('close', () => resolve(isGiven ? input.value.trim() : null));
  });
}

/** Asks for confirmation; `true` if it is given. */
export function confirm(title, text) {
  return new Promise((resolve) => {
    let isConfirmed = false;
    const made = open('confirm', heading(title), el('p', {}, text), el('div.buttons', {},
      el('button.plain', { onclick: () => made.close() }, t('cancel')),
      el('button.primary', { id: 'confirm-ok', onclick: () => { isConfirmed = true; made.close(); } }, t('ok'))));
    made.querySelector('.primary').focus();
    made.addEventListener('close', () => resolve(isConfirmed));
  });
}

/** The keys and the mouse. */
export function help(keymap) {
  const rows = ACTIONS.map((action) => el('div', {}, el('span', {}, shown(keymap[action]).map((key) => el('kbd', {}, key))), el('span', {}, t('keys')[action])));
  const made = open('help', heading(t('help')), el('div.keys', {}, rows), el('h3', {}, t('mouse')), el('p', {}, t('mouse_text')),
    el('div.buttons', {}, el('button.primary', { onclick: () => made.close() }, t('close'))));
  made.addEventListener('keydown', (event) => { if (keyName(event) === '?') made.close(); });
}

/** Choosing and editing keymaps; `done(preset, keymap)` is called with the result. */
export function keySettings(current, done) {
  let preset = current.preset;
  let keymap = structuredClone(current.keymap);
  const table = el('div.keys');
  const message = el('p.error');
  const choice = el('select', { id: 'preset', onchange: () => {
    preset = choice.value;
    if (preset !== 'own') keymap = structuredClone(PRESETS[preset]);
    paint();
  } }, [...Object.keys(PRESETS), 'own'].map((name) => el('option', { value: name, selected: name === preset }, name === 'own' ? t('own') : name)));
  const save = el('button.primary', { id: 'keys-ok', onclick: () => {
    saveKeys(preset, keymap);
    done(preset, keymap);
    toast(t('keys_saved'));
    made.close();
  } }, t('ok'));
  const paint = () => {
    const found = conflicts(keymap);
    const isBad = (action) => found.some(({ key, actions }) => actions.includes(action) && keymap[action].includes(key));
    fill(table, ACTIONS.map((action) => el('div' + (isBad(action) ? '.bad' : ''), {},
      el('button.plain', { dataset: { action }, onclick: (event) => listen(event.currentTarget, action) }, shown(keymap[action]).join(' ')), el('span', {}, t('keys')[action]))));
    message.textContent = found.length ? t('conflict_keys', { keys: found.map(({ key }) => key).join(', ') }) : '';
    save.disabled = found.length > 0;
    choice.value = preset;
  };
  const listen = (button, action) => {
    button.textContent = t('press_key');
    button.addEventListener('keydown', (event) => {
      if (['Control', 'Shift', 'Alt', 'Meta'].includes(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
      if (event.key !== 'Escape') {
        preset = 'own';
        keymap[action] = [keyName(event)];
      }
      paint();
    }, { once: false });
    button.focus();
  };
  const made = open('settings', heading(t('settings')), el('label', {}, `${t('preset')} `, choice), table, message,
    el('div.buttons', {}, el('button.plain', { onclick: () => made.close() }, t('cancel')), save));
  paint();
}

/** Progress by check and curator, agreement, and the summaries. */
export async function showProgress() {
  const progress = await get(['progress']);
  const states = ['kept', 'corrected', 'excluded', 'flagged', 'open'];
  const head = (first) => el('tr', {}, el('th', {}, first), ['all', 'judged', ...states].map((name) => el('th', {}, t(name))));
  const row = (name, tally) => el('tr', {}, el('td', {}, name), [tally.all, tally.done, ...states.map((state) => tally.by_state[state] ?? 0)].map((count) => el('td', {}, String(count))));
  const download = (format) => async () => {
    const blob = await getBlob(['summary', format]);
    const link = el('a', { href: URL.createObjectURL(blob), download: `review.${format}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  const agreement = progress.agreement.map((pair) => el('tr', {}, el('td', {}, pair.authors.join(', ')), el('td', {}, String(pair.both)), el('td', {}, String(pair.same)),
    el('td', {}, pair.kappa === null ? t('undefined') : pair.kappa.toFixed(3))));
  const made = open('progress', heading(t('progress')),
    el('table', {}, head(t('check')), Object.entries(progress.by_check).map(([name, tally]) => row(checkName(name), tally)), row(t('total'), progress.total)),
    Object.keys(progress.by_author).length > 0 && el('table', {}, head(t('curator')), Object.entries(progress.by_author).map(([name, tally]) => row(name, tally))),
    agreement.length > 0 && [el('h3', {}, t('agreement')), el('table.agreement', {}, el('tr', {}, el('th', {}, t('curator')), el('th', {}, t('both')), el('th', {}, t('same')), el('th', {}, t('kappa'))), agreement)],
    el('div.buttons', {}, el('button.plain', { onclick: download('html') }, t('download_html')), el('button.plain', { onclick: download('csv') }, t('download_csv')), el('button.primary', { onclick: () => made.close() }, t('close'))));
}

/** Chooses one of the bones; `null` if none is chosen. */
export function chooseLabel(bones, current) {
  return new Promise((resolve) => {
    let chosen = null;
    const list = el('div.bones');
    const input = el('input', { type: 'search', 'aria-label': t('choose_label'), placeholder: t('choose_label'), spellcheck: false, oninput: () => paint() });
    const take = (name) => { chosen = name; made.close(); };
    const matching = () => bones.filter((bone) => bone.name.toLowerCase().includes(input.value.trim().toLowerCase()));
    const paint = () => fill(list, matching().map((bone, i) => el('button.chip' + (i === 0 && input.value ? '.first' : ''), {
      disabled: bone.name === current, style: { borderColor: css(bone.colour) }, onclick: () => take(bone.name),
    }, bone.name)));
    const made = open('choose', heading(`${current} →`), input, list);
    input.addEventListener('keydown', (event) => {
      // An exact name before names that contain it: finger-1 before finger-10.
      const exact = bones.find((bone) => bone.name.toLowerCase() === input.value.trim().toLowerCase());
      const first = exact ?? matching().find((bone) => bone.name !== current);
      if (event.key === 'Enter' && first && first.name !== current) { event.preventDefault(); take(first.name); }
    });
    made.addEventListener('close', () => resolve(chosen));
    paint();
    input.focus();
  });
}

/** A hand in full size. */
export async function enlarge(hand, strong, bones) {
  const canvas = el('canvas');
  const made = open('enlarged', el('p', {}, `${hand.image}${hand.mirrored ? `, ${t('mirrored')}` : ''}`), canvas);
  canvas.addEventListener('click', () => made.close());
  const image = await createImageBitmap(await getBlob(['pixels', hand.image], {}));
  miniature(canvas, { image, source: [0, 0, hand.width, hand.height], box: hand.box, shapes: hand.shapes, strong, names: 'all', mirrored: hand.mirrored, bones });
}
