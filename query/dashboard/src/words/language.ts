/** Two full languages, side by side in each catalogue, so that one cannot be forgotten. */

import { createSignal } from "solid-js";

export const LANGUAGES = { en: "English", de: "Deutsch" } as const;
export type Language = keyof typeof LANGUAGES;

const KEPT = "screenline.language";

const isLanguage = (text: string | null): text is Language => text !== null && text in LANGUAGES;

function first(): Language {
  const asked = new URLSearchParams(location.search).get("lang");
  const kept = localStorage.getItem(KEPT);
  const spoken = navigator.languages.map((tag) => tag.slice(0, 2)).find(isLanguage);
  return isLanguage(asked) ? asked : isLanguage(kept) ? kept : (spoken ?? "en");
}

const [language, set] = createSignal<Language>(first());
export { language };

export function speak(chosen: Language): void {
  localStorage.setItem(KEPT, chosen);
  document.documentElement.lang = chosen;
  set(chosen);
}

/** A catalogue: what is said in the language that is spoken now. */
export function catalogue<T>(both: Record<Language, T>): () => T {
  return () => both[language()];
}

const formats = new Map<string, Intl.NumberFormat>();

/** Made once: making one takes longer than a hundred numbers. */
function format(options: Intl.NumberFormatOptions): Intl.NumberFormat {
  const key = `${language()} ${options.style} ${options.maximumFractionDigits}`;
  let format = formats.get(key);
  if (format === undefined) formats.set(key, (format = new Intl.NumberFormat(language(), options)));
  return format;
}

/** A number as people write it; a dash for what is missing. */
export function number(value: number | null | undefined, digits = 0): string {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  return format({ maximumFractionDigits: digits }).format(value);
}

/** Of a share from 0 to 1. */
export function percent(share: number | null | undefined, digits = 0): string {
  if (share === null || share === undefined || Number.isNaN(share)) return "–";
  return format({ style: "percent", maximumFractionDigits: digits }).format(share);
}
