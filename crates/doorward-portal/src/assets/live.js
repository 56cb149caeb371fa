"use strict";
// Keeps what is marked data-live as the gateway has it now: told that something changed (server-sent events), it fetches the
// page anew and takes over the parts that differ. Without it, reloading the page does the same.
(() => {
  const news = document.getElementById("news");
  const stale = document.getElementById("stale");
  const SOON = 200;
  const AT_MOST_EVERY = 1500;
  const WITHOUT_EVENTS = 30000;

  // A document made by the browser: no text is made into markup here.
  const fetched = () => new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", location.href);
    request.setRequestHeader("Accept", "text/html");
    request.responseType = "document";
    request.timeout = 20000;
    request.onload = () => resolve(request);
    request.onerror = request.ontimeout = () => reject(new Error("no answer"));
    request.send();
  });

  const isTyping = (part) => {
    const active = document.activeElement;
    return part.contains(active) && active.matches("input:not([type=hidden]), select, textarea");
  };
  // Whoever stood on a button stands on its successor; what was unfolded stays so.
  const takeOver = (before, after) => {
    const open = [...before.querySelectorAll("details")].map((details) => details.open);
    after.querySelectorAll("details").forEach((details, n) => { details.open = open[n] ?? details.open; });
    const active = before.contains(document.activeElement) ? document.activeElement : null;
    before.replaceWith(after);
    if (!active) return;
    const places = [...after.querySelectorAll("a[href], button, summary")];
    (places.find((place) => place.textContent === active.textContent) ?? places[0])?.focus();
  };

  // The parts of one list, by their ids.
  const renew = (list, fresh, said) => {
    const known = new Map([...list.children].map((part) => [part.id, part]));
    let previous = null;
    for (const part of [...fresh.children]) {
      const before = known.get(part.id);
      known.delete(part.id);
      let now = before;
      if (!before || (before.pristine !== part.outerHTML && !isTyping(before))) {
        now = document.importNode(part, true);
        now.pristine = part.outerHTML;
        if (before) takeOver(before, now);
        if (part.dataset.said !== before?.dataset.said) said.push(part.dataset.said);
        doorward.prepare(now);
      }
      const place = previous ? previous.nextElementSibling : list.firstElementChild;
      if (place !== now) list.insertBefore(now, place);
      previous = now;
    }
    for (const gone of known.values()) gone.remove();
  };

  let isBusy = false;
  const refresh = async () => {
    if (isBusy) return ask();
    isBusy = true;
    try {
      const { status, response } = await fetched();
      // Signed out, or it is not for them any more: the page itself says so.
      if (status === 401 || status === 403 || status === 404) return location.reload();
      if (status !== 200 || !response) throw new Error(status);
      const lists = [...document.querySelectorAll("[data-live]")];
      const all = [...response.querySelectorAll("[data-live]")];
      if (lists.map((list) => list.id).join() !== all.map((list) => list.id).join()) return location.reload();
      const said = [];
      lists.forEach((list, n) => renew(list, all[n], said));
      const now = response.getElementById("news")?.dataset.now;
      if (now) doorward.itIs(now);
      const words = said.filter(Boolean).join(". ");
      if (words) news.textContent = words;
      stale.hidden = true;
    } catch {
      stale.hidden = false;
    } finally {
      isBusy = false;
    }
  };

  let waiting = 0;
  let last = 0;
  const ask = () => {
    if (waiting || document.hidden) return;
    const pause = Math.max(SOON, last + AT_MOST_EVERY - performance.now());
    waiting = setTimeout(() => {
      waiting = 0;
      last = performance.now();
      refresh();
    }, pause);
  };

  let events = null;
  let again = 0;
  const look = () => {
    clearTimeout(again);
    events?.close();
    events = new EventSource("/api/v1/events");
    let wasLost = false;
    for (const word of ["change", "presence", "figures", "reload"]) events.addEventListener(word, ask);
    events.addEventListener("hello", () => { if (wasLost) ask(); wasLost = false; });
    events.addEventListener("error", () => {
      wasLost = true;
      ask();
      // Closed for good: too many look on, or nobody is signed in.
      if (events.readyState === EventSource.CLOSED) again = setTimeout(() => { ask(); look(); }, WITHOUT_EVENTS);
    });
  };
  // A page that nobody sees holds no connection.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      clearTimeout(again);
      events?.close();
    } else {
      ask();
      look();
    }
  });
  addEventListener("pagehide", () => events?.close());
  document.addEventListener("doorward:over", (event) => {
    event.preventDefault();
    ask();
  });
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("button[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(button.dataset.copy);
    news.textContent = news.dataset.copied;
    const before = button.firstChild.textContent;
    button.firstChild.textContent = news.dataset.copied;
    setTimeout(() => { button.firstChild.textContent = before; }, 2000);
  });
  if (!document.hidden) look();
})();
