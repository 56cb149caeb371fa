"use strict";

// Times in the reader's own clock and zone; the page says them in UTC for whoever runs no scripts.
const clock = (when) => {
  const now = new Date();
  const hours = { hour: "2-digit", minute: "2-digit" };
  const isToday = when.toDateString() === now.toDateString();
  return isToday ? when.toLocaleTimeString([], hours) : when.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
};
for (const time of document.querySelectorAll("time[data-clock]")) {
  time.title = time.dateTime;
  time.textContent = clock(new Date(time.dateTime));
}

// What is left of an open session. When it is over, the page is fetched anew and says so.
const left = (when) => {
  const seconds = Math.max(0, Math.round((when - Date.now()) / 1000));
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const rest = `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  return { seconds, text: hours > 0 ? `${hours}:${rest}` : rest };
};
const counting = [...document.querySelectorAll("time[data-left]")].map((time) => {
  const shown = document.createElement("span");
  shown.className = "left";
  shown.setAttribute("role", "timer");
  time.after(" · ", shown);
  return { shown, when: new Date(time.dateTime) };
});
const tick = () => {
  for (const { shown, when } of counting) {
    const { seconds, text } = left(when);
    shown.textContent = text;
    if (seconds === 0) {
      clearInterval(ticking);
      setTimeout(() => location.reload(), 1000);
    }
  }
};
const ticking = counting.length > 0 ? setInterval(tick, 1000) : 0;
if (counting.length > 0) {
  tick();
}

// "Until" a time of the reader's own day; one that is past is tomorrow's.
for (const form of document.querySelectorAll("form[data-until]")) {
  form.hidden = false;
  form.addEventListener("submit", () => {
    const [hour, minute] = form.querySelector("input[type=time]").value.split(":").map(Number);
    const until = new Date();
    until.setHours(hour, minute, 0, 0);
    if (until <= new Date()) {
      until.setDate(until.getDate() + 1);
    }
    form.elements.until.value = until.toISOString();
  });
}
