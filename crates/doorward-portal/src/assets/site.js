"use strict";

// Times in the reader's own clock and zone; the page says them in UTC for whoever runs no scripts. What is left of a session
// is counted by the gateway's clock, which the page brings along: the reader's own may be wrong.
const doorward = (() => {
  let ahead = 0;
  const itIs = (now) => { ahead = new Date(now) - Date.now(); };
  const clock = (when) => {
    const now = new Date();
    const hours = { hour: "2-digit", minute: "2-digit" };
    const isToday = when.toDateString() === now.toDateString();
    return isToday ? when.toLocaleTimeString([], hours) : when.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  };

  // What is left of an open session. When it is over, the page is fetched anew and says so.
  const left = (when) => {
    const seconds = Math.max(0, Math.round((when - Date.now() - ahead) / 1000));
    const two = (n) => String(n).padStart(2, "0");
    const hours = Math.floor(seconds / 3600);
    const rest = `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
    return { seconds, text: hours > 0 ? `${hours}:${rest}` : rest };
  };
  const tick = () => {
    for (const time of document.querySelectorAll("time[data-left]")) {
      const { seconds, text } = left(new Date(time.dateTime));
      if (time.shown.textContent !== text) time.shown.textContent = text;
      if (seconds === 0 && !time.isOver) {
        time.isOver = true;
        setTimeout(() => {
          const isLeftToUs = document.dispatchEvent(new Event("doorward:over", { cancelable: true }));
          if (isLeftToUs) location.reload();
        }, 1000);
      }
    }
  };

  // "Until" a time of the reader's own day; one that is past is tomorrow's.
  const untilTime = (form) => {
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
  };

  // A part of the page that has just come.
  const prepare = (part) => {
    for (const time of part.querySelectorAll("time[data-clock]")) {
      time.title = time.dateTime;
      time.textContent = clock(new Date(time.dateTime));
    }
    for (const time of part.querySelectorAll("time[data-left]")) {
      time.shown = document.createElement("span");
      time.shown.className = "left";
      time.shown.setAttribute("role", "timer");
      time.after(" · ", time.shown);
    }
    part.querySelectorAll("form[data-until]").forEach(untilTime);
    if (navigator.clipboard) part.querySelectorAll("button[data-copy]").forEach((button) => { button.hidden = false; });
    tick();
  };

  // As they came, to see later what is new.
  for (const part of document.querySelectorAll("[data-live] > *")) part.pristine = part.outerHTML;
  const now = document.querySelector("[data-now]");
  if (now) itIs(now.dataset.now);
  prepare(document);
  setInterval(tick, 1000);
  return { prepare, itIs };
})();
