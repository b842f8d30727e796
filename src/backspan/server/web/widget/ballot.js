// What one person said of one answer: shown at once, confirmed by the gateway, rolled back when it was refused.

import { put, standing, waiting } from "./client.js";

const RANKS = { win: [1, 2], loss: [2, 1], tie: [1, 1] };

export class Ballot {
  /** Votes as they are shown, by name. */
  votes = {};
  /** Has the person said something on this page? Then what comes from the gateway is no news. */
  acted = false;
  #confirmed = {};
  #page;

  /** `page` tells `base`, `sealed` (the token), `otherToken`, `facts` and `agreed`, and hears `told(name, said, vote)`. */
  constructor(page) {
    this.#page = page;
  }

  get voted() {
    return Object.keys(this.votes).length > 0;
  }

  get negative() {
    return this.votes.user_thumbs?.value === 0 || this.votes.user_stars?.value <= 2;
  }

  /** Fetch what was said before. False if the token is of no use any more. */
  async restore() {
    const known = await standing(this.#page.base, this.#page.sealed);
    if (known === "expired") return false;
    this.#confirmed = known ?? {};
    const mine = { ...this.#confirmed, ...this.votes };
    for (const { name, row, body } of waiting(this.#page.sealed)) {
      if (row) mine[name] = row;
      else if (!body?.skip) delete mine[name];
    }
    this.votes = mine;
    return true;
  }

  /** Say something: `row` as the API shows it. Whether it was asked for stays as it was at first. */
  say(name, row, solicited, delay) {
    const vote = { name, ...row, ...this.#page.agreed, solicited: this.votes[name]?.solicited ?? solicited };
    this.votes = { ...this.votes, [name]: vote };
    this.#send(name, vote, delay);
  }

  retract(name) {
    this.#drop(name);
    this.#send(name, null);
  }

  /** The question was seen and passed over: counted, and no vote. */
  skip(name) {
    const { base, sealed: token, facts } = this.#page;
    put({ base, token, name, body: { name, skip: true, ...facts } }, () => {});
  }

  #drop(name) {
    const { [name]: _, ...others } = this.votes;
    this.votes = others;
  }

  #send(name, row, delay) {
    this.acted = true;
    const { base, sealed: token, facts } = this.#page;
    const compared = name === "user_preference" && { candidates: this.#candidates(row) };
    const body = row ? { ...bodyOf(row), ...compared, ...facts } : compared && { name, retract: true, ...compared };
    put({ base, token, name, row, body }, (said) => this.#told(name, row, said), delay);
  }

  /** Both answers in the order in which they were shown; one is judged by the other, so both are in one request. */
  #candidates(row) {
    const ranks = row && RANKS[row.label];
    return [this.#page.sealed, this.#page.otherToken].map((token, at) => (
      { token, position: at + 1, ...(ranks && { rank: ranks[at] }) }));
  }

  #told(name, row, said) {
    if (said === "saved") this.#confirmed[name] = row;
    else if (said !== "queued") {
      this.#drop(name);
      if (this.#confirmed[name]) this.votes = { ...this.votes, [name]: this.#confirmed[name] };
    }
    this.#page.told(name, said, row);
  }
}

/** A vote as the API takes it. Thumbs and stars have their labels by their values. */
function bodyOf({ name, value, label, reasons, positions, comment, correction, quote, solicited, consent }) {
  const given = value !== undefined && value !== null;
  const scored = given ? { value: name === "user_factual" ? value === 1 : value } : name !== "user_preference" && { label };
  const verdict = correction ? { correction } : { name, ...scored };
  const why = reasons?.length && { reasons, positions };
  return { ...verdict, solicited, ...why, comment: comment || undefined, quote: quote || undefined, consent: consent || undefined };
}
