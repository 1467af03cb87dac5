// Keys, copying, and selecting on the map. Every page works without them.

const isTyping = (target) => target.closest("input, select, textarea") !== null;

function move(step) {
  const found = document.querySelector("#found [data-row]");
  const rows = [...(found ? document.getElementById("found") : document.querySelector("main"))
    .querySelectorAll("[data-row]")];
  if (rows.length === 0) return;
  const now = rows.findIndex((row) => row.classList.contains("at"));
  const next = Math.min(rows.length - 1, Math.max(0, now + step));
  rows.forEach((row, place) => row.classList.toggle("at", place === next));
  rows[next].scrollIntoView({ block: "nearest" });
  rows[next].querySelector("[data-open]")?.focus({ preventScroll: true });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const search = document.getElementById("q");
  if (event.key === "Escape") {
    document.getElementById("found").replaceChildren();
    document.activeElement?.blur();
  } else if (event.target === search && event.key === "ArrowDown") {
    event.preventDefault();
    move(1);
  } else if (!isTyping(event.target)) {
    if (event.key === "/") {
      event.preventDefault();
      search.focus();
      search.select();
    } else if (event.key === "j") {
      move(1);
    } else if (event.key === "k") {
      move(-1);
    }
  }
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (button === null) return;
  const text = document.querySelector(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(text.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(text);
    button.textContent = "Selected: copy it";
  }
});

// The corners of a rectangle on the map become parameters of the address.
for (const figure of document.querySelectorAll("[data-select]")) {
  const map = figure.querySelector("svg");
  const place = (event) => {
    const point = new DOMPoint(event.clientX, event.clientY)
      .matrixTransform(map.getScreenCTM().inverse());
    const { width, height } = map.viewBox.baseVal;
    return [
      Math.round(Math.min(width, Math.max(0, point.x))),
      Math.round(Math.min(height, Math.max(0, point.y))),
    ];
  };
  let start = null;
  let shown = null;
  map.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    start = place(event);
    map.querySelectorAll(".selected").forEach((one) => one.remove());
    shown = document.createElementNS(map.namespaceURI, "rect");
    shown.setAttribute("class", "selected");
    map.append(shown);
    map.setPointerCapture(event.pointerId);
  });
  map.addEventListener("pointermove", (event) => {
    if (start === null) return;
    const [x, y] = place(event);
    shown.setAttribute("x", Math.min(x, start[0]));
    shown.setAttribute("y", Math.min(y, start[1]));
    shown.setAttribute("width", Math.abs(x - start[0]));
    shown.setAttribute("height", Math.abs(y - start[1]));
  });
  map.addEventListener("pointercancel", () => {
    // The finger scrolls the page.
    start = null;
    shown?.remove();
  });
  map.addEventListener("pointerup", (event) => {
    if (start === null) return;
    let [left, top] = start;
    let [right, bottom] = place(event);
    start = null;
    if (left === right && top === bottom) {
      // A click selects what is near it.
      [left, top, right, bottom] = [left - 15, top - 15, right + 15, bottom + 15]
        .map((corner) => Math.min(1000, Math.max(0, corner)));
    }
    const address = new URL(figure.dataset.select, location.href);
    for (const [name, value] of Object.entries({ left, top, right, bottom })) {
      address.searchParams.set(name, value);
    }
    location.assign(address);
  });
}
