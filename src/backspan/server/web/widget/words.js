// What is asked, in which words. `texts.json` is the whole catalogue: English is part of the script, another language is
// fetched. Questions and reasons come from the gateway's taxonomy, where an operator can change them; the gateway
// takes no other reasons. A page overrides single words with the attribute `texts`.

import { en } from "./texts.json";

const PATIENCE_MS = 3000;
const asked = new Map();

/** `{words, reasons}` for a language tag such as `de-AT`. What cannot be had is English, or no reasons. */
export function wordsFor(base, tag) {
  const language = (tag || "en").slice(0, 2).toLowerCase();
  const key = `${base} ${language}`;
  if (!asked.has(key)) asked.set(key, load(base, language));
  return asked.get(key);
}

async function load(base, language) {
  const own = language === "en" ? {} : read(`${base}widget.texts.json`);
  const config = await read(`${base}v1/config?lang=${language}`);
  const words = (await own)[language];
  return { words: { ...en, ...(words || language === "en" ? { ...words, ...questions(config) } : {}) }, reasons: reasons(config) };
}

async function read(url) {
  try {
    const answer = await fetch(url, { credentials: "omit", signal: AbortSignal.timeout(PATIENCE_MS) });
    return answer.ok ? await answer.json() : {};
  } catch {
    return {};
  }
}

const said = (texts) => Object.values(texts ?? {})[0];

function questions({ names = {} }) {
  const found = ["thumbs", "stars", "factual", "correction"].map((key) => [key, said(names[`user_${key}`]?.question)]);
  const texts = names.user_factual?.texts ?? {};
  found.push(["compare", said(names.user_preference?.question)], ["right", said(texts.true)], ["wrong", said(texts.false)], ["unsure", said(texts.neutral)]);
  return Object.fromEntries(found.filter(([, text]) => text));
}

/** Reasons for a bad vote: `[code, text, stays last]`. */
function reasons(config) {
  const bad = (config.reasons ?? []).filter((one) => one.polarity.includes("negative"));
  return bad.map((one) => [one.code, said(one.label) ?? one.code, one.last]);
}
