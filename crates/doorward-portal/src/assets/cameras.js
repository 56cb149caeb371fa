"use strict";
// Shows cameras: one WebSocket for all of a page, whose messages are those of doorward_frames::feed. A frame is said to be
// shown when it is drawn, and so no more come than this line and this machine take. What is out of sight takes none.
(() => {
  const HEAD = 8;
  const BEFORE_PICTURE = 8;
  const [FRAME, STATE] = [1, 2];
  const [WATCH, LEAVE, SHOWN] = [0x41, 0x42, 0x43];
  const STATES = ["opening", "live", "stalled", "failed", "ended"];
  const words = document.getElementById("camera-words")?.dataset ?? {};
  // By service and mount; the number is its place.
  const cameras = [];
  let socket = null;
  let pause = 1000;
  let again = 0;

  const message = (kind, camera, numbers) => {
    const view = new DataView(new ArrayBuffer(HEAD + 4 * numbers.length));
    view.setUint8(0, kind);
    view.setUint16(2, camera.number);
    view.setUint32(4, 4 * numbers.length);
    numbers.forEach((number, n) => view.setUint32(HEAD + 4 * n, number));
    return view.buffer;
  };
  const isOpen = () => socket?.readyState === WebSocket.OPEN;
  const say = (kind, camera, numbers = []) => { if (isOpen()) socket.send(message(kind, camera, numbers)); };
  const name = (list) => {
    const named = list.map(({ number, service, mount }) => ({ number, service, ...(mount ? { mount } : {}) }));
    if (named.length > 0 && isOpen()) socket.send(JSON.stringify({ cameras: named }));
  };

  // Whatever is in sight is watched, as often as the one who wants most wants it.
  const wish = (camera) => {
    const inSight = document.hidden ? [] : [...camera.places].filter((place) => place.inSight && place.isConnected);
    const rates = inSight.map((place) => Number(place.closest("[data-rate]")?.dataset.rate ?? 0.2));
    const wanted = inSight.length === 0 ? null : rates.includes(0) ? 0 : Math.max(...rates);
    if (wanted === camera.wanted) return;
    camera.wanted = wanted;
    if (wanted === null) say(LEAVE, camera);
    else say(WATCH, camera, [Math.round(wanted * 1000), 0]);
  };

  const tell = (camera, state, text = "") => {
    camera.state = state;
    const known = state === "ended" && text === "full" ? words.full : words[state];
    const said = state === "live" ? "" : [known, state === "ended" ? "" : text].filter(Boolean).join(" ");
    for (const place of camera.places) {
      const line = place.querySelector(".state");
      if (line.textContent !== said) line.textContent = said;
    }
  };

  const draw = (camera, place) => {
    const canvas = place.querySelector("canvas");
    const { picture } = camera;
    if (canvas.width !== picture.width || canvas.height !== picture.height) {
      [canvas.width, canvas.height] = [picture.width, picture.height];
    }
    canvas.getContext("2d").drawImage(picture, 0, 0);
    canvas.hidden = false;
  };

  const show = async (camera, view, came) => {
    const number = view.getUint32(HEAD);
    const age = view.getUint32(HEAD + 4);
    const jpeg = new Uint8Array(view.buffer, HEAD + BEFORE_PICTURE);
    try {
      const picture = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
      if (came < camera.drawn) return picture.close();
      camera.drawn = came;
      camera.picture?.close();
      camera.picture = picture;
      camera.places.forEach((place) => draw(camera, place));
      camera.frames.push({ at: performance.now(), bytes: jpeg.length, age: age + performance.now() - came });
      if (camera.state !== "live") tell(camera, "live");
    } catch {
      // A picture that this browser cannot read; the next may do.
    } finally {
      say(SHOWN, camera, [number]);
    }
  };

  const hear = ({ data }) => {
    if (typeof data === "string") {
      const { number, viewers, faults } = JSON.parse(data);
      if (cameras[number]) Object.assign(cameras[number], { viewers, faults });
      return;
    }
    const view = new DataView(data);
    const camera = cameras[view.getUint16(2)];
    if (!camera) return;
    const kind = view.getUint8(0);
    if (kind === FRAME) show(camera, view, performance.now());
    if (kind === STATE) {
      const state = STATES[view.getUint8(HEAD)];
      if (state) tell(camera, state, new TextDecoder().decode(new Uint8Array(data, HEAD + 1)));
    }
  };

  const open = () => {
    clearTimeout(again);
    if (socket || cameras.length === 0 || document.hidden) return;
    const opened = new WebSocket(`${location.origin.replace(/^http/, "ws")}/frames/feed`);
    socket = opened;
    opened.binaryType = "arraybuffer";
    opened.addEventListener("open", () => {
      pause = 1000;
      name(cameras);
      for (const camera of cameras) {
        camera.wanted = null;
        wish(camera);
      }
    });
    opened.addEventListener("message", hear);
    opened.addEventListener("close", () => {
      if (socket !== opened) return;
      socket = null;
      if (document.hidden) return;
      for (const camera of cameras) tell(camera, "lost");
      again = setTimeout(open, pause);
      pause = Math.min(2 * pause, 15000);
    });
  };
  const close = () => {
    clearTimeout(again);
    const closed = socket;
    socket = null;
    closed?.close();
  };

  const sight = new IntersectionObserver((seen) => {
    for (const { target, isIntersecting } of seen) {
      target.inSight = isIntersecting;
      wish(target.camera);
    }
  });
  const find = (place) => {
    const { service, mount } = place.dataset;
    const known = cameras.find((camera) => camera.service === service && camera.mount === mount);
    if (known) return known;
    const camera = { number: cameras.length, service, mount, places: new Set(), wanted: null, drawn: 0, frames: [], state: "" };
    cameras.push(camera);
    name([camera]);
    return camera;
  };
  // Parts of a page may be renewed while it is looked at.
  const attend = () => {
    for (const camera of cameras) {
      for (const place of camera.places) {
        if (place.isConnected) continue;
        camera.places.delete(place);
        sight.unobserve(place);
      }
    }
    for (const place of document.querySelectorAll("[data-camera]")) {
      if (place.camera) continue;
      place.camera = find(place);
      place.camera.places.add(place);
      if (place.camera.picture) draw(place.camera, place);
      else tell(place.camera, place.camera.state || "opening");
      sight.observe(place);
    }
    cameras.forEach(wish);
    open();
  };

  // Of one camera alone.
  const figures = () => {
    const dl = document.querySelector(".seen");
    const camera = cameras[0];
    if (!dl || !camera) return;
    const since = performance.now() - 3000;
    camera.frames = camera.frames.filter((frame) => frame.at >= since);
    const { frames, picture, viewers, faults } = camera;
    const set = (name, text) => {
      const place = document.querySelector(`[data-figure=${name}]`);
      if (place.textContent !== text) place.textContent = text;
    };
    const one = new Intl.NumberFormat(document.documentElement.lang, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
    const last = frames.at(-1);
    const bytes = frames.reduce((sum, frame) => sum + frame.bytes, 0) / 3000;
    const age = last ? (last.age + performance.now() - last.at) / 1000 : null;
    set("rate", one.format(frames.length / 3));
    set("bytes", `${Math.round(bytes)} kB/s`);
    set("age", age === null ? "–" : `${one.format(age)} s`);
    set("viewers", viewers === undefined ? "–" : String(viewers));
    set("size", picture ? `${picture.width} × ${picture.height}` : "–");
    const mended = document.querySelector("[data-figure=faults]");
    if (mended) mended.hidden = !faults;
    if (mended && faults) mended.textContent = `${mended.dataset.mended} ${faults}`;
    dl.hidden = false;
  };

  const whole = document.querySelector("button[data-whole]");
  if (whole && document.fullscreenEnabled) {
    whole.hidden = false;
    whole.addEventListener("click", () => document.querySelector(".whole .view").requestFullscreen());
  }
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else open();
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", attend);
  new MutationObserver(attend).observe(document.getElementById("main"), { childList: true, subtree: true });
  attend();
  setInterval(figures, 500);
})();
