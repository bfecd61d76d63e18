"use strict";
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
      return value.length && typeof value[0] === "object" ? value.map((one) => resolved(one, style)) : value;
    }
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, resolved(one, style)]));
    }
    return value;
  }

  function draw(width) {
    const style = getComputedStyle(document.documentElement);
    for (const [name, figure] of Object.entries(figures)) {
      const place = document.getElementById("chart-" + name);
      const shown = resolved(figure, style);
      if (width) { shown.layout.width = width; } else { shown.layout.autosize = true; }
      Plotly.react(place, shown.data, shown.layout, options);
    }
  }

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
