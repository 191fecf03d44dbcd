// Keys: actions, presets, the curator's own keymap, and which action a key event means.

/** Every action with its keys in the preset "carpus". */
const CARPUS = {
  next: ['j', 'ArrowDown', 'ArrowRight'],
  previous: ['k', 'ArrowUp', 'ArrowLeft'],
  accept: ['Enter'],
  keep: ['o'],
  exclude: ['x'],
  flag: ['f'],
  save: ['Ctrl+s'],
  undo: ['Ctrl+z'],
  redo: ['Ctrl+Shift+z', 'Ctrl+y'],
  reason: ['m'],
  compare: ['c'],
  hide: ['h'],
  solo: ['t'],
  fill: ['w'],
  names: ['n'],
  invert: ['i'],
  fit: ['0'],
  focus: ['9'],
  zoom_in: ['+', '='],
  zoom_out: ['-'],
  levels: ['\\'],
  select: ['v'],
  vertices: ['e'],
  pen: ['p'],
  brush: ['b'],
  eraser: ['r'],
  smaller: ['['],
  larger: [']'],
  swap: ['s'],
  label: ['l'],
  drop: ['Delete', 'Backspace'],
  export: ['Shift+e'],
  import: ['Shift+i'],
  search: ['/'],
  help: ['?'],
};

/** Keymaps by name. */
export const PRESETS = {
  carpus: CARPUS,
  cvat: { ...CARPUS, next: ['f', 'ArrowDown', 'ArrowRight'], previous: ['d', 'ArrowUp', 'ArrowLeft'], flag: ['g'], pen: ['n'], names: ['u'] },
  labelme: { ...CARPUS, next: ['d', 'ArrowDown', 'ArrowRight'], previous: ['a', 'ArrowUp', 'ArrowLeft'], vertices: ['e'], pen: ['Ctrl+Enter'], exclude: ['x'] },
};

export const ACTIONS = Object.keys(CARPUS);

/** Keys that the browser or the system uses, or that the page cannot change. */
const RESERVED = [
  'Tab', 'Escape', 'F1', 'F3', 'F5', 'F6', 'F7', 'F10', 'F11', 'F12', 'Ctrl+w', 'Ctrl+t', 'Ctrl+n', 'Ctrl+r', 'Ctrl+l', 'Ctrl+j', 'Ctrl+k',
  'Ctrl+p', 'Ctrl+f', 'Ctrl+h', 'Ctrl+d', 'Ctrl+o', 'Ctrl+u', 'Ctrl+q', 'Ctrl+c', 'Ctrl+v', 'Ctrl+x', 'Ctrl+a', 'Ctrl+0', 'Ctrl++', 'Ctrl+-',
  'Ctrl+Shift+t', 'Ctrl+Shift+n', 'Ctrl+Shift+w', 'Ctrl+Shift+i', 'Ctrl+Shift+j', 'Ctrl+Shift+c', 'Ctrl+Shift+r', 'Ctrl+Shift+Delete',
];

/** Whether a key cannot be used. */
export const isReserved = (key) => RESERVED.includes(key) || key.startsWith('Alt+') || /^Ctrl\+[1-9]$/.test(key);

/**
 * The name of a key event: `j`, `?`, `ArrowDown`, `Ctrl+Shift+z`. Letters are those of the Latin layout, also while
 * Hangul is typed. On a Mac, Command is Ctrl.
 */
export function keyName(event) {
  let key = event.key;
  const isAscii = key.length > 1 || key.charCodeAt(0) < 128;
  if ((!isAscii || key === 'Process') && /^Key[A-Z]$/.test(event.code)) key = event.code.slice(3);
  if (key.length === 1 && /[a-z]/i.test(key)) key = key.toLowerCase();
  const isLetter = /^[a-z]$/.test(key);
  const shift = event.shiftKey && (isLetter || key.length > 1);
  const control = event.ctrlKey || event.metaKey;
  return (event.altKey ? 'Alt+' : '') + (control ? 'Ctrl+' : '') + (shift ? 'Shift+' : '') + (key === ' ' ? 'Space' : key);
}

/** Keys that two actions of a keymap have in common, and reserved keys: `[{ key, actions }]`. */
export function conflicts(keymap) {
  const users = new Map();
  for (const [action, keys] of Object.entries(keymap)) {
    for (const key of keys) users.set(key, [...(users.get(key) ?? []), action]);
  }
  return [...users].filter(([key, actions]) => actions.length > 1 || isReserved(key)).map(([key, actions]) => ({ key, actions }));
}

const STORE = 'carpus-review-keys';

/** The stored choice: the name of a preset, or `own` with a keymap. */
export function loadKeys() {
  try {
    const stored = JSON.parse(localStorage.getItem(STORE) ?? '{}');
    if (stored.preset === 'own' && stored.keymap) {
      const keymap = { ...CARPUS, ...Object.fromEntries(Object.entries(stored.keymap).filter(([action]) => action in CARPUS)) };
      if (!conflicts(keymap).length) return { preset: 'own', keymap };
    }
    if (stored.preset in PRESETS) return { preset: stored.preset, keymap: PRESETS[stored.preset] };
  } catch { /* An unreadable choice is the default. */ }
  return { preset: 'carpus', keymap: CARPUS };
}

/** Stores the choice. */
export function saveKeys(preset, keymap) {
  localStorage.setItem(STORE, JSON.stringify(preset === 'own' ? { preset, keymap } : { preset }));
}

/** The keys of an action for people. */
export function shown(keys) {
  const names = { ArrowDown: '↓', ArrowUp: '↑', ArrowLeft: '←', ArrowRight: '→', Enter: '⏎', Delete: 'Del', Backspace: '⌫' };
  return keys.map((key) => key.split('+').map((part) => names[part] ?? (part.length === 1 ? part.toUpperCase() : part)).join('+') || key);
}
