/** Words of a command line as popt 1.19 reads them, which is how ipvsadm does. */

export interface OptionDefinition {
  /** Without the dashes. */
  readonly long: string;
  readonly short?: string;
  /** An optional argument is the rest of the word, or the next word if that has no dash in front. */
  readonly argument?: "required" | "optional";
}

export type OptionWord<T> =
  | { readonly kind: "option"; readonly option: T; readonly argument: string | undefined; readonly word: string }
  | { readonly kind: "error"; readonly word: string; readonly message: string }
  /** No option is left; these are the words that are none, in their order. */
  | { readonly kind: "end"; readonly rest: readonly string[] };

/**
 * Reads options one at a time, so that what is wrong with one is told before the next is looked at. `strict` is what
 * POSIXLY_CORRECT in the environment asks for: the first word that is no option ends the options.
 */
export function* readOptionWords<T extends OptionDefinition>(
  words: readonly string[],
  definitions: readonly T[],
  strict: boolean,
): Generator<OptionWord<T>, void> {
  const rest: string[] = [];
  let onlyRest = false;
  for (let next = 0; next < words.length;) {
    const word = words[next++]!;
    const error = (message: string) => ({ kind: "error", word, message }) as const;
    if (word === "--" && !onlyRest) {
      onlyRest = true;
      continue;
    }
    if (onlyRest || !/^-./s.test(word)) {
      rest.push(word);
      onlyRest ||= strict;
      continue;
    }
    if (word.startsWith("--")) {
      const [, name, , value] = /^--([^=]*)(=(.*))?$/s.exec(word)!;
      const option = definitions.find(({ long }) => long === name);
      if (option === undefined) return yield error("unknown option");
      if (option.argument === undefined) {
        if (value !== undefined) return yield error("option does not take an argument");
        yield { kind: "option", option, argument: undefined, word };
        continue;
      }
      const found = value === undefined ? following(option) : { argument: value };
      if (found === undefined) return yield error("missing argument");
      yield { kind: "option", option, argument: found.argument, word: words[next - 1]! };
      continue;
    }
    for (let letters = word.slice(1); letters !== "";) {
      const option = definitions.find(({ short }) => short === letters[0]);
      if (option === undefined) return yield error("unknown option");
      letters = letters.slice(1);
      if (option.argument === undefined) {
        if (letters.startsWith("=")) return yield error("option does not take an argument");
        yield { kind: "option", option, argument: undefined, word };
        continue;
      }
      const found = letters === "" ? following(option) : { argument: letters.replace(/^=/, "") };
      if (found === undefined) return yield error("missing argument");
      yield { kind: "option", option, argument: found.argument, word: words[next - 1]! };
      break;
    }

    function following(option: T): { readonly argument: string | undefined } | undefined {
      const candidate = words[next];
      if (option.argument === "optional" && candidate?.startsWith("-") !== false) return { argument: undefined };
      if (candidate === undefined) return undefined;
      next++;
      return { argument: candidate };
    }
  }
  yield { kind: "end", rest };
}
