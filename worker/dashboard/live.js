"use strict";
const byId = (id) => document.getElementById(id);

// The token comes behind the #, which no browser sends anywhere, and is kept for when the page is loaded again.
if (location.hash.length > 1) {
  sessionStorage.setItem("token", location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
}
const token = sessionStorage.getItem("token");
byId("steering").hidden = !token;
byId("no-token").hidden = !!token;

async function tell(what, text = "") {
  byId("said").textContent = "";
  try {
    const answer = await fetch(what, { method: "POST", headers: { "X-Bulklink-Token": token }, body: text });
    byId("said").textContent = await answer.text();
  } catch {
    byId("said").textContent = "No answer: the run has ended, or cannot be reached.";
  }
}
byId("pause").addEventListener("click", () => tell("pause"));
byId("resume").addEventListener("click", () => tell("resume"));
byId("slower").addEventListener("submit", (event) => {
  event.preventDefault();
  tell("rate", byId("rate").value);
});

const events = new EventSource("events");
events.addEventListener("parts", (event) => {
  for (const [id, html] of Object.entries(JSON.parse(event.data))) {
    byId(id).innerHTML = html; // made by the server, which has escaped what others wrote
  }
});
events.addEventListener("end", () => {
  events.close();
  byId("steering").hidden = true;
  byId("line").textContent = "The run has ended.";
});
events.addEventListener("open", () => { byId("line").textContent = ""; });
events.addEventListener("error", () => {
  byId("line").textContent = `Not connected since ${new Date().toLocaleTimeString()}: the figures are old. Trying again.`;
});
