// <backspan-feedback>: asks about one answer at the right moment, and shows what was said.

import { Ballot } from "./ballot.js";
import { mayAsk } from "./client.js";
import { Draft } from "./draft.js";
import { optOut } from "./keep.js";
import { shuffled } from "./shuffle.js";
import { COPY, exposed, onceSeen, selectedIn } from "./signals.js";
import css from "./styles.css";
import { Told } from "./told.js";
import { about, firstStep, foot, h, panel } from "./view.js";
import { wordsFor } from "./words.js";

const STARS_MS = 600; // arrow keys pass over stars that nobody means
const MOST_QUOTE = 1000;
const sheet = new CSSStyleSheet();
sheet.replaceSync(css);

export class BackspanFeedback extends Told {
  static observedAttributes = ["token", "other-token", "mode", "lang", "texts", "reasons", "questions", "for", "endpoint",
    "policy", "swap", "streaming", "prompt-on"];

  areas = {};
  #syncs = [];
  #status = h("p", { role: "status" });
  #box = h("div", { role: "group" });
  #build = 0;
  #loaded = null;
  #end = null;
  #unwatch = () => {};

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [sheet];
    this.#box.append(this.#status);
    root.append(this.#box);
    this.#reset();
  }

  connectedCallback() {
    this.#end = new AbortController();
    const options = { signal: this.#end.signal };
    document.addEventListener("copy", () => selectedIn(this.answer) && this.ask("copy"), options);
    document.addEventListener("click", ({ target }) => this.answer?.contains(target.closest(COPY)) && this.ask("copy"), options);
    document.addEventListener("selectionchange", () => this.#selected(), options);
    for (const point of ["task", "end"]) document.addEventListener(`backspan:${point}`, () => this.ask(point), options);
    addEventListener("storage", () => this.sync(), options);
    this.attributeChangedCallback();
  }

  disconnectedCallback() {
    this.#end.abort();
    this.#unwatch();
  }

  async attributeChangedCallback() {
    const build = ++this.#build;
    await null; // several attributes, one drawing
    if (build !== this.#build || !this.isConnected) return;
    const found = await wordsFor(this.base, this.lang || this.closest("[lang]")?.lang || navigator.language);
    if (build === this.#build && this.isConnected) this.#draw(found);
  }

  /** A break point is reached: `task`, `copy` or `end`. The question appears if `prompt-on` names it. */
  ask(point) {
    this.points.add(point);
    this.sync();
  }

  // --- drawing ---
  #draw({ words, reasons }) {
    const ready = this.sealed && !this.hasAttribute("streaming");
    this.words = { ...words, ...this.json("texts") };
    this.reasons = this.#ordered(reasons);
    if (this.#loaded && this.#loaded !== this.sealed) this.#reset();
    this.#syncs = [];
    this.#box.setAttribute("aria-label", this.words.group);
    this.#box.replaceChildren(...(ready ? [firstStep(this), panel(this), about(this), foot(this, this.#status)] : [this.#status]));
    this.sync();
    if (!ready || this.#loaded) return;
    this.#loaded = this.sealed;
    this.#restore(this.ballot);
    this.#unwatch();
    const facts = () => ({ ...this.facts, solicited: this.asked });
    this.#unwatch = onceSeen(this, () => exposed(this.base, this.sealed, facts()));
  }

  #reset() {
    this.ballot = new Ballot(this);
    this.points = new Set();
    this.panelOpen = this.aboutOpen = this.skipped = this.may = false;
    this.improve = null;
    this.#loaded = null;
    this.#fill();
    this.#say("");
  }

  /** Shuffled by the token, so that no reason is favoured by its place; those that stay last stay last. */
  #ordered(known) {
    const last = known.filter((one) => one[2]);
    const own = Object.entries(this.json("reasons") ?? {}).filter(([code]) => !last.some((one) => one[0] === code));
    const free = own.length ? own : known.filter((one) => !one[2]);
    return [...shuffled(free, this.sealed ?? ""), ...last];
  }

  onsync(change) {
    this.#syncs.push(change);
  }

  sync() {
    this.#box.classList.toggle("quiet", !this.asked && !this.ballot.voted);
    for (const change of this.#syncs) change();
  }

  #say(key) {
    this.#status.textContent = key && this.words[key];
  }

  async #restore(ballot) {
    const asking = this.optedOut || mayAsk(this.base, this.sealed, this.facts.surface);
    const usable = await ballot.restore();
    const may = await asking;
    if (ballot !== this.ballot) return;
    this.may = may;
    if (!ballot.acted) this.#fill();
    this.improve ??= Object.values(this.votes).find((one) => one.consent)?.consent.improve;
    this.sync();
    if (!usable) this.#expire();
  }

  #fill() {
    this.draft = new Draft(this.votes[this.main], this.votes.user_correction);
  }

  #expire() {
    this.#say("expired");
    for (const control of this.#box.querySelectorAll(".row :is(button, input)")) control.disabled = true;
  }

  // --- voting ---
  thumbs(up) {
    this.#vote(this.main, { value: Number(up) });
    if (up) this.panelOpen = false;
    else this.openPanel();
    this.sync();
  }

  stars(value) {
    this.#vote(this.main, { value }, STARS_MS);
    this.panelOpen = value <= 2;
    this.sync();
  }

  factual(label) {
    this.#vote("user_factual", label === "neutral" ? { label } : { label, value: Number(label === "pass") });
    this.sync();
  }

  prefer(label) {
    this.#vote(this.main, { label });
    this.sync();
  }

  #vote(name, row, delay) {
    const positions = Object.fromEntries(this.reasons.map(([code], at) => [code, at + 1]));
    this.ballot.say(name, { ...row, positions }, this.asked, delay);
    if (name === this.main && !this.ballot.negative) this.draft.reasons.clear();
    this.#say("thanks");
  }

