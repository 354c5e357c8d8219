/** Colours of data. Chosen so that people who see few colours can tell them apart; never the only mark. */

/** Cividis (Nuñez, Anderton, Renslow 2018), from low to high. */
const CIVIDIS = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];

/** ColorBrewer RdYlBu 6, from bad to good. */
const RED_BLUE = ["#d73027", "#fc8d59", "#fee090", "#e0f3f8", "#91bfdb", "#4575b4"];

const channels = (hex: string): [number, number, number] => [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)) as [number, number, number];
const TABLE = CIVIDIS.map(channels);

/** Red, green and blue of a share from 0 to 1 of the scale. */
export function sequential(share: number): [number, number, number] {
  const at = Math.min(Math.max(share, 0), 1) * (TABLE.length - 1);
  const [low, high] = [TABLE[Math.floor(at)]!, TABLE[Math.ceil(at)]!];
  return low.map((from, channel) => Math.round(from + (high[channel]! - from) * (at - Math.floor(at)))) as [number, number, number];
}

export const sequentialCss = (share: number): string => `rgb(${sequential(share).join(" ")})`;

/** Of a class from 0 (bad) to 5 (good). */
export const classCss = (of: number): string => RED_BLUE[Math.min(Math.max(of, 0), RED_BLUE.length - 1)]!;

/** Borders of the ratio of speed to free-flow speed between classes, as HCM 2010 has them for streets: F to A. */
export const RATIO_BORDERS = [0.3, 0.4, 0.5, 0.67, 0.85];

/** 0 for a crawl to 5 for free flow. */
export const ratioClass = (ratio: number): number => RATIO_BORDERS.filter((border) => border < ratio).length;

/** Lines of a chart, by their place; each also has its own dash. */
export const LINES = ["--line-1", "--line-2", "--line-3", "--line-4"] as const;

/** A property of the page's theme, as it is now. */
export const themed = (property: string): string => getComputedStyle(document.documentElement).getPropertyValue(property).trim();
