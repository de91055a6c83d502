// Everything works without this. It adds buttons that copy, brings what an action answered into view, and lets a page
// that shows what comes in rest while nobody sees it.
const COPIED_MS = 2000;
const MOST_ROWS = 200;

function addCopyButtons(root) {
  for (const box of root.querySelectorAll("[data-copy]:not(.has-copy)")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "small copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy ${box.dataset.copy}`);
    button.addEventListener("click", () => copy(box, button));
    box.classList.add("has-copy");
    box.append(button);
  }
}

async function copy(box, button) {
  const text = box.querySelector("code, pre").textContent;
  try {
    await navigator.clipboard.writeText(text); // only where the page came by https, or from this machine
    say(button, "Copied");
  } catch {
    getSelection().selectAllChildren(box.querySelector("code, pre"));
    say(button, "Press Ctrl+C");
  }
}

function say(button, words) {
  button.textContent = words;
  document.getElementById("said").textContent = words;
  setTimeout(() => { button.textContent = "Copy"; }, COPIED_MS);
}

function showAnswer(root) {
  const answer = root.querySelector("[data-answer]");
  if (answer) answer.focus();
}

document.addEventListener("submit", () => document.getElementById("problem")?.replaceChildren());
function dropOldRows(root) {
  for (const rows of root.querySelectorAll("[data-tail]")) {
    while (rows.children.length > MOST_ROWS) rows.lastElementChild.remove();
  }
}

addCopyButtons(document);
showAnswer(document);
document.addEventListener("htmx:after:swap", () => {
  addCopyButtons(document);
  showAnswer(document);
  dropOldRows(document);
});
document.addEventListener("htmx:before:request", (event) => {
  if (document.hidden && event.target.matches?.("[data-rests]")) event.preventDefault();
});
