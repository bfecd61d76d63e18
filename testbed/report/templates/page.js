"use strict";
// Commands get the folder that this page lies in now, in quotes where a shell needs them. Opened
// from anywhere else than a file, the page keeps the word DIR and what it means.
(function () {
  if (location.protocol !== "file:") return;
  const folder = decodeURIComponent(location.pathname).replace(/\/[^/]*$/, "") || "/";
  const quoted = /^[\w@%+=:,.\/-]+$/.test(folder) ? folder : `'${folder.replaceAll("'", `'"'"'`)}'`;
  document.querySelectorAll(".folder").forEach((place) => { place.textContent = quoted; });
  document.querySelectorAll(".which-folder").forEach((hint) => hint.remove());
})();
(function () {
  const source = document.getElementById("figures");
  if (!source || typeof Plotly === "undefined") return;
  const figures = JSON.parse(source.textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const options = { displaylogo: false, responsive: true, displayModeBar: false, scrollZoom: false };

  // A string that names a CSS variable stands for its value.
  function resolved(value, style) {
    if (typeof value === "string") {
      return value.startsWith("--") ? style.getPropertyValue(value).trim() : value;
    }
    if (Array.isArray(value)) {
      // Objects, arrays, or a colour at its place of a scale; the long arrays hold numbers only.
      const inside = value.length && (typeof value[0] === "object" || typeof value[1] === "string");
      return inside ? value.map((one) => resolved(one, style)) : value;
    }
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, resolved(one, style)]));
    }
    return value;
  }

  // The sign of a trace in the legend: its marker or a piece of its line.
  function sign(trace) {
    const found = document.createElement("span");
    if (trace.mode === "markers") {
      found.textContent = trace.marker.symbol === "x" ? "✖" : "●";
      found.style.color = `var(${trace.marker.color})`;
    } else {
      const dash = { solid: "solid", dot: "dotted" }[trace.line.dash] || "dashed";
      found.className = "stroke";
      found.style.borderTop = `3px ${dash} var(${trace.line.color})`;
    }
    found.setAttribute("aria-hidden", "true");
    return found;
  }

  // A button for each named trace that switches it on and off; none where there is only one.
  function legend(name, figure) {
    const named = figure.data.filter((trace) => trace.name);
    if (named.length < 2 && !named.some((trace) => trace.name === "failed")) return;
    const list = document.createElement("div");
    list.className = "legend";
    list.setAttribute("role", "group");
    list.setAttribute("aria-label", "Shown in the chart");
    for (const trace of named) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(sign(trace), trace.name);
      button.setAttribute("aria-pressed", String(trace.visible !== "legendonly"));
      button.addEventListener("click", () => {
        trace.visible = trace.visible === "legendonly" ? true : "legendonly";
        button.setAttribute("aria-pressed", String(trace.visible !== "legendonly"));
        drawOne(name, figure);
      });
      list.append(button);
    }
    document.getElementById("chart-" + name).before(list);
  }

  function drawOne(name, figure, width) {
    const style = getComputedStyle(document.documentElement);
    const shown = resolved(figure, style);
    if (width) { shown.layout.width = width; } else { shown.layout.autosize = true; }
    Plotly.react(document.getElementById("chart-" + name), shown.data, shown.layout, options);
  }

  function draw(width) {
    for (const [name, figure] of Object.entries(figures)) drawOne(name, figure, width);
  }

  for (const [name, figure] of Object.entries(figures)) legend(name, figure);
  draw();
  dark.addEventListener("change", () => draw());
  window.addEventListener("beforeprint", () => {
    document.documentElement.classList.add("printing");
    document.querySelectorAll("details").forEach((one) => { one.open = true; });
    draw(660);
  });
  window.addEventListener("afterprint", () => {
    document.documentElement.classList.remove("printing");
    draw();
  });
})();
