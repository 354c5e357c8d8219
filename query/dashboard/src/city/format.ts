/** Times as the city's clocks show them. */

import { language } from "../words/language";
import { clock } from "./session";

const formats = new Map<string, Intl.DateTimeFormat>();

function format(options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = `${language()} ${JSON.stringify(options)}`;
  let format = formats.get(key);
  if (format === undefined) {
    format = new Intl.DateTimeFormat(language(), { ...options, timeZone: "UTC", hourCycle: "h23" });
    formats.set(key, format);
  }
  return format;
}

const shown = (instant: number, options: Intl.DateTimeFormatOptions): string =>
  Number.isNaN(instant) ? "–" : format(options).format(clock().shifted(instant));

/** `14:05` */
export const timeOf = (instant: number): string => shown(instant, { hour: "2-digit", minute: "2-digit" });

/** `14:05–15:05`, in one line. */
export const spanOf = (from: number, to: number): string => `${timeOf(from)}\u2060–\u2060${timeOf(to)}`;

/** `14:05:09` */
export const secondOf = (instant: number): string => shown(instant, { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** `Mon, 23 Nov 2026` */
export const dayOf = (instant: number): string => shown(instant, { weekday: "short", day: "numeric", month: "short", year: "numeric" });

/** `23 Nov` */
export const shortDayOf = (instant: number): string => shown(instant, { day: "numeric", month: "short" });

/** `Nov` */
export const monthOf = (instant: number): string => shown(instant, { month: "short" });

/** `23 Nov 2026, 14:05 CET` */
export const instantOf = (instant: number): string =>
  Number.isNaN(instant)
    ? "–"
    : `${shown(instant, { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" })} ${clock().abbreviation(instant)}`;

/** `2026-11-23 14:05:00`, for tables of raw rows. */
export const stampOf = (instant: number): string =>
  Number.isNaN(instant) ? "–" : new Date(clock().shifted(instant)).toISOString().replace("T", " ").slice(0, 19);
