
"use strict";
(() => {
  const FILTER_FROM = 8;
  const make = (name, properties) => Object.assign(document.createElement(name), properties);
  // The number at the start of a cell such as "1,234", "−0.5 [−1, 0]", "p < 0.001"; null for other texts.
  const number = (text) => {
    const found = text.replaceAll(",", "").replaceAll("−", "-").match(/^(?:p\s*[<=]\s*|[<>≤≥]\s*)?(-?\d+(?:\.\d+)?)/);
    return found ? Number(found[1]) : null;
  };
  const compare = (a, b) => {
    const [x, y] = [number(a), number(b)];
    if (x !== null && y !== null) return x - y;
    return a.localeCompare(b);
  };
  const isEmpty = (text) => text === "" || text === "–";

  const sortBy = (table, column, head) => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    const body = table.tBodies[0];
    const text = (row) => row.cells[column].textContent.trim();
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [text(a), text(b)];
      // Cells without a value stay at the end in both directions.
      if (isEmpty(x) || isEmpty(y)) return isEmpty(x) - isEmpty(y);
      return up ? compare(x, y) : compare(y, x);
    });
    body.append(...rows);
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
  };

  const filter = (items, place, name) => {
    const input = make("input", { type: "search", placeholder: "Filter", ariaLabel: `Filter: ${name}` });
    const shown = make("output", { className: "shown" });
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let left = 0;
      for (const item of items) {
        const text = item.textContent.toLowerCase();
        item.hidden = !words.every((word) => text.includes(word));
        if (!item.hidden) left += 1;
      }
      shown.textContent = words.length > 0 ? `${left} of ${items.length}` : "";
    });
    const line = make("p", { className: "filter" });
    line.append(input, shown);
    place.before(line);
  };

  for (const table of document.querySelectorAll("table")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = make("button", { type: "button", textContent: head.textContent, title: "Sort" });
      button.addEventListener("click", () => sortBy(table, column, head));
      head.replaceChildren(button);
    });
    if (table.tBodies[0].rows.length > FILTER_FROM) {
      filter([...table.tBodies[0].rows], table.parentElement, table.caption.textContent);
    }
  }
  for (const cards of document.querySelectorAll(".findings")) {
    if (cards.children.length > FILTER_FROM) filter([...cards.children], cards, "findings");
  }

  const dialog = document.getElementById("enlarged");
  const enlarge = (content, link) => {
    const close = make("button", { type: "button", textContent: "Close" });
    close.addEventListener("click", () => dialog.close());
    const bar = make("p", { className: "bar" });
    bar.append(close);
    if (link) bar.append(make("a", { href: link, textContent: "Full size" }));
    const area = make("div", { className: "area", tabIndex: 0 });
    area.append(content);
    dialog.replaceChildren(bar, area);
    dialog.showModal();
  };
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  for (const figure of document.querySelectorAll("figure")) {
    const button = make("button", { type: "button", textContent: "Enlarge" });
    button.addEventListener("click", () => enlarge(figure.querySelector(".wide svg").cloneNode(true)));
    figure.querySelector("figcaption").prepend(button);
  }
  for (const image of document.querySelectorAll(".pictures img")) {
    image.tabIndex = 0;
    image.setAttribute("role", "button");
    const open = () => enlarge(image.cloneNode(true), image.dataset.full);
    image.addEventListener("click", open);
    image.addEventListener("keydown", (event) => {
      if (event.key === "Enter") open();
    });
  }
})();
