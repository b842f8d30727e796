// What people do with an answer, as numbers: shares, counts and ratios. Text never leaves the browser here. Nothing is
// sent where the browser says `Sec-GPC`, or after "do not ask me again"; what people do needs their consent besides,
// that our own question was seen does not.

import { baseOf } from "./client.js";
import { optedOut } from "./keep.js";

/** Buttons of the page that copy an answer or a part of it. */
export const COPY = "[data-backspan-copy]";
const HALF = 0.5;
const SEEN_MS = 1000;
const IDLE_MS = 30e3;
const WORDS_PER_SECOND = 238 / 60; // a usual reading speed
const seen = new Set();

/** Send signals of one answer. Without a preflight, and so that it outlives the page. */
export function signal(base, token, signals, consent) {
  if (navigator.globalPrivacyControl || optedOut()) return;
  const url = `${base}v1/signals`;
  const body = JSON.stringify({ token, signals, ...(consent ? { consent: ["analytics"] } : {}) });
  const headers = { "Content-Type": "text/plain" };
  try {
    fetch(url, { method: "POST", body, headers, keepalive: true, credentials: "omit" }).catch(() => {});
  } catch {
    navigator.sendBeacon?.(url, body); // a string is text/plain
  }
}

/** Call `then` once when half of `element` has been in sight for a second. Returns what stops the watch. */
export function onceSeen(element, then) {
  let timer = 0;
  const observer = new IntersectionObserver(([entry]) => {
    clearTimeout(timer);
    if (entry.intersectionRatio < HALF || document.hidden) return;
    timer = setTimeout(() => (observer.disconnect(), document.hidden || then()), SEEN_MS);
  }, { threshold: [0, HALF, 1] });
  observer.observe(element);
  return () => (clearTimeout(timer), observer.disconnect());
}

/** Count that a widget was seen, once per answer and page. */
export function exposed(base, token, facts) {
  if (seen.has(token)) return;
  seen.add(token);
  signal(base, token, [{ name: "implicit_exposure", value: 1, ...facts }]);
}

/** The part of the selection that lies in `element`: its text and place, counted in characters; null if none. */
export function selectedIn(element) {
  const selection = getSelection();
  if (!element || !selection?.rangeCount || selection.isCollapsed) return null;
  const range = selection.getRangeAt(0);
  if (!element.contains(range.commonAncestorContainer)) return null;
  const before = document.createRange();
  before.selectNodeContents(element);
  before.setEnd(range.startContainer, range.startOffset);
  const text = range.toString();
  const start = before.toString().length;
  return text.trim() ? { text, start, end: start + text.length } : null;
}

/**
 * Observe how an answer is used: copying, whole blocks of code, sources clicked, time of reading. `consent` must be
 * true, and given by the person. Sends when the page is left, and when the returned function is called, which ends it.
 * An element with `data-backspan-copy` inside of the answer is a button that copies the whole of it.
 */
export function observeAnswer(element, token, { consent = false, endpoint } = {}) {
  if (consent !== true || navigator.globalPrivacyControl || optedOut()) return () => {};
  const watch = new Watch(element);
  const flush = () => {
    const found = watch.news();
    if (found.length) signal(baseOf(endpoint), token, found, true);
  };
  const left = () => document.hidden && flush();
  document.addEventListener("visibilitychange", left, watch.options);
  addEventListener("pagehide", flush, watch.options);
  return () => (flush(), watch.stop());
}

class Watch {
  #element;
  #values = new Map();
  #changed = new Set();
  #end = new AbortController();
  options = { signal: this.#end.signal, passive: true };
  #timer;
  #visible = false;
  #active = Date.now();
  #seconds = 0;

  constructor(element) {
    this.#element = element;
    const { options } = this;
    document.addEventListener("copy", () => this.#copied(selectedIn(element)), options);
    element.addEventListener("click", (event) => this.#clicked(event), options);
    for (const kind of ["pointermove", "keydown", "scroll", "touchstart"]) {
      addEventListener(kind, () => (this.#active = Date.now()), { ...options, capture: true });
    }
    const observer = new IntersectionObserver(([entry]) => (this.#visible = entry.isIntersecting));
    observer.observe(element);
    options.signal.onabort = () => observer.disconnect();
    this.#timer = setInterval(() => this.#tick(), 1000);
  }

  /** Signals that are new since the last call. */
  news() {
    const found = [...this.#changed].map((name) => ({ name, value: this.#values.get(name) }));
    this.#changed.clear();
    return found;
  }

  stop() {
    this.#end.abort();
    clearInterval(this.#timer);
  }

  #set(name, value) {
    if (value <= (this.#values.get(name) ?? 0)) return;
    this.#values.set(name, Math.round(value * 1000) / 1000);
    this.#changed.add(name);
  }

  #copied(quote) {
    if (!quote) return;
    this.#set("implicit_copy", Math.min(1, quote.text.length / this.#element.textContent.length));
    const blocks = [...this.#element.querySelectorAll("pre")].map((block) => block.textContent.trim());
    if (blocks.some((block) => block && quote.text.includes(block))) this.#set("implicit_code_copy", 1);
  }

  #clicked({ target }) {
    const button = target.closest(COPY);
    if (button) this.#set(button.closest("pre, [data-backspan-code]") ? "implicit_code_copy" : "implicit_copy", 1);
    else if (target.closest("a[href]")) this.#set("implicit_citation_click", 1);
  }

  #tick() {
    if (!this.#visible || document.hidden || Date.now() - this.#active > IDLE_MS) return;
    const words = this.#element.textContent.trim().split(/\s+/).length;
    this.#seconds += 1;
    this.#set("implicit_dwell", this.#seconds / (words / WORDS_PER_SECOND));
  }
}
