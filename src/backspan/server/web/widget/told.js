// What the page says by attributes, read when it is needed. No getter here has an attribute's name: React would set it.

import { baseOf } from "./client.js";
import { optedOut } from "./keep.js";

const MAIN = { thumbs: "user_thumbs", stars: "user_stars", compare: "user_preference", inline: "user_correction" };

export class Told extends HTMLElement {
  get sealed() { return this.getAttribute("token"); }
  get otherToken() { return this.getAttribute("other-token"); }
  get base() { return baseOf(this.getAttribute("endpoint")); }
  get kind() { return MAIN[this.getAttribute("mode")] ? this.getAttribute("mode") : "thumbs"; }
  get main() { return MAIN[this.kind]; }
  get asksFactual() { return this.#asks("factual"); }
  get asksImprove() { return this.#asks("improve"); }
  get answer() { return document.getElementById(this.getAttribute("for")); }
  get optedOut() { return optedOut(); }
  get votes() { return this.ballot.votes; }

  get facts() {
    const facts = { ui_variant: this.getAttribute("variant"), surface: this.getAttribute("surface") };
    return Object.fromEntries(Object.entries(facts).filter(([, value]) => value));
  }

  /** What the person agreed to, as the page knows it and as she says here; kept with each vote. */
  get agreed() {
    const said = (this.getAttribute("consent")?.match(/analytics|improve|contact/g) ?? []).map((one) => [one, true]);
    if (this.improve != null) said.push(["improve", this.improve]);
    return said.length && { consent: Object.fromEntries(said) };
  }

  /** Is the question put, or do people come by themselves? Either way they can vote; the vote says which it was. */
  get asked() {
    const points = (this.getAttribute("prompt-on") ?? "complete").split(" ");
    return this.may && !this.optedOut && !this.skipped && points.some((one) => one === "complete" || this.points.has(one));
  }

  #asks(what) {
    return (this.getAttribute("questions") ?? what).includes(what);
  }

  json(name) {
    try {
      return JSON.parse(this.getAttribute(name));
    } catch {
      return console.warn("not JSON:", name);
    }
  }
}
