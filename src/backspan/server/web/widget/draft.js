// What is being said in the second step, and not sent yet.

const NOT_SAID = "not_said"; // chosen alone, or not at all

export class Draft {
  /** Begin with what stands: `main` is the vote that reasons and comment belong to, `known` the correction. */
  constructor(main = {}, known = {}) {
    this.reasons = new Set(main.reasons);
    this.comment = main.comment ?? "";
    this.say = !!main.comment;
    this.correction = known.correction ?? "";
    this.correct = !!this.correction;
    this.quote = known.quote;
  }

  toggle(code) {
    if (!this.reasons.delete(code)) this.reasons.add(code);
    if (code === NOT_SAID) this.reasons = new Set(this.reasons.has(code) ? [code] : []);
    else this.reasons.delete(NOT_SAID);
    this.say ||= this.reasons.has("other");
  }

  /** The correction, if there is one that differs from the answer and from what was said before. */
  corrected(original, known = {}) {
    const text = this.correction.trim();
    return this.correct && text && text !== original && (text !== known.correction || this.quote !== known.quote) && text;
  }
}
