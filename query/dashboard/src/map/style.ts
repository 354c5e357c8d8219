/** The map's style: areas, roads with their direction, and dots. No tiles, no fonts, nothing from another host. */

import type { ExpressionSpecification, LayerSpecification, StyleSpecification } from "maplibre-gl";
import { themed } from "../chart/colour";

export const SOURCES = ["areas", "roads", "dots", "marks"] as const;
export type Source = (typeof SOURCES)[number];

/** What is told of a road or a dot by `setFeatureState`. */
export interface Look {
  /** CSS; none is what is not known: hollow dots, broken lines. */
  fill: string | undefined;
  /** From 0 to 3: the worse, the larger. */
  weight: number;
}

const NONE = "rgba(0, 0, 0, 0)";
const fill: ExpressionSpecification = ["to-color", ["feature-state", "fill"], NONE];
const weight: ExpressionSpecification = ["number", ["feature-state", "weight"], 0];
const isKnown: ExpressionSpecification = ["boolean", ["feature-state", "isKnown"], false];

const byZoom = (...stops: [zoom: number, value: number | ExpressionSpecification][]): ExpressionSpecification =>
  ["interpolate", ["linear"], ["zoom"], ...stops.flat()] as ExpressionSpecification;

const EMPTY = { type: "FeatureCollection" as const, features: [] };

export const LINE_WIDTH = { 10: 1.5, 13: 3.5, 17: 8 };

function width(more: number): ExpressionSpecification {
  const at = (base: number, share: number): ExpressionSpecification => ["+", base + more, ["*", share, weight]];
  return byZoom([10, at(LINE_WIDTH[10], 0.5)], [13, at(LINE_WIDTH[13], 0.8)], [17, at(LINE_WIDTH[17], 1.5)]);
}

/** Layers of the theme as it is now. `side` is 1 where traffic keeps right, else -1. */
function layers(side: 1 | -1): LayerSpecification[] {
  const [ink, soft, accent] = ["--ink", "--ink-soft", "--accent"].map(themed) as [string, string, string];
  // A line that both directions share is moved to the side of travel; one through its detectors lies there nearly.
  const isShared: ExpressionSpecification = ["boolean", ["get", "isShared"], true];
  const offset = (by: number): ExpressionSpecification => ["case", isShared, side * by, (side * by) / 2];
  const beside = byZoom([10, offset(1)], [13, offset(3)], [17, offset(7)]);
  const arrow = (by: number): ExpressionSpecification => [
    "case",
    isShared,
    ["literal", [0, side * by]],
    ["literal", [0, (side * by) / 2]],
  ];
  const round = { "line-cap": "round", "line-join": "round" } as const;
  return [
    { id: "ground", type: "background", paint: { "background-color": themed("--ground") } },
    { id: "areas", type: "fill", source: "areas", paint: { "fill-color": accent, "fill-opacity": 0.05 } },
    {
      id: "borders",
      type: "line",
      source: "areas",
      paint: { "line-color": themed("--control"), "line-width": 1, "line-dasharray": [4, 3] },
    },
    {
      id: "chosen-road",
      type: "line",
      source: "roads",
      filter: ["==", ["id"], -1],
      layout: round,
      paint: { "line-color": accent, "line-width": width(9), "line-offset": beside },
    },
    {
      id: "unknown",
      type: "line",
      source: "roads",
      paint: {
        "line-color": soft,
        "line-width": 2,
        "line-offset": beside,
        "line-dasharray": [1.5, 2],
        "line-opacity": ["case", isKnown, 0, 1],
      },
    },
    {
      id: "casing",
      type: "line",
      source: "roads",
      layout: round,
      paint: {
        "line-color": ink,
        "line-width": width(1.6),
        "line-offset": beside,
        "line-opacity": ["case", isKnown, 1, 0],
      },
    },
    {
      id: "roads",
      type: "line",
      source: "roads",
      layout: round,
      paint: {
        "line-color": fill,
        "line-width": width(0),
        "line-offset": beside,
        "line-opacity": ["case", isKnown, 1, 0],
      },
    },
    // Wider than what is seen, to be met by a finger.
    {
      id: "near",
      type: "line",
      source: "roads",
      paint: { "line-color": NONE, "line-width": 20, "line-offset": beside },
    },
    {
      id: "arrows",
      type: "symbol",
      source: "roads",
      minzoom: 11.5,
      layout: {
        "symbol-placement": "line",
        "symbol-spacing": 110,
        "icon-image": "arrow",
        "icon-size": byZoom([12, 0.5], [17, 1]),
        "icon-offset": byZoom([10, arrow(2)], [13, arrow(5)], [17, arrow(7)]),
        "icon-allow-overlap": true,
        "icon-ignore-placement": true,
      },
    },
    {
      id: "chosen-dot",
      type: "circle",
      source: "dots",
      filter: ["==", ["id"], -1],
      paint: {
        "circle-color": NONE,
        "circle-radius": byZoom([10, 10], [17, 18]),
        "circle-stroke-color": accent,
        "circle-stroke-width": 4,
      },
    },
    {
      id: "dots",
      type: "circle",
      source: "dots",
      paint: {
        "circle-color": fill,
        "circle-radius": byZoom(
          [9, ["+", 2, ["*", 0.6, weight]]],
          [13, ["+", 3.2, ["*", 0.9, weight]]],
          [15, ["+", 5, weight]],
          [17, ["+", 7.5, ["*", 1.4, weight]]],
        ),
        "circle-stroke-color": ["case", isKnown, ink, soft],
        "circle-stroke-width": byZoom([9, 0.8], [13, 1.4], [17, 2]),
      },
    },
    {
      id: "marks",
      type: "symbol",
      source: "marks",
      layout: {
        "icon-image": ["get", "mark"],
        "icon-size": byZoom([9, 0.45], [13, 0.7], [17, 1]),
        "icon-allow-overlap": true,
        "icon-ignore-placement": true,
      },
    },
  ];
}

export function style(side: 1 | -1): StyleSpecification {
  const source = { type: "geojson" as const, data: EMPTY };
  return { version: 8, sources: Object.fromEntries(SOURCES.map((name) => [name, source])), layers: layers(side) };
}
