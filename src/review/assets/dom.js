// Building elements. Text is always set as text, never as markup.

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/**
 * An element: `el('button.primary', { onclick }, 'Save')`. Properties that begin with `on` are listeners, `dataset` and
 * `style` are objects, `aria-…` and `role` are attributes. Children are elements or texts.
 */
export function el(kind, properties = {}, ...children) {
  const [tag, ...classes] = kind.split('.');
  const made = document.createElement(tag);
  if (classes.length) made.className = classes.join(' ');
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (name === 'dataset' || name === 'style') Object.assign(made[name], value);
    else if (name.startsWith('aria-') || ['role', 'for', 'list'].includes(name)) made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** Replaces the children of an element. */
export function fill(parent, ...children) {
  parent.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
}

/** Shows a message for some seconds. */
export function toast(text, kind = 'info') {
  const shown = el('div.toast.' + kind, {}, text);
  const toasts = byId('toasts');
  toasts.append(shown);
  while (toasts.children.length > 3) toasts.firstChild.remove();
  setTimeout(() => shown.remove(), kind === 'error' ? 9000 : 3000);
}

/** A colour of the bone list as CSS. */
export const css = ([r, g, b], alpha = 1) => `rgba(${r}, ${g}, ${b}, ${alpha})`;

/** Calls `work` once per frame, however often it is asked for. */
export function oncePerFrame(work) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; work(); });
  };
}
