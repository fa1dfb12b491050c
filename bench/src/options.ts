/** What the command lines of all benches have in common. */
import { writeFileSync } from 'node:fs';
import { parseArgs, type ParseArgsConfig } from 'node:util';

export class UsageError extends Error {}

/** Options without words beside them. @throws UsageError */
export function readOptions<Config extends NonNullable<ParseArgsConfig['options']>>(
  args: readonly string[],
  options: Config,
) {
  try {
    return parseArgs({ args: [...args], options }).values;
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}

/** @throws UsageError */
export function wholeNumber(name: string, text: string): number {
  if (/^[1-9]\d{0,3}$/.test(text)) return Number(text);
  throw new UsageError(`${name} wants a whole number above 0, not "${text}"`);
}

/** Some of what is known, by commas; all where nothing is said. @throws UsageError */
export function choice<Name extends string>(
  option: string,
  known: readonly Name[],
  text: string | undefined,
): readonly Name[] {
  if (text === undefined) return known;
  return text.split(',').map((name) => {
    const found = known.find((each) => each === name);
    if (found === undefined) throw new UsageError(`${option} knows ${known.join(', ')}, not "${name}"`);
    return found;
  });
}

export function writeJson(file: string | undefined, value: object): void {
  if (file !== undefined) writeFileSync(file, `${JSON.stringify(value, undefined, 2)}\n`);
}
