"use strict";
// Who is looking, as it changes.
const size = (bytes) => {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; bytes >= 1000 && unit < units.length - 1; unit += 1) {
    bytes /= 1000;
  }
  return `${bytes.toFixed(unit > 0 && bytes < 100 ? 1 : 0)} ${units[unit]}`;
};
const line = (viewer, words) => {
  const item = document.createElement("li");
  const dot = document.createElement("span");
  dot.className = viewer.looking ? "dot on" : "dot";
  const said = document.createElement("span");
  said.className = "unseen";
  said.textContent = viewer.looking ? `${words.looking} ` : "";
  const time = document.createElement("time");
  time.dateTime = viewer.since;
  time.textContent = new Date(viewer.since).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  item.append(dot, said, `${viewer.source} · ${words.since} `, time, ` · ${size(viewer["bytes-down"])}`);
  return item;
};
const rows = [...document.querySelectorAll("[data-share]")];
const look = async () => {
  const answer = await fetch("/api/v1/shares");
  if (!answer.ok) {
    return;
  }
  const shares = new Map((await answer.json()).map((share) => [String(share.id), share]));
  for (const row of rows) {
    const share = shares.get(row.dataset.share);
    if (!share || share.standing === "over" || share.standing === "revoked") {
      location.reload();
      return;
    }
    row.querySelector("[data-used]").textContent = share.used;
    const list = row.querySelector("[data-viewers]");
    list.replaceChildren(...share.viewers.map((viewer) => line(viewer, list.dataset)));
  }
};
if (rows.length > 0) {
  setInterval(() => look().catch(() => {}), 3000);
}
