// The loss of a training by step.
"use strict";

(() => {
  const place = document.getElementById("training");
  if (!place || !window.Plotly) return;
  const points = JSON.parse(place.dataset.points);
  const probe = document.body.appendChild(document.createElement("span"));
  probe.hidden = true;
  const colour = (name) => { probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; };
  const axis = (title) => ({ title: { text: title, font: { size: 12, color: colour("muted") } }, gridcolor: colour("line"), linecolor: colour("line"), zeroline: false,
    tickfont: { size: 11, color: colour("muted") }, automargin: true, fixedrange: true });
  const draw = () => Plotly.react(place,
    [{ x: points.map((one) => one[0]), y: points.map((one) => one[1]), mode: "lines", line: { color: colour("lumo"), width: 2 }, hovertemplate: "step %{x}: %{y:.4g}<extra></extra>" }],
    { margin: { l: 48, r: 8, t: 8, b: 40 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, dragmode: false,
      font: { family: "system-ui, sans-serif", size: 12, color: colour("ink") }, xaxis: axis("step"), yaxis: axis("loss, running mean") },
    { displayModeBar: false, responsive: true });
  draw();
  document.addEventListener("gapsmith:theme", draw);
})();
