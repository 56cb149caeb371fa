self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("message", async (event) => {
  try {
    const answer = await fetch(event.data, { credentials: "include" });
    event.ports[0].postMessage(await answer.text());
  } catch (error) {
    event.ports[0].postMessage(`refused: ${error}`);
  }
});
