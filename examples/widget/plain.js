// The element waits, hidden, until the answer is complete and its token is known.
const element = document.querySelector("backspan-feedback");

const reply = await (await fetch("/answer")).json(); // {"answer": …, "feedback_token": …}
document.querySelector("#answer p").textContent = reply.answer;
element.setAttribute("token", reply.feedback_token);
element.removeAttribute("streaming");

element.addEventListener("backspan-feedback", (event) => {
  console.log(event.detail.name, event.detail.said); // user_thumbs saved
});
