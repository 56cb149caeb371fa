"use strict";

// A button beside what is to be pasted elsewhere; without a clipboard it is marked by one press, as the style says.
const words = { en: ["Copy", "Copied"], de: ["Kopieren", "Kopiert"], es: ["Copiar", "Copiado"] }[document.documentElement.lang] ?? ["Copy", "Copied"];
if (navigator.clipboard) {
  for (const block of document.querySelectorAll("pre.copy")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet";
    button.textContent = words[0];
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(block.textContent);
      button.textContent = words[1];
      setTimeout(() => { button.textContent = words[0]; }, 2000);
    });
    block.after(button);
  }
}

// Whether the device has come. It is asked for until it is online, or the page is left.
const arrival = document.getElementById("arrival");
const ask = async () => {
  try {
    const answer = await fetch(arrival.dataset.ask, { headers: { accept: "application/json" } });
    if (answer.status === 401 || answer.status === 404) {
      return;
    }
    const { device, "is-online": isOnline } = await answer.json();
    if (device !== null) {
      const link = document.createElement("a");
      link.href = `/devices/${device}/services`;
      link.textContent = device;
      const line = document.createElement("p");
      line.className = "done";
      line.append(isOnline ? arrival.dataset.online : arrival.dataset.joined, " ", link);
      if (arrival.textContent.trim() !== line.textContent) {
        arrival.replaceChildren(line);
      }
      if (isOnline) {
        return;
      }
    }
  } catch {
    // The gateway may be away for a moment.
  }
  setTimeout(ask, 2000);
};
if (arrival) {
  ask();
}

// A look around takes a while; the page is fetched anew until it is over.
if (document.querySelector("[data-again]")) {
  setTimeout(() => location.reload(), 3000);
}
