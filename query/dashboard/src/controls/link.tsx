/** A link within the page, which the browser can still open elsewhere. */

import type { JSX } from "solid-js";
import { go } from "../route";

export function Link(props: { to: string; current?: boolean; class?: string; children: JSX.Element }) {
  const follow = (event: MouseEvent) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    go(props.to);
    document.getElementById("view")?.focus();
  };
  return (
    <a href={props.to} class={props.class} aria-current={props.current ? "page" : undefined} onClick={follow}>
      {props.children}
    </a>
  );
}
