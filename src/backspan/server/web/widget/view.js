// The parts on the screen: native controls, built once and then only switched, so that focus is never lost.

const SVG = "http://www.w3.org/2000/svg";
const THUMB = "M7.5 10.5v10h-3a1.5 1.5 0 0 1-1.5-1.5v-7a1.5 1.5 0 0 1 1.5-1.5zl3.8-7.4a2.6 2.6 0 0 1 2.6 2.6v3.8"
  + "h5a2.1 2.1 0 0 1 2.1 2.5l-1.2 6.8a2.1 2.1 0 0 1-2.1 1.7h-10.2";
const STAR = "M12 3l2.8 5.7 6.2.9-4.5 4.4 1.1 6.2-5.6-2.9-5.6 2.9 1.1-6.2-4.5-4.4 6.2-.9z";
const INFO = "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 11v5.5M12 7.6v.1";
const MOST_COMMENT = 4096;
const MOST_CORRECTION = 16384;

/** An element with properties (names with a dash are attributes) and children. */
export function h(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name.includes("-")) made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((one) => one !== null));
  return made;
}

function icon(path) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

const button = (className, inner, onclick, more) => h("button", { type: "button", className, onclick, ...more }, inner);
const named = (name) => ({ title: name, "aria-label": name });

// Nothing is returned: a handler's `false` would keep the key from whatever it is for.
const onEscape = (act) => (event) => {
  if (event.key !== "Escape") return;
  event.stopPropagation();
  act();
};

function thumb(me, up) {
  const name = me.words[up ? "yes" : "no"];
  const pressed = () => me.votes.user_thumbs?.value === Number(up);
  const made = button(`vote icon ${up ? "up" : "down"}`, icon(THUMB),
    () => (pressed() ? me.retract("user_thumbs") : me.thumbs(up)), named(name));
  me.onsync(() => made.setAttribute("aria-pressed", pressed()));
  return made;
}

/** Choices of which one or none holds: radio buttons, of which the chosen one can be taken back by choosing it again. */
function choices(me, { name, title, quiet, list, current, choose, retract, inner, className }) {
  const options = list.map(([value, text]) => {
    const input = h("input", {
      type: "radio", name, value, onclick: () => (current() === value ? retract() : choose(value)),
    });
    if (inner) input.setAttribute("aria-label", text);
    const label = h("label", { className }, input, inner ? inner() : text);
    me.onsync(() => {
      input.checked = current() === value;
      label.classList.toggle("on", inner ? current() >= value : input.checked);
    });
    return label;
  });
  const group = inner ? "stars" : "chips";
  return h("fieldset", {}, h("legend", { className: quiet ? "away" : "" }, title), h("div", { className: group }, ...options));
}

function stars(me) {
  return choices(me, {
    name: "stars", title: me.words.stars, quiet: true, className: "star", inner: () => icon(STAR),
    list: [1, 2, 3, 4, 5].map((n) => [n, me.words.star.replace("{n}", n)]),
    current: () => me.votes.user_stars?.value, choose: (n) => me.stars(n), retract: () => me.retract("user_stars"),
  });
}

function factual(me) {
  const list = [["fail", me.words.wrong], ["pass", me.words.right], ["neutral", me.words.unsure]];
  return choices(me, {
    name: "factual", title: me.words.factual, className: "chip", list, current: () => me.votes.user_factual?.label,
    choose: (label) => me.factual(label), retract: () => me.retract("user_factual"),
  });
}

function compared(me) {
  return ["win", "loss", "tie"].map((label, at) => {
    const pressed = () => me.votes.user_preference?.label === label;
    const made = button("vote", me.words[["first", "second", "tie"][at]],
      () => (pressed() ? me.retract("user_preference") : me.prefer(label)));
    me.onsync(() => made.setAttribute("aria-pressed", pressed()));
    return made;
  });
}

const CONTROLS = {
  thumbs: (me) => [thumb(me, !me.hasAttribute("swap")), thumb(me, me.hasAttribute("swap"))],
  stars: (me) => [stars(me)],
  compare: compared,
  inline: (me) => [button("vote", me.words.fix, () => me.openPanel("correction"))],
};

/** The first step: the question, its answers, skip, and what happens with it all. */
export function firstStep(me) {
  const about = button("icon end", icon(INFO), () => me.toggleAbout(), { ...named(me.words.about), "aria-controls": "about" });
  const skip = button("plain skip", me.words.skip, () => me.skip());
  me.onsync(() => {
    about.setAttribute("aria-expanded", me.aboutOpen);
    skip.hidden = me.ballot.voted || me.skipped;
  });
  const question = h("span", { className: "question", id: "question" }, me.words[me.kind]);
  return h("div", { className: "row", role: "group", "aria-labelledby": "question" },
    question, h("span", { className: "controls" }, ...CONTROLS[me.kind](me)), skip, about);
}

