// What stays in the browser: votes that wait to be sent, and the wish not to be asked.

const OPT_OUT = "backspan.optout";
const memory = new Map();

/** What is kept under `key`, parsed; null if there is nothing. Where storage is blocked, this page remembers. */
export function kept(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return memory.get(key) ?? null;
  }
}

/** Keep a value; null forgets it. */
export function keep(key, value) {
  memory.set(key, value);
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, JSON.stringify(value));
  } catch { /* full or blocked: `memory` has it */ }
}

/** Did this person say not to be asked, nor observed? */
export const optedOut = () => kept(OPT_OUT) === 1;
export const optOut = (wish) => keep(OPT_OUT, wish ? 1 : null);
