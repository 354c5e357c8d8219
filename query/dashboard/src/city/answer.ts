/** An answer that follows its question: asked anew when the question changes, kept while the next is on its way. */

import { type Accessor, createEffect, createSignal, on, onCleanup } from "solid-js";
import { ask, type Answer, type Most } from "../flight/flight";
import { CallError, Code } from "../flight/grpc_web";
import type { Question } from "../flight/question";
import { heard, signOut } from "./session";

export interface Asked {
  question: Accessor<Question | undefined>;
  /** The last that came, also while the next is asked for. */
  answer: Accessor<Answer | undefined>;
  error: Accessor<CallError | undefined>;
  isLoading: Accessor<boolean>;
  again: () => void;
}

/** `question` is undefined while there is nothing to ask. `every`: milliseconds after which it is asked again. */
export function asked(question: Accessor<Question | undefined>, every?: Accessor<number | undefined>, most?: Most): Asked {
  const [answer, setAnswer] = createSignal<Answer>();
  const [error, setError] = createSignal<CallError>();
  const [isLoading, setLoading] = createSignal(false);
  const [turn, setTurn] = createSignal(0);
  const text = () => JSON.stringify(question()); // the same question, written anew, is the same
  let before: string | undefined;
  createEffect(
    on([text, turn], ([now]) => {
      const asking = question();
      if (now !== before) setAnswer(undefined);
      before = now;
      setError(undefined);
      if (asking === undefined) return setLoading(false);
      const stop = new AbortController();
      onCleanup(() => stop.abort());
      setLoading(true);
      ask(asking, stop.signal, most)
        .then((answer) => {
          if (stop.signal.aborted) return;
          heard(answer.completeUntil);
          setAnswer(answer);
          setLoading(false);
        })
        .catch((error: unknown) => {
          if (stop.signal.aborted) return;
          if (!(error instanceof CallError)) console.error(error); // of the page itself, as when a view cannot show an answer
          const failure = error instanceof CallError ? error : new CallError(Code.unavailable, `${error}`);
          if (failure.code === Code.unauthenticated) signOut();
          setError(failure);
          setLoading(false);
        });
    }),
  );
  const again = () => setTurn((turn) => turn + 1);
  createEffect(() => {
    const pause = every?.();
    if (pause === undefined) return;
    const timer = setInterval(() => document.hidden || again(), pause);
    onCleanup(() => clearInterval(timer));
  });
  return { question, answer, error, isLoading, again };
}
