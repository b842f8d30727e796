// Votes to the gateway. A vote is written down before it is sent, and crossed out when the gateway has it: closing the
// page or losing the network loses nothing. Sending twice is harmless, since the gateway knows a vote by its answer,
// name and person; only the newest vote of each name waits.

import { keep, kept } from "./keep.js";

const QUEUE = "backspan.queue";
const MOST = 50;
const OLDEST_MS = 30 * 864e5; // a token lives no longer
const PATIENCE_MS = 15e3;
const LONGEST_WAIT_MS = 6e4;
const KEEPALIVE_BYTES = 6e4; // browsers refuse more in all
/** Where the script came from is where votes go, under whatever path it is mounted. */
export const BASE = new URL(".", import.meta.url).href;

const JSON_BODY = { "Content-Type": "application/json" };
const listeners = new Map();
let failures = 0;
let busy = false;
let timer = 0;

/** The address of the API, with a slash at its end. */
export function baseOf(endpoint) {
  return endpoint ? new URL(endpoint.replace(/\/*$/, "/"), document.baseURI).href : BASE;
}

/**
 * Send a vote; without a `body` what was said under `name` is taken back. `told` hears "queued", "saved", "rejected" or
 * "expired", at most one of the last three.
 */
export function put(vote, told, delay = 0) {
  const id = Math.random();
  const others = waiting().filter((one) => {
    const replaced = one.token === vote.token && one.name === vote.name;
    if (replaced) listeners.delete(one.id);
    return !replaced;
  });
  keep(QUEUE, [...others, { ...vote, id, at: Date.now() }].slice(-MOST));
  listeners.set(id, told);
  setTimeout(drain, delay);
}

/** Votes that wait to be sent, for all answers or for that of a token. */
export function waiting(token) {
  const entries = kept(QUEUE);
  if (!Array.isArray(entries)) return [];
  return entries.filter((one) => one.at > Date.now() - OLDEST_MS && (!token || one.token === token));
}

/** What the gateway knows of one's own votes on an answer: rows by name; null if it cannot be asked. */
export async function standing(base, token) {
  try {
    const answer = await fetch(`${base}v1/feedback`, { ...quiet(), headers: { "Backspan-Token": token } });
    if (answer.status === 401) return "expired";
    if (!answer.ok) return null;
    const { feedback } = await answer.json();
    return Object.fromEntries(feedback.filter((row) => row.name.startsWith("user_")).map((row) => [row.name, row]));
  } catch {
    return null;
  }
}

/** May this answer be asked about unprompted? The gateway draws who is asked; if it does not say, everybody is. */
export async function mayAsk(base, token, surface) {
  try {
    const body = JSON.stringify({ token, ...(surface && { surface }) });
    const answer = await fetch(`${base}v1/feedback/ask`, { ...quiet(), method: "POST", headers: JSON_BODY, body });
    return !answer.ok || (await answer.json()).ask !== false;
  } catch {
    return true;
  }
}

/** Send what waits; one page at a time, so that an old vote cannot overtake a newer one of another tab. */
export async function drain() {
  if (busy || !waiting().length) return;
  busy = true;
  clearTimeout(timer);
  try {
    await (navigator.locks ? navigator.locks.request("backspan", sendAll) : sendAll());
  } finally {
    busy = false;
  }
}

async function sendAll() {
  const tried = new Set();
  for (let vote; (vote = waiting().find((one) => !tried.has(one.id))); ) {
    tried.add(vote.id);
    const outcome = await send(vote);
    if (outcome.wait) {
      tell(vote, "queued");
      again(outcome.wait);
      if (outcome.offline) return;
    } else {
      failures = 0;
      keep(QUEUE, waiting().filter((one) => one.id !== vote.id));
      tell(vote, outcome.said);
      listeners.delete(vote.id);
    }
  }
}

function tell(vote, said) {
  listeners.get(vote.id)?.(said);
}

function again(seconds) {
  failures += 1;
  const wait = Math.max(seconds * 1e3, Math.min(LONGEST_WAIT_MS, 1e3 * 2 ** failures) * (0.5 + Math.random() / 2));
  clearTimeout(timer);
  timer = setTimeout(drain, wait);
}

async function send(vote) {
  let answer;
  try {
    answer = await fetch(vote.body ? `${vote.base}v1/feedback` : `${vote.base}v1/feedback/${vote.name}`, request(vote));
  } catch {
    return { wait: 1, offline: true };
  }
  if (answer.ok) return { said: "saved" };
  if (answer.status === 401) return { said: "expired" };
  const later = Number(answer.headers.get("Retry-After")) || 1;
  if (answer.status >= 500 || answer.status === 408 || (answer.status === 429 && later < 3600)) return { wait: later };
  return { said: "rejected" };
}

function request(vote) {
  const headers = { "Backspan-Token": vote.token };
  if (!vote.body) return { ...quiet(), method: "DELETE", headers };
  const body = JSON.stringify(vote.body);
  const keepalive = new Blob([body]).size < KEEPALIVE_BYTES;
  return { ...quiet(), method: "POST", headers: { ...headers, ...JSON_BODY }, body, keepalive };
}

const quiet = () => ({ credentials: "omit", cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });

addEventListener("online", drain);
addEventListener("visibilitychange", drain);
drain();
