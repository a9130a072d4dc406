/** The lines that `ipvsadm -R` reads, each a command line without the program's name. */

/**
 * Splits text into lines of words as it comes: a line may arrive in pieces. Words are what blanks part, the word
 * `ipvsadm` does not count, and nothing is quoted or a comment.
 */
export class RestoreLines {
  #pending = "";

  /** The lines that this piece completes; empty ones are left out. */
  add(piece: string): string[][] {
    const lines = (this.#pending + piece).split("\n");
    this.#pending = lines.pop() ?? "";
    return lines.map(wordsOf).filter((words) => words.length > 0);
  }

  /** What came after the last line feed. ipvsadm forgets it if more than one blank stands at its end. */
  end(): string[][] {
    const words = wordsOf(this.#pending);
    return words.length === 0 || /[ \t\r]{2}$/.test(this.#pending) ? [] : [words];
  }
}

function wordsOf(line: string): string[] {
  return line.split(/[ \t\r]+/).filter((word) => word !== "" && word !== "ipvsadm");
}
