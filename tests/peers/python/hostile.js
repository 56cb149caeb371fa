// Whatever a device's page can try at the portal and at a sibling, in the name of whoever looks at it. Each attempt comes
// to a text: what was read, or why nothing was.

const LIMIT = 4000;

function within(attempt) {
  const late = new Promise((done) => setTimeout(() => done("nothing came"), LIMIT));
  return Promise.race([Promise.resolve().then(attempt), late]).then(
    (read) => String(read),
    (error) => `refused: ${error}`,
  );
}

function loaded(element, where) {
  return new Promise((done) => {
    element.onload = () => done("loaded");
    element.onerror = () => done("refused: it is not loaded");
    where.append(element);
  });
}

function requested(url) {
  return new Promise((done) => {
    const request = new XMLHttpRequest();
    request.open("GET", url);
    request.withCredentials = true;
    request.onload = () => done(request.responseText);
    request.onerror = () => done("refused");
    request.send();
  });
}

async function framed(url) {
  const frame = document.createElement("iframe");
  frame.src = url;
  await loaded(frame, document.body);
  return frame.contentWindow.document.documentElement.outerHTML;
}

async function opened(url) {
  const other = window.open(url, "_blank", "popup");
  if (!other) return "refused: no window";
  await new Promise((done) => setTimeout(done, 1500));
  try {
    return other.document.documentElement.outerHTML;
  } finally {
    other.close();
  }
}

function sent(url, fields) {
  const frame = document.createElement("iframe");
  frame.name = `sent-${Math.random()}`;
  const form = document.createElement("form");
  Object.assign(form, { method: "post", action: url, target: frame.name });
  for (const [name, value] of Object.entries(fields)) {
    const input = document.createElement("input");
    Object.assign(input, { name, value });
    form.append(input);
  }
  document.body.append(frame, form);
  return new Promise((done) => {
    frame.onload = () => done("sent");
    form.submit();
  });
}

function socket(url) {
  return new Promise((done) => {
    const opened = new WebSocket(url);
    opened.onopen = () => done("the secret of the vault: a WebSocket was opened");
    opened.onmessage = ({ data }) => done(data);
    opened.onerror = () => done("refused");
  });
}

function events(url) {
  return new Promise((done) => {
    const source = new EventSource(url, { withCredentials: true });
    source.onopen = () => done("olga: events are heard");
    source.onerror = () => done("refused");
  });
}

async function byWorker(url) {
  await navigator.serviceWorker.register("/worker.js");
  const { active } = await navigator.serviceWorker.ready;
  const { port1, port2 } = new MessageChannel();
  const answer = new Promise((done) => (port1.onmessage = ({ data }) => done(data)));
  active.postMessage(url, [port2]);
  return answer;
}

function toss(parent, names) {
  for (const name of names) {
    for (const cookie of [`${name}=tossed`, `=${name}=tossed`, `${name.toLowerCase()}=tossed`]) {
      document.cookie = `${cookie}; Domain=${parent}; Path=/; Secure`;
      document.cookie = `${cookie}; Domain=${parent}; Path=/sign-in; Secure`;
    }
  }
  return document.cookie;
}

async function attack(portal, vault, parent, names) {
  const all = {};
  const attempt = async (name, what) => (all[name] = await within(what));
  for (const [name, host] of Object.entries({ portal, vault })) {
    const url = `https://${host}/`;
    await attempt(`${name}: fetch`, async () => (await fetch(url, { credentials: "include" })).text());
    await attempt(`${name}: fetch, no-cors`, async () =>
      `refused: ${await (await fetch(url, { credentials: "include", mode: "no-cors" })).text()}`);
    await attempt(`${name}: fetch of the API`, async () =>
      (await fetch(`${url}api/v1/people`, { credentials: "include" })).text());
    await attempt(`${name}: XMLHttpRequest`, () => requested(url));
    await attempt(`${name}: frame`, () => framed(url));
    await attempt(`${name}: window`, () => opened(url));
    await attempt(`${name}: script`, () => loaded(Object.assign(document.createElement("script"), { src: url }), document.head));
    await attempt(`${name}: module`, async () => Object.keys(await import(url)));
    await attempt(`${name}: events`, () => events(`${url}api/v1/events`));
    await attempt(`${name}: WebSocket`, () => socket(`wss://${host}/live`));
    await attempt(`${name}: worker's fetch`, () => byWorker(url));
    await attempt(`${name}: another's service worker`, () => navigator.serviceWorker.register(`${url}worker.js`));
    await attempt(`${name}: form`, () => sent(`${url}deed`, { a: "b" }));
    await attempt(`${name}: beacon`, () => navigator.sendBeacon(`${url}deed`, "a=b"));
    await attempt(`${name}: fetch, post`, () =>
      fetch(`${url}deed`, { method: "POST", mode: "no-cors", credentials: "include", body: "a=b" }).then(() => "sent"));
    for (const method of ["PUT", "DELETE", "PATCH"]) {
      await attempt(`${name}: ${method}`, () =>
        fetch(`${url}deed`, { method, credentials: "include" }).then((answer) => answer.text()));
    }
  }
  await attempt("portal: sign out", () => sent(`https://${portal}/sign-out`, { "form-token": "x" }));
  await attempt("portal: end all logins", () => sent(`https://${portal}/logins/others/end`, { "form-token": "x" }));
  await attempt("portal: sign in", () => sent(`https://${portal}/sign-in`, { name: "eve", password: "x", "form-token": "x" }));
  await attempt("one domain for both", () => {
    document.domain = parent;
    return document.domain === parent ? framed(`https://${vault}/`) : "refused";
  });
  await attempt("cookies", () => toss(parent, names));
  return all;
}
