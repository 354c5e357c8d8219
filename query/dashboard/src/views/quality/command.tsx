/** A command for a terminal, and a button that copies it. */

import { createSignal, onCleanup } from "solid-js";
import { words } from "../../words/quality";

const SAID_MS = 2000;

export function Command(props: { text: string }) {
  const [isCopied, setCopied] = createSignal(false);
  let timer: ReturnType<typeof setTimeout> | undefined;
  onCleanup(() => clearTimeout(timer));
  const copy = async () => {
    await navigator.clipboard?.writeText(props.text);
    setCopied(true);
    timer = setTimeout(() => setCopied(false), SAID_MS);
  };
  return (
    <span class="command">
      <code>{props.text}</code>
      <button type="button" class="quiet" aria-label={`${words().changes.copy}: ${props.text}`} onClick={() => void copy()}>
        {isCopied() ? words().changes.copied : words().changes.copy}
      </button>
    </span>
  );
}
