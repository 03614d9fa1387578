// The charts of a campaign: numbers from the server, drawn by Plotly in the page's own colours.
"use strict";

(() => {
  const section = document.querySelector("[data-charts]");
  if (!section || !window.Plotly) return;
  let data = null;

  const probe = document.body.appendChild(document.createElement("span"));
  probe.hidden = true;
  const colour = (name) => { probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; };
  const faded = (text, alpha) => text.replace(/^rgb\((.*)\)$/, `rgba($1, ${alpha})`);

  const layout = (x, y, extra = {}) => {
    const ink = colour("ink"), muted = colour("muted"), line = colour("line");
    const axis = (title) => ({
      title: { text: title, font: { size: 12, color: muted }, standoff: 6 }, gridcolor: line, linecolor: line, zeroline: false,
      tickfont: { size: 11, color: muted }, automargin: true, fixedrange: true,
    });
    return {
      margin: { l: 44, r: 8, t: 6, b: 36 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 12, color: ink }, hoverlabel: { font: { family: "system-ui, sans-serif", size: 12 } },
      xaxis: { ...axis(x), ...extra.xaxis }, yaxis: { ...axis(y), ...extra.yaxis }, showlegend: extra.showlegend ?? true,
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 11, color: muted }, bgcolor: "rgba(0,0,0,0)" },
      shapes: extra.shapes ?? [], barmode: extra.barmode, hovermode: extra.hovermode ?? "closest", bargap: 0.06, dragmode: false,
      annotations: extra.annotations ?? [],
    };
  };
  const band = (axis, low, high) => {
    const other = axis === "x" ? "y" : "x";
    return { type: "rect", layer: "below", line: { width: 0 }, fillcolor: faded(colour("gold"), 0.38),
      [`${axis}0`]: low, [`${axis}1`]: high, [`${other}ref`]: "paper", [`${other}0`]: 0, [`${other}1`]: 1 };
  };
  const range = (values, margin) => [Math.min(...values) - margin, Math.max(...values) + margin];

  const draw = {
    hits({ hits }) {
      const jobs = hits.found.map((_, index) => index);
      if (jobs.length < 2) return null;
      const traces = [
        { x: jobs, y: hits.found, name: "hits", mode: "lines", line: { shape: "hv", color: colour("accent"), width: 2.5 },
          text: ["", ...hits.smiles], hovertemplate: "%{y} hits after %{x} jobs<br>%{text}<extra></extra>" },
      ];
      if (hits.certified) traces.push({ x: jobs, y: hits.certified, name: "certified", mode: "lines", hovertemplate: "%{y} certified<extra></extra>",
        line: { shape: "hv", color: colour("lumo"), width: 2, dash: "dot" } });
      traces.push({ x: [0, jobs.length - 1], y: [0, hits.base_rate * (jobs.length - 1)], name: "drawing blindly", mode: "lines",
        line: { color: colour("bad"), width: 1.5, dash: "dash" }, hovertemplate: "%{y:.2f} expected<extra></extra>" });
      return [traces, layout("DFT jobs, failures included", "hits", { yaxis: { rangemode: "tozero", tickformat: "d" } })];
    },
    gaps({ gaps, window: wanted, property }) {
      if (!gaps.series.length) return null;
      const versions = gaps.series.filter((one) => one.name !== "DFT");
      const centre = (one) => one.x.map((edge) => edge + gaps.bin / 2);
      const traces = versions.map((one, index) => ({
        x: centre(one), y: one.y, name: one.name, mode: "lines", line: { shape: "hvh", width: index === versions.length - 1 ? 2.4 : 1.2,
          color: faded(colour("lumo"), versions.length === 1 ? 1 : 0.35 + 0.65 * index / (versions.length - 1)) },
        hovertemplate: `%{y} predicted near %{x:.1f} ${property.unit}<extra>${one.name}</extra>`,
      }));
      const dft = gaps.series.find((one) => one.name === "DFT");
      if (dft) traces.push({ type: "bar", x: centre(dft), y: dft.y, width: gaps.bin, name: "DFT", marker: { color: faded(colour("accent"), 0.75) },
        hovertemplate: `%{y} computed near %{x:.1f} ${property.unit}<extra>DFT</extra>` });
      const edges = gaps.series.flatMap((one) => [...one.x, ...one.x.map((edge) => edge + gaps.bin)]);
      const shapes = [band("x", wanted.low ?? Math.min(...edges, wanted.high), wanted.high ?? Math.max(...edges, wanted.low))];
      return [traces, layout(`${property.noun}, ${property.unit}`, "molecules", { shapes, yaxis: { rangemode: "tozero" } })];
    },
    parity({ parity, window: wanted, property }) {
      if (!parity.length) return null;
      const limits = [wanted.low, wanted.high].filter((end) => end !== null);
      const values = parity.flatMap((one) => [one.predicted, one.dft]);
      const ends = range([...values, ...limits], limits.length === 2 ? limits[1] - limits[0] : 0.1 * Math.abs(limits[0]));
      const points = (chosen, name, shade) => ({
        x: chosen.map((one) => one.predicted), y: chosen.map((one) => one.dft), customdata: chosen.map((one) => one.id), name, mode: "markers",
        error_x: { type: "data", array: chosen.map((one) => one.deviation), thickness: 1, width: 0, color: faded(shade, 0.55) },
        marker: { color: shade, size: 7 }, text: chosen.map((one) => one.smiles),
        hovertemplate: `%{text}<br>predicted %{x:.2f} ${property.unit}, DFT %{y:.2f} ${property.unit}<extra></extra>`,
      });
      const traces = [
        { x: ends, y: ends, mode: "lines", line: { color: colour("line"), width: 1.5 }, hoverinfo: "skip", showlegend: false },
        points(parity.filter((one) => !one.hit), "others", colour("muted")), points(parity.filter((one) => one.hit), "hits", colour("accent")),
      ];
      return [traces, layout(`predicted ${property.noun}, ${property.unit}`, `DFT ${property.noun}, ${property.unit}`, { shapes: [band("y", wanted.low ?? ends[0], wanted.high ?? ends[1])], xaxis: { range: ends }, yaxis: { range: ends } })];
    },
    best({ best }) {
      const known = best.distance.filter((value) => value !== null);
      if (!known.length) return null;
      const trace = { x: best.distance.map((_, index) => index + 1), y: best.distance, mode: "lines", line: { shape: "hv", color: colour("accent"), width: 2.5 },
        hovertemplate: "%{y:.2f} after %{x} jobs<extra></extra>" };
      return [[trace], layout("DFT jobs", "distance, half widths of a window", { showlegend: false, shapes: [band("y", 0, 1)], yaxis: { rangemode: "tozero" } })];
    },
    front({ front }) {
      if (!front?.points.length) return null;
      const points = (chosen, name, extra) => ({
        x: chosen.map((one) => one.x), y: chosen.map((one) => one.y), text: chosen.map((one) => one.smiles),
        customdata: chosen.map((one) => one.id), name, hovertemplate: "%{text}<br>%{x:.3f}, %{y:.3f}<extra></extra>", ...extra,
      });
      const best = front.points.filter((one) => one.best).sort((a, b) => a.x - b.x);
      return [[
        points(front.points.filter((one) => !one.best), "other hits", { mode: "markers", marker: { color: colour("muted"), size: 7 } }),
        points(best, "Pareto front", { mode: "lines+markers", marker: { color: colour("accent"), size: 8 }, line: { color: faded(colour("accent"), 0.5), width: 1.5 } }),
      ], layout(front.axes[0], front.axes[1])];
    },
    calibration({ calibration }) {
      if (!calibration.labels) return null;
      const percent = { tickformat: ".0%", range: [0, 1] };
      const traces = [
        { x: [0, 1], y: [0, 1], mode: "lines", line: { color: colour("line"), width: 1.5 }, hoverinfo: "skip" },
        { x: calibration.nominal, y: calibration.observed, mode: "lines+markers", line: { color: colour("lumo"), width: 2 }, marker: { size: 6 },
          hovertemplate: `of ${calibration.labels} labels %{y:.0%} lie in the %{x:.0%} interval<extra></extra>` },
      ];
      return [traces, layout("predicted interval", "labels inside", { showlegend: false, xaxis: percent, yaxis: percent })];
    },
  };
  const none = { hits: "No DFT job has ended yet.", gaps: "Nothing is scored yet.", parity: "No label yet.", best: "No label yet.", front: "No hit yet.", calibration: "No label yet." };

  const redraw = () => {
    if (!data) return;
    for (const place of section.querySelectorAll("[data-chart]")) {
      const drawn = draw[place.dataset.chart](data);
      if (!drawn) {
        if (place.querySelector(".plot-container")) Plotly.purge(place);
        place.innerHTML = `<p class="empty">${none[place.dataset.chart]}</p>`;
        continue;
      }
      place.querySelector(".empty")?.remove();
      Plotly.react(place, ...drawn, { displayModeBar: false, responsive: true });
      if (["parity", "front"].includes(place.dataset.chart) && !place.dataset.linked) {
        place.dataset.linked = "yes";
        place.on("plotly_click", (event) => { const id = event.points[0]?.customdata; if (id) location.href = `/candidates/${id}`; });
      }
    }
    section.dataset.drawn = "yes";
  };

  let loading = false, again = false;
  const load = async () => {
    if (loading) { again = true; return; }
    loading = true;
    try {
      const answer = await fetch(section.dataset.charts, { headers: { Accept: "application/json" } });
      if (answer.ok) { data = await answer.json(); redraw(); }
    } catch { /* the live stream says that the server is away, and asks again when it is back */ }
    setTimeout(() => { loading = false; if (again) { again = false; load(); } }, 2000);
  };
  document.addEventListener("htmx:sseMessage", (event) => { if (event.target.id === "charts-version") load(); });
  document.addEventListener("gapsmith:theme", redraw);
  load();
})();
