// An order that is fair over many answers, and the same whenever one answer is shown again: each item has its place by a
// hash (FNV-1a) of its code and of the seed.

/** A copy of `list` (items begin with a code) in the order that `seed` gives. */
export function shuffled(list, seed) {
  const places = new Map(list.map((one) => [one, hash(one[0] + seed)]));
  return [...list].sort((one, other) => places.get(one) - places.get(other));
}

function hash(text) {
  let state = 2166136261;
  for (const sign of text) state = Math.imul(state ^ sign.codePointAt(0), 16777619);
  return state;
}
