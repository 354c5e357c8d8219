/** Amounts, shares and names as the view writes them. */

import { shortDayOf } from "../../city/format";
import { addDays, type Day } from "../../city/clock";
import { clock, units } from "../../city/session";
import { shownUnit } from "../../city/unit";
import { language, number } from "../../words/language";
import { utilities } from "../../words/utilities";

/** As many digits as somebody reads: 1,234 and 12.3 and 0.12. */
export function quantity(value: number, unit: string, digits?: number): string {
  if (Number.isNaN(value)) return "–";
  const { text, factor } = shownUnit(unit, units());
  const shown = value * factor;
  const size = Math.abs(shown);
  return `${number(shown, digits ?? (100 <= size ? 0 : 10 <= size ? 1 : 2))} ${text}`.trim();
}

/** Of a number that is percent already: with as many digits in each, as they stand beside one another. */
export function percents(value: number, digits = 1): string {
  if (Number.isNaN(value)) return "–";
  const format = { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits } as const;
  return new Intl.NumberFormat(language(), format).format(value / 100);
}

export const metricTitle = (metric: string): string => utilities().metrics[metric] ?? metric;

export const roleTitle = (role: string | null | undefined): string =>
  role ? (utilities().roles[role] ?? role) : utilities().noRole;

export const findingTitle = (finding: string): string => utilities().findings[finding] ?? finding;

export const dayTitle = (day: Day): string => shortDayOf(clock().start(day));

/** From the first to the last of some days. */
export const daysTitle = (last: Day, days: number): string =>
  utilities().from(dayTitle(addDays(last, 1 - days)), dayTitle(last));
