// Ask, show the answer as it is written, and put the widget under it; its token is in the last event.
const form = document.querySelector("form");
const session = crypto.randomUUID();

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { answer, feedback } = blank();
  const asked = JSON.stringify({ question: form.question.value, session, stream: true });
  const reply = await fetch("/chat", { method: "POST", headers: { "Content-Type": "application/json" }, body: asked });
  for await (const [kind, data] of events(reply.body)) {
    if (kind === "piece") answer.textContent += data;
    else if (kind === "failed") answer.textContent = data;
    else feedback.setAttribute("token", data.feedback_token ?? "");
  }
  feedback.removeAttribute("streaming");
});

function blank() {
  const answer = Object.assign(document.createElement("div"), { className: "answer", id: `answer-${Date.now()}` });
  const feedback = document.createElement("backspan-feedback");
  feedback.setAttribute("for", answer.id);
  feedback.setAttribute("streaming", "");
  document.querySelector("#answers").prepend(answer, feedback);
  return { answer, feedback };
}

/** Server-sent events of a body: pairs of the event's name and its data. */
async function* events(body) {
  let left = "";
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let part; !(part = await reader.read()).done; ) {
    const blocks = (left + part.value).split("\n\n");
    left = blocks.pop();
    for (const block of blocks) {
      const [kind, data] = block.split("\n").map((line) => line.slice(line.indexOf(": ") + 2));
      yield [kind, JSON.parse(data)];
    }
  }
}
