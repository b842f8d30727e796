// A thin wrapper: React sets what changes, the element does the rest. Without JSX, so that it runs as it is.
import { createElement as h, useEffect, useRef, useState } from "react";
import { createRoot } from "react-dom/client";

/** `<Feedback token={token} streaming={streaming} onVote={(detail) => …} />`; other properties become attributes. */
export function Feedback({ token, streaming = false, onVote, ...attributes }) {
  const element = useRef(null);
  useEffect(() => {
    const heard = (event) => onVote?.(event.detail);
    const there = element.current;
    there.addEventListener("backspan-feedback", heard);
    return () => there.removeEventListener("backspan-feedback", heard);
  }, [onVote]);
  return h("backspan-feedback", { ref: element, token, streaming: streaming ? "" : undefined, ...attributes });
}

function App() {
  const [reply, setReply] = useState(null);
  const [said, setSaid] = useState("");
  useEffect(() => {
    fetch("/answer").then((answer) => answer.json()).then(setReply);
  }, []);
  return h("main", null,
    h("h1", null, "How long are gift cards valid?"),
    h("div", { className: "answer", id: "answer" }, h("p", null, reply?.answer ?? "…")),
    h(Feedback, { for: "answer", token: reply?.feedback_token, streaming: !reply, onVote: (vote) => setSaid(vote.said) }),
    h("p", { id: "said" }, said));
}

createRoot(document.querySelector("#app")).render(h(App));
