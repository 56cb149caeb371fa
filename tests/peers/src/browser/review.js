// What keeps a page from being read: the complaints, in words; none for a page in order. (WCAG 2.2: 1.1.1, 1.3.1,
// 1.4.3, 1.4.10, 2.4.2, 2.4.7, 3.1.1.)
(() => {
  const complaints = [];
  const demand = (holds, complaint) => { if (!holds) complaints.push(complaint); };
  const all = (selector) => [...document.querySelectorAll(selector)];

  const channels = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number);
    return { r, g, b, a };
  };
  const over = (top, below) => {
    const mix = (c) => top[c] * top.a + below[c] * (1 - top.a);
    return { r: mix("r"), g: mix("g"), b: mix("b"), a: 1 };
  };
  const luminance = ({ r, g, b }) => {
    const linear = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  };
  const contrast = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const lineage = (element) => element ? [...lineage(element.parentElement), element] : [];
  // What the browser paints where no element does; it follows the colour scheme.
  const probe = document.body.appendChild(document.createElement("div"));
  probe.style.background = "Canvas";
  const canvas = channels(getComputedStyle(probe).backgroundColor);
  probe.remove();

  let words = 0;
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode.data.trim();
    const element = texts.currentNode.parentElement;
    if (!text || !element.checkVisibility()) continue;
    words += 1;
    const ancestors = lineage(element).map((ancestor) => getComputedStyle(ancestor));
    const paper = ancestors.map((style) => channels(style.backgroundColor)).reduce((below, top) => over(top, below), canvas);
    const ink = channels(getComputedStyle(element).color);
    ink.a *= ancestors.reduce((opacity, style) => opacity * style.opacity, 1);
    const seen = contrast(over(ink, paper), paper);
    demand(seen >= 4.5, `the contrast of "${text}" is ${seen.toFixed(2)}`);
    demand(parseFloat(getComputedStyle(element).fontSize) >= 12, `"${text}" is tiny`);
  }
  demand(words > 0, "nothing to read");

  demand(document.documentElement.lang, "no language");
  demand(document.title.trim(), "no title");
  demand(all("h1").length === 1, "not one main heading");
  demand(all("main").length === 1, "not one main part");
  demand(all("body > :not(script, header, main, footer, nav, .skip)").length === 0, "something outside the landmarks");
  demand(all("img:not([alt])").length === 0, "a picture without words");
  const { scrollWidth } = document.documentElement;
  demand(scrollWidth <= innerWidth, `${scrollWidth} wide in a window of ${innerWidth}`);
  for (const element of all("a[href], button:enabled, input, select, textarea, summary").filter((e) => e.checkVisibility())) {
    element.focus();
    const { outlineStyle, outlineWidth } = getComputedStyle(element);
    demand(outlineStyle !== "none" && parseFloat(outlineWidth) >= 2, `the focus on "${element.textContent}" is hard to see`);
  }
  document.activeElement?.blur();
  for (const { name } of performance.getEntriesByType("resource")) {
    demand(new URL(name).origin === location.origin || name.startsWith("data:"), `${name} is from elsewhere`);
  }
  return complaints;
})()
