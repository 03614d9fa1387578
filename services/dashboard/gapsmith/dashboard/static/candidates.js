// The selection of candidates, kept while one pages through; what is selected is what is exported.
"use strict";

document.addEventListener("alpine:init", () => {
  Alpine.data("selection", () => ({
    chosen: new Set(),
    number: 0,
    get some() { return this.number > 0; },
    get words() { return `${this.number} selected`; },
    init() {
      this.$el.addEventListener("htmx:afterSwap", () => this.mark());
      this.mark();
    },
    toggle(event) { this.put(event.target.value, event.target.checked); this.mark(); },
    all(event) {
      const on = event.target.checked;
      this.boxes().forEach((box) => this.put(box.value, on));
      this.mark();
    },
    clear() { this.chosen.clear(); this.mark(); },
    put(id, on) { on ? this.chosen.add(id) : this.chosen.delete(id); },
    boxes() { return [...this.$root.querySelectorAll("[data-candidate]")]; },
    mark() {
      const boxes = this.boxes();
      boxes.forEach((box) => { box.checked = this.chosen.has(box.value); });
      const head = this.$root.querySelector("[data-all]");
      if (head) {
        const on = boxes.filter((box) => box.checked).length;
        head.checked = on > 0 && on === boxes.length;
        head.indeterminate = on > 0 && on < boxes.length;
      }
      this.number = this.chosen.size;
      const label = this.$root.querySelector("#export-label");
      if (label) label.textContent = this.number ? "Export selected" : "Export all";
      for (const link of this.$root.querySelectorAll("[data-export]")) {
        link.dataset.every ??= link.getAttribute("href");
        link.href = this.number ? `/candidates/export.${link.dataset.export}?ids=${[...this.chosen].join(",")}` : link.dataset.every;
      }
    },
  }));
});