// --- the second step ---
function reasons(me) {
  const labels = me.reasons.map(([code, text]) => {
    const input = h("input", { type: "checkbox", value: code, onchange: () => me.toggleReason(code) });
    const label = h("label", { className: "chip" }, input, text);
    me.onsync(() => {
      input.checked = me.draft.reasons.has(code);
      label.classList.toggle("on", input.checked);
    });
    return label;
  });
  const made = h("fieldset", {}, h("legend", {}, me.words.why), h("div", { className: "chips" }, ...labels));
  me.onsync(() => (made.hidden = !labels.length || !me.ballot.negative));
  return made;
}

function field(me, key, title, most, shown) {
  const area = h("textarea", { maxLength: most, oninput: () => (me.draft[key] = area.value) });
  const hint = h("span", { className: "hint", id: `${key}-hint` }, me.words.hint);
  area.setAttribute("aria-describedby", hint.id);
  const made = h("div", {}, h("label", { className: "field" }, title, area), hint);
  me.onsync(() => {
    made.hidden = !shown();
    if (area.value !== me.draft[key]) area.value = me.draft[key];
  });
  me.areas[key] = area;
  return made;
}

function quoted(me) {
  const text = h("blockquote");
  const hint = h("p", { className: "hint" });
  const remove = button("link", me.words.unquote, () => me.unquote());
  const made = h("div", {}, hint, text, remove);
  me.onsync(() => {
    const { quote, correct } = me.draft;
    made.hidden = !correct || !me.answer;
    text.hidden = remove.hidden = !quote;
    text.textContent = quote?.text ?? "";
    hint.textContent = me.words[quote ? "quote" : "quote_hint"];
  });
  return made;
}

function adders(me) {
  const comment = button("outlined", me.words.add, () => me.reveal("comment"));
  const correct = button("outlined", me.words.fix, () => me.reveal("correction"));
  me.onsync(() => {
    comment.hidden = me.draft.say;
    correct.hidden = me.draft.correct || me.kind === "compare";
  });
  return h("div", { className: "foot" }, comment, correct);
}

/** Not ticked unless the person does, or has agreed before. It holds for all that was said of this answer. */
function improve(me) {
  const box = h("input", { type: "checkbox", onchange: () => me.allow(box.checked) });
  me.onsync(() => (box.checked = me.agreed.consent?.improve));
  return h("label", { className: "foot tick" }, box, me.words.improve);
}

/** The second step: reasons, the other question, and room for words; each opens only when it is wanted. */
export function panel(me) {
  const actions = h("div", { className: "foot" }, h("button", { className: "send" }, me.words.send),
    button("plain", me.words.close, () => me.closePanel()));
  const made = h("form", {
    className: "panel", tabIndex: -1, "aria-label": me.words.more, noValidate: true,
    onsubmit: (event) => (event.preventDefault(), me.submit()),
    onkeydown: onEscape(() => me.closePanel()),
  }, reasons(me), me.asksFactual && (me.kind === "thumbs" || me.kind === "stars") ? factual(me) : null,
  field(me, "correction", me.words.correction, MOST_CORRECTION, () => me.draft.correct), quoted(me),
  field(me, "comment", me.words.comment, MOST_COMMENT, () => me.draft.say), adders(me), me.asksImprove ? improve(me) : null, actions);
  me.onsync(() => (made.hidden = !me.panelOpen));
  return made;
}

/** What happens with feedback, and the ways out. */
export function about(me) {
  const policy = me.getAttribute("policy");
  const link = policy ? h("a", { className: "link", href: policy, target: "_blank", rel: "noopener" }, me.words.policy) : null;
  const erase = button("outlined", me.words.erase, () => me.undo("erased"));
  const stop = button("outlined", "", () => me.toggleOptOut());
  const made = h("section", {
    className: "panel", id: "about", tabIndex: -1, "aria-label": me.words.about,
    onkeydown: onEscape(() => me.toggleAbout()),
  }, h("p", {}, me.words.use, " ", ...(link ? [link] : [])), h("div", { className: "foot" }, erase, stop));
  me.onsync(() => {
    made.hidden = !me.aboutOpen;
    erase.disabled = !me.ballot.voted;
    stop.textContent = me.words[me.optedOut ? "again" : "stop"];
  });
  return made;
}

/** What a screen reader is told, and the way back. The live region is there from the start, and stays. */
export function foot(me, status) {
  const more = button("link", me.words.more, () => me.openPanel());
  const undo = button("link", me.words.undo, () => me.undo());
  me.onsync(() => {
    more.hidden = !me.ballot.voted || me.panelOpen;
    undo.hidden = !me.ballot.voted;
  });
  return h("div", { className: "foot" }, status, more, undo);
}
