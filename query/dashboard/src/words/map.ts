import { catalogue } from "./language";

/** What every map says. */
export const mapWords = catalogue({
  en: {
    tools: "Map",
    zoomIn: "Zoom in",
    zoomOut: "Zoom out",
    fit: "Fit",
    fitAbout: "Show everything that is on the map",
    gestures: {
      wheel: "Hold Ctrl while scrolling to zoom",
      wheelMac: "Hold ⌘ while scrolling to zoom",
      touch: "Move the map with two fingers",
    },
  },
  de: {
    tools: "Karte",
    zoomIn: "Vergrößern",
    zoomOut: "Verkleinern",
    fit: "Einpassen",
    fitAbout: "Alles zeigen, was auf der Karte ist",
    gestures: {
      wheel: "Strg halten und scrollen, um zu zoomen",
      wheelMac: "⌘ halten und scrollen, um zu zoomen",
      touch: "Die Karte mit zwei Fingern bewegen",
    },
  },
});