  retract(name) {
    this.ballot.retract(name);
    if (name === this.main) {
      this.panelOpen = false;
      this.#fill();
    }
    this.#say("gone");
    this.sync();
  }

  /** Take back all that was said of this answer. */
  undo(said = "gone") {
    this.aboutOpen = false;
    for (const name of Object.keys(this.votes)) this.ballot.retract(name);
    this.panelOpen = false;
    this.#fill();
    this.#say(said);
    this.sync();
    this.#focusFirst();
  }

  /** What became of a vote: `saved`, `queued`, `rejected` or `expired`. Pages hear it as the event `backspan-feedback`. */
  told(name, said, vote) {
    if (said === "queued") this.#say("queued");
    else if (said === "saved" && this.#status.textContent === this.words.queued) this.#say(vote ? "thanks" : "gone");
    else if (said === "rejected") this.#say("failed");
    if (name === this.main && (said === "rejected" || said === "expired")) this.#fill();
    this.sync();
    if (said === "expired") this.#expire();
    this.dispatchEvent(new CustomEvent("backspan-feedback", { bubbles: true, composed: true, detail: { name, said, vote } }));
  }

  skip() {
    this.skipped = true;
    this.ballot.skip(this.main);
    this.#say("skipped");
    this.sync();
    this.#focusFirst();
  }

  toggleOptOut() {
    optOut(!this.optedOut);
    this.#say(this.optedOut ? "stopped" : "asking");
    this.sync();
  }

  // --- the second step ---
  toggleReason(code) {
    this.draft.toggle(code);
    this.sync();
  }

  openPanel(part) {
    this.panelOpen = true;
    this.aboutOpen = false;
    this.sync();
    this.#box.querySelector("form").focus({ preventScroll: true });
    if (part) this.reveal(part);
  }

  /** Close; chosen reasons are kept, words that were not sent stay in the fields. */
  closePanel() {
    this.panelOpen = false;
    this.#sendDetails(this.votes[this.main]?.comment ?? "");
    this.sync();
    this.#focusFirst();
  }

  reveal(part) {
    if (part === "comment") this.draft.say = true;
    else {
      this.draft.correct = true;
      this.draft.correction ||= this.#original();
    }
    this.sync();
    this.areas[part].focus();
  }

  #original() {
    return this.answer?.innerText.trim() ?? "";
  }

  submit() {
    const comment = this.draft.comment.trim();
    const correction = this.draft.corrected(this.#original(), this.votes.user_correction);
    this.panelOpen = false;
    if (correction) {
      const { quote } = this.draft;
      this.#vote("user_correction", this.kind === "inline" ? { correction, quote, comment } : { correction, quote });
    }
    this.#sendDetails(comment);
    this.sync();
    this.#focusFirst();
  }

  #sendDetails(comment) {
    const main = this.votes[this.main];
    if (!main) return;
    const reasons = this.ballot.negative ? [...this.draft.reasons].sort() : [];
    if (comment === (main.comment ?? "") && `${reasons}` === `${[...(main.reasons ?? [])].sort()}`) return;
    this.#vote(this.main, { ...main, reasons, comment });
  }

  /** May all that was said here be used to improve the assistant? What was sent already is sent again with that. */
  allow(improve) {
    this.improve = improve;
    for (const name of new Set([this.main, "user_factual", "user_correction"])) {
      if (this.votes[name]) this.#vote(name, this.votes[name]);
    }
    this.sync();
  }

  #selected() {
    const found = this.panelOpen && this.draft.correct && selectedIn(this.answer);
    if (!found || found.text.length > MOST_QUOTE) return;
    this.draft.quote = found;
    this.sync();
  }

  unquote() {
    this.draft.quote = null;
    this.sync();
    this.areas.correction.focus();
  }

  toggleAbout() {
    this.aboutOpen = !this.aboutOpen;
    this.panelOpen = false;
    this.sync();
    this.#box.querySelector(this.aboutOpen ? "#about" : ".end").focus({ preventScroll: true });
  }

  #focusFirst() {
    const chosen = this.#box.querySelector(".row :is([aria-pressed=true], :checked)");
    (chosen ?? this.#box.querySelector(".row :is(button, input)")).focus({ preventScroll: true });
  }
}
