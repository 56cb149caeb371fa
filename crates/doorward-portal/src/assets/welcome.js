"use strict";
// What stands behind # is sent by no browser: it goes into the form, and out of the address.
const form = document.getElementById("welcome");
const code = location.hash.slice(1);
if (form && code) {
  form.elements.code.value = code;
  history.replaceState(null, "", location.pathname);
  form.requestSubmit();
}
