// A molecule in space: its geometries, its frontier orbitals; and its spectra.
"use strict";

(() => {
  const place = document.getElementById("viewer");
  const geometries = JSON.parse(place.dataset.geometries), orbitals = JSON.parse(place.dataset.orbitals);
  const dark = () => getComputedStyle(document.documentElement).colorScheme === "dark"
    || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  const chosen = (name) => document.querySelector(`input[name="${name}"]:checked`)?.value ?? "";
  const say = (text) => { place.innerHTML = ""; const p = place.appendChild(document.createElement("p")); p.className = "empty"; p.textContent = text; };
  const text = async (address) => { const answer = await fetch(address); if (!answer.ok) throw new Error(String(answer.status)); return answer.text(); };

  const able = () => {
    try { const canvas = document.createElement("canvas"); return Boolean(canvas.getContext("webgl2") || canvas.getContext("webgl")); } catch { return false; }
  };
  let viewer = null, spinning = false, turn = 0;

  const background = () => { viewer?.setBackgroundColor(dark() ? 0x1a1e21 : 0xffffff, 1); viewer?.render(); };
  // turned so that the molecule is seen from its broad side: the atoms' least spread lies along the line of sight
  const face = (viewer) => {
    const atoms = viewer.selectedAtoms({});
    const mean = ["x", "y", "z"].map((axis) => atoms.reduce((sum, atom) => sum + atom[axis], 0) / atoms.length);
    const depth = (a, b) => atoms.reduce((sum, atom) => { // after a turn by a about x, then by b about y
      const [x, y, z] = [atom.x - mean[0], atom.y - mean[1], atom.z - mean[2]];
      const turned = y * Math.sin(a) + z * Math.cos(a);
      return sum + (turned * Math.cos(b) - x * Math.sin(b)) ** 2;
    }, 0);
    let best = [0, 0, Infinity];
    for (let a = -90; a < 90; a += 6) for (let b = -90; b < 90; b += 6) {
      const now = depth(a * Math.PI / 180, b * Math.PI / 180);
      if (now < best[2]) best = [a, b, now];
    }
    viewer.zoomTo();
    viewer.rotate(best[0], "x");
    viewer.rotate(best[1], "y");
    viewer.zoom(1.4);
  };
  const show = async () => {
    const mine = ++turn, orbital = orbitals[chosen("orbital")];
    try {
      const [structure, cube] = await Promise.all([text(orbital ? orbital.geometry : geometries[chosen("geometry")]), orbital ? text(orbital.cube) : null]);
      if (mine !== turn) return;
      const first = !viewer.getModel();
      const view = first ? null : viewer.getView();
      viewer.removeAllModels(); viewer.removeAllShapes();
      viewer.addModel(structure, "sdf", { keepH: true });
      viewer.setStyle({}, { stick: { radius: 0.12 }, sphere: { scale: 0.26 } });
      if (cube) {
        const volume = new $3Dmol.VolumeData(cube, "cube");
        viewer.addIsosurface(volume, { isoval: 0.04, color: "#3b7dd8", opacity: 0.8, smoothness: 4 });
        viewer.addIsosurface(volume, { isoval: -0.04, color: "#d9652b", opacity: 0.8, smoothness: 4 });
      }
      if (first) face(viewer); else viewer.setView(view);
      viewer.render();
      place.dataset.shown = orbital ? chosen("orbital") : chosen("geometry");
    } catch {
      say("This geometry cannot be shown just now.");
      viewer = null;
    }
  };

  if (!Object.keys(geometries).length) say("There is no geometry yet.");
  else if (!able() || !window.$3Dmol) {
    say("This browser has no WebGL, so the molecule cannot be turned here; the drawing beside it has its structure.");
    place.dataset.shown = "fallback";
  } else {
    place.innerHTML = "";
    viewer = $3Dmol.createViewer(place, { backgroundColor: dark() ? 0x1a1e21 : 0xffffff, antialias: true, disableFog: true });
    background();
    show();
    document.addEventListener("change", (event) => {
      if (event.target.name === "geometry") { const none = document.querySelector('input[name="orbital"][value=""]'); if (none) none.checked = true; }
      if (event.target.name === "geometry" || event.target.name === "orbital") show();
    });
    document.addEventListener("gapsmith:theme", background);
    const spin = document.getElementById("spin");
    spin.addEventListener("click", () => { spinning = !spinning; viewer?.spin(spinning ? "y" : false); spin.setAttribute("aria-pressed", String(spinning)); });
    place.addEventListener("keydown", (event) => {
      const turns = { ArrowLeft: [-12, "y"], ArrowRight: [12, "y"], ArrowUp: [-12, "x"], ArrowDown: [12, "x"] }[event.key];
      if (!turns || !viewer) return;
      event.preventDefault(); viewer.rotate(...turns); viewer.render();
    });
  }

  // spectra: lines as sticks, broadened beside them
  const spectra = document.querySelector("[data-spectra]");
  if (!spectra || !window.Plotly) return;
  const found = JSON.parse(spectra.dataset.spectra);
  const probe = document.body.appendChild(document.createElement("span"));
  probe.hidden = true;
  const colour = (name) => { probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; };
  const broadened = (lines, low, high, width) => {
    const x = Array.from({ length: 500 }, (_, index) => low + (high - low) * index / 499);
    return { x, y: x.map((at) => lines.reduce((sum, [centre, height]) => sum + height / (1 + ((at - centre) / width) ** 2), 0)) };
  };
  const draw = () => {
    for (const place of spectra.querySelectorAll("[data-spectrum]")) {
      const infrared = place.dataset.spectrum === "infrared";
      const lines = infrared ? found.infrared : found.absorption;
      const ends = lines.map((line) => line[0]), margin = infrared ? 150 : 25;
      const low = Math.max(0, Math.min(...ends) - margin), high = Math.max(...ends) + margin;
      const curve = broadened(lines, low, high, infrared ? 12 : 6);
      const sticks = { x: lines.flatMap(([at]) => [at, at, null]), y: lines.flatMap(([, height]) => [0, height, null]) };
      const axis = (title) => ({ title: { text: title, font: { size: 12, color: colour("muted") } }, gridcolor: colour("line"), linecolor: colour("line"), zeroline: false, tickfont: { size: 11, color: colour("muted") }, automargin: true, fixedrange: true });
      Plotly.react(place, [
        { ...curve, mode: "lines", line: { color: colour("lumo"), width: 2 }, hoverinfo: "skip" },
        { ...sticks, mode: "lines", line: { color: colour("accent"), width: 1.5 }, hovertemplate: infrared ? "%{x:.0f} cm⁻¹, %{y:.1f} km/mol<extra></extra>" : "%{x:.0f} nm, f = %{y:.3f}<extra></extra>" },
      ], {
        margin: { l: 48, r: 8, t: 8, b: 40 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, dragmode: false,
        font: { family: "system-ui, sans-serif", size: 12, color: colour("ink") },
        xaxis: { ...axis(infrared ? "wavenumber, cm⁻¹" : "wavelength, nm"), range: infrared ? [high, low] : [low, high] },
        yaxis: { ...axis(infrared ? "intensity, km/mol" : "oscillator strength"), rangemode: "tozero" },
      }, { displayModeBar: false, responsive: true });
    }
  };
  draw();
  document.addEventListener("gapsmith:theme", draw);
})();
