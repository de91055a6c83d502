// The page works without this: it only adds what the browser's clock says, and brings the answer into view.
const form = document.querySelector("form");
form.addEventListener("submit", () => {
  form.elements.client_time.value = new Date().toISOString();
});
const answer = document.getElementById("answer");
if (answer) answer.focus();
