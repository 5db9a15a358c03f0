(() => {
  "use strict";
  const byId = (id) => document.getElementById(id);
  const catalogue = JSON.parse(byId("catalogue").textContent);
  const tasks = catalogue.tasks;

  const heat = byId("heat");
  if (heat) startMatrix(heat);
  if (byId("graph")) startGraph(byId("graph"));
  startCards(byId("cards"));

  function startMatrix(table) {
    const rows = [...table.tBodies[0].rows];
    const top = table.tHead.rows[1];
    const rowHeads = headsByTask(rows.map((row) => row.cells[0]));
    const columnHeads = headsByTask([...top.cells]);
    const choice = byId("distance");
    let shown = catalogue.distances[choice.value];
    let mode = "ranks";

    function draw() {
      shown = catalogue.distances[choice.value];
      mode = document.querySelector("input[name=mode]:checked").value;
      table.classList.toggle("ranks", mode === "ranks");
      table.classList.toggle("values", mode === "values");
      table.classList.toggle("narrow", rows[0].cells[1].offsetWidth < 30);
      shown.order.forEach((target) => top.append(columnHeads[target]));
      // All heads first: until the last one has moved, a row may hold two of them or none.
      shown.order.forEach((source, y) => rows[y].prepend(rowHeads[source]));
      shown.order.forEach((source, y) => {
        shown.order.forEach((target, x) => drawCell(rows[y].cells[x + 1], source, target));
      });
      byId("tree").setAttribute("d", shown.tree);
      byId("shown").textContent = choice.value;
      shown.scales[mode].forEach((tick, at) => { byId("ticks").children[at].textContent = tick; });
      table.caption.firstChild.textContent = `${mode === "ranks" ? "Rank" : "Distance"} of each source (row) for each target (column) by `;
    }

    function drawCell(cell, source, target) {
      const at = source * tasks.length + target;
      const level = (mode === "ranks" ? shown.rankLevels : shown.valueLevels)[at];
      const colour = level === "-" ? "na" : `k${parseInt(level, 32)}`;
      const self = source === target;
      const tied = shown.tied[at] === "1";
      cell.className = !self ? (tied ? `${colour} tied` : colour) : mode === "values" && level !== "-" ? `me ${colour}` : "me";
      cell.textContent = mode === "ranks" ? place(at) : shown.values[at];
    }

    // ≈ where noise cannot tell a source from the nearest.
    function place(at) {
      return `${shown.tied[at] === "1" ? "≈" : ""}${shown.ranks[at] || ""}`;
    }

    function describe(cell) {
      const source = shown.order[cell.parentNode.sectionRowIndex];
      const target = shown.order[cell.cellIndex - 1];
      const at = source * tasks.length + target;
      const value = `${choice.value} ${shown.values[at]}${shown.errors[at]}`;
      if (source === target) return [tasks[target].key, "", `${value} to itself`];
      const rank = shown.ranks[at];
      const ranked = rank ? `rank ${place(at)} of ${countRanked(target)} sources` : "not comparable";
      return [tasks[source].key, `→ ${tasks[target].key}`, `${value} · ${ranked}`];
    }

    function countRanked(target) {
      return tasks.filter((_, source) => shown.ranks[source * tasks.length + target]).length;
    }

    function point(cell) {
      table.querySelectorAll("th.on").forEach((head) => head.classList.remove("on"));
      if (!cell) return hideTip();
      top.cells[cell.cellIndex - 1].classList.add("on");
      cell.parentNode.cells[0].classList.add("on");
      showTip(describe(cell), cell.getBoundingClientRect());
      return undefined;
    }

    const cellOf = (event) => event.target.closest("tbody td");
    table.addEventListener("pointerover", (event) => point(cellOf(event)));
    table.addEventListener("pointerleave", () => point(null));
    table.addEventListener("focusin", (event) => point(cellOf(event)));
    table.addEventListener("focusout", () => point(null));
    makeGrid(table, rows);
    byId("switches").hidden = false;
    byId("switches").addEventListener("change", draw);
    draw();
  }

  function headsByTask(heads) {
    const found = [];
    heads.forEach((head) => { found[Number(head.dataset.i)] = head; });
    return found;
  }

  // Arrow keys walk the cells; Tab enters and leaves the table once (ARIA grid pattern).
  function makeGrid(table, rows) {
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    table.setAttribute("role", "grid");
    let current = rows[0].cells[1];
    table.querySelectorAll("tbody td").forEach((cell) => { cell.tabIndex = -1; cell.setAttribute("aria-describedby", "tip"); });
    current.tabIndex = 0;
    table.addEventListener("keydown", (event) => {
      const cell = event.target.closest("tbody td");
      if (event.key === "Escape") hideTip();
      if (!cell || !(event.key in steps)) return;
      const [down, right] = steps[event.key];
      const row = rows[cell.parentNode.sectionRowIndex + down];
      const next = row && row.cells[Math.max(cell.cellIndex + right, 1)];
      event.preventDefault();
      if (!next) return;
      current.tabIndex = -1;
      current = next;
      current.tabIndex = 0;
      current.focus();
    });
  }

  function showTip([first, second, third], near) {
    const tip = byId("tip");
    tip.replaceChildren(line("b", first), line("span", second), line("span", third));
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const above = near.top - box.height - 8;
    tip.style.top = `${above > 4 ? above : near.bottom + 8}px`;
    tip.style.left = `${Math.min(Math.max(near.left + near.width / 2 - box.width / 2, 6), innerWidth - box.width - 6)}px`;
  }

  function line(tag, text) {
    const row = document.createElement("div");
    row.append(Object.assign(document.createElement(tag), { textContent: text }));
    return row;
  }

  function hideTip() {
    byId("tip").hidden = true;
  }

  function startGraph(graph) {
    const arrows = [...graph.querySelectorAll(".arrow")];
    function point(node) {
      graph.classList.toggle("pointing", Boolean(node));
      arrows.forEach((arrow) => arrow.classList.toggle("on", Boolean(node) && touches(arrow, node)));
    }
    const touches = (arrow, node) => [arrow.dataset.s, arrow.dataset.t].includes(node.dataset.i);
    const nodeOf = (event) => event.target.closest(".node");
    graph.addEventListener("pointerover", (event) => point(nodeOf(event)));
    graph.addEventListener("pointerleave", () => point(null));
    graph.addEventListener("focusin", (event) => point(nodeOf(event)));
    graph.addEventListener("focusout", () => point(null));
  }

  function startCards(box) {
    const cards = [...box.children];
    const task = (card) => tasks[Number(card.dataset.i)];
    const name = (card, field) => String(task(card)[field] || task(card).key).toLowerCase();
    const orders = {
      key: (a, b) => (name(a, "key") < name(b, "key") ? -1 : 1),
      title: (a, b) => (name(a, "title") < name(b, "title") ? -1 : 1),
      n: (a, b) => task(b).n - task(a).n,
    };
    byId("sorting").hidden = cards.length < 2;
    byId("sorting").addEventListener("submit", (event) => event.preventDefault());
    byId("sort").addEventListener("change", () => box.append(...cards.sort(orders[byId("sort").value])));
    const filter = () => {
      const wanted = byId("find").value.trim().toLowerCase();
      cards.forEach((card) => { card.hidden = !task(card).words.includes(wanted); });
      byId("found").textContent = wanted ? `${cards.filter((card) => !card.hidden).length} of ${cards.length}` : "";
    };
    byId("find").addEventListener("input", filter);
    // A link to a card must find it, whatever was searched for before.
    addEventListener("hashchange", () => { byId("find").value = ""; filter(); });
  }
})();
