/** One or some of many names: a combobox by https://www.w3.org/WAI/ARIA/apg/patterns/combobox/ */

import { createSignal, createUniqueId, For, Show } from "solid-js";
import { common } from "../words/common";
import { number } from "../words/language";

/** Names in the list at once: of more somebody types a part. */
const SHOWN = 60;

export interface Option {
  id: string;
  title: string;
}

export interface ChoiceProps {
  label: string;
  options: Option[];
  chosen: string[];
  /** How many may be chosen at most; with one the next takes its place. */
  most?: number;
  onChoose: (ids: string[]) => void;
}

export function Choice(props: ChoiceProps) {
  const list = createUniqueId();
  const [typed, setTyped] = createSignal<string>();
  const [isOpen, setOpen] = createSignal(false);
  const [at, setAt] = createSignal(0);
  const isOne = () => (props.most ?? 1) === 1;
  const title = (id: string) => props.options.find((option) => option.id === id)?.title ?? id;
  const found = () => {
    const words = (typed() ?? "").toLowerCase().split(/\s+/);
    const free = props.options.filter((option) => isOne() || !props.chosen.includes(option.id));
    return free.filter((option) => words.every((word) => option.title.toLowerCase().includes(word)));
  };
  const shown = () => found().slice(0, SHOWN);
  const close = () => {
    setOpen(false);
    setTyped(undefined);
  };
  const choose = (option: Option | undefined) => {
    if (option === undefined) return;
    props.onChoose(isOne() ? [option.id] : [...props.chosen, option.id].slice(-(props.most ?? 1)));
    close();
  };
  const move = (by: number) => {
    setOpen(true);
    setAt((at) => Math.min(Math.max(at + by, 0), shown().length - 1));
    document.getElementById(`${list}-${at()}`)?.scrollIntoView({ block: "nearest" });
  };
  const key = (event: KeyboardEvent) => {
    if (event.key === "ArrowDown") move(isOpen() ? 1 : 0);
    else if (event.key === "ArrowUp") move(-1);
    else if (event.key === "Enter" && isOpen()) choose(shown()[at()]);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
  };
  return (
    <div class="choice" onFocusOut={(event) => event.currentTarget.contains(event.relatedTarget as Node) || close()}>
      <label for={`${list}-input`}>{props.label}</label>
      <div class="box">
        <Show when={!isOne()}>
          <For each={props.chosen}>
            {(id) => (
              <button type="button" class="chip" aria-label={common().remove(title(id))} onClick={() => props.onChoose(props.chosen.filter((other) => other !== id))}>
                {title(id)} <span aria-hidden="true">×</span>
              </button>
            )}
          </For>
        </Show>
        <input
          id={`${list}-input`}
          type="text"
          role="combobox"
          autocomplete="off"
          spellcheck={false}
          aria-expanded={isOpen()}
          aria-controls={list}
          aria-autocomplete="list"
          aria-activedescendant={isOpen() && 0 < shown().length ? `${list}-${at()}` : undefined}
          placeholder={common().search}
          value={typed() ?? (isOne() && props.chosen[0] !== undefined ? title(props.chosen[0]) : "")}
          onInput={(event) => {
            setTyped(event.currentTarget.value);
            setAt(0);
            setOpen(true);
          }}
          onFocus={(event) => event.currentTarget.select()}
          onClick={() => setOpen(true)}
          onKeyDown={key}
        />
      </div>
      <ul id={list} role="listbox" aria-label={props.label} hidden={!isOpen()}>
        <For each={shown()} fallback={<li class="hint">{common().nothingFound}</li>}>
          {(option, index) => (
            <li
              id={`${list}-${index()}`}
              role="option"
              aria-selected={props.chosen.includes(option.id)}
              classList={{ active: index() === at() }}
              onPointerDown={(event) => {
                event.preventDefault(); // the focus stays in the box
                choose(option);
              }}
            >
              {option.title}
            </li>
          )}
        </For>
        <Show when={shown().length < found().length}>
          <li class="hint" role="presentation">{common().onlyFirst(number(SHOWN))}</li>
        </Show>
      </ul>
    </div>
  );
}
