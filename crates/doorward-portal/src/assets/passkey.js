"use strict";
// Forms that are sent with a passkey's answer. They are shown only where the browser knows passkeys.
const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const known = (list) => (list ?? []).map((one) => ({ ...one, id: bytes(one.id) }));

async function answer(form, options) {
  const asked = { ...options.publicKey, challenge: bytes(options.publicKey.challenge) };
  if (form.dataset.passkey === "new") {
    asked.user = { ...asked.user, id: bytes(asked.user.id) };
    asked.excludeCredentials = known(asked.excludeCredentials);
    return navigator.credentials.create({ publicKey: asked });
  }
  asked.allowCredentials = known(asked.allowCredentials);
  return navigator.credentials.get({ publicKey: asked });
}

function written(key) {
  const response = { clientDataJSON: text(key.response.clientDataJSON) };
  for (const part of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (key.response[part]) response[part] = text(key.response[part]);
  }
  const transports = key.response.getTransports?.();
  if (transports) response.transports = transports;
  return JSON.stringify({
    id: key.id, rawId: text(key.rawId), type: key.type, response, extensions: key.getClientExtensionResults(),
  });
}

async function send(form) {
  const failed = form.querySelector("[data-failed]");
  failed.hidden = true;
  try {
    const asked = await fetch(form.dataset.ask, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    if (!asked.ok) throw new Error((await asked.json()).error.what);
    const question = await asked.json();
    form.elements.answer.value = written(await answer(form, question.options));
    form.elements.ticket.value = question.ticket;
    form.submit();
  } catch (error) {
    failed.textContent = error.name === "Error" ? error.message : failed.dataset.failed;
    failed.hidden = false;
  }
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  if (!window.PublicKeyCredential) continue;
  form.closest("[data-passkeys]").hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form);
  });
}
