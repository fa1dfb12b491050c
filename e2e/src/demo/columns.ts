/** Pure: rows as a table of text. */

/**
 * One line per row, a rule below the heads. The first `wordColumns` columns are words and stand on the left, the others are
 * numbers and stand on the right.
 */
export function renderColumns(
  heads: readonly string[],
  rows: ReadonlyArray<readonly string[]>,
  wordColumns: number,
): string[] {
  const all = [heads, ...rows];
  const widths = heads.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  const [first = '', ...others] = all.map((row) =>
    widths
      .map((width, column) => {
        const cell = row[column] ?? '';
        return column < wordColumns ? cell.padEnd(width) : cell.padStart(width);
      })
      .join('  ')
      .trimEnd(),
  );
  return [first, widths.map((width) => '-'.repeat(width)).join('  '), ...others];
}
