/** What a bug report is made of: each piece a file; what could not be had is told in errors.txt. Secrets are never asked for. */
import { stringify } from 'yaml';
import { reasonOf } from '../cluster.js';
import type { TarFile } from './tar.js';

export interface Piece {
  /** in the archive */
  name: string;
  /** what it is, for the table of contents */
  what: string;
  /** the text, or an object that is written as YAML */
  get: () => Promise<unknown>;
}

export interface Collected {
  files: TarFile[];
  /** `NAME: REASON` */
  errors: string[];
}

/** So many at a time. */
const atOnce = 6;

export async function collect(pieces: readonly Piece[]): Promise<Collected> {
  const files = new Map<string, TarFile>();
  const errors: string[] = [];
  const rest = [...pieces];
  const work = async (): Promise<void> => {
    for (let piece = rest.shift(); piece !== undefined; piece = rest.shift()) {
      const { name, get } = piece;
      try {
        const value = await get();
        files.set(name, { name, content: typeof value === 'string' ? value : stringify(value) });
      } catch (error) {
        errors.push(`${name}: ${reasonOf(error)}`);
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  // In the order of the pieces, whoever answered first.
  const ordered = pieces.flatMap(({ name }) => files.get(name) ?? []);
  return { files: ordered, errors: errors.sort() };
}

/** README.txt: what is in it, so that whoever hands it on knows. */
export function contents(
  pieces: readonly Piece[],
  { files, errors }: Collected,
  notes: readonly string[],
): string {
  const got = new Set(files.map(({ name }) => name));
  const lines = pieces.filter(({ name }) => got.has(name)).map(({ name, what }) => `${name}\n    ${what}`);
  return [
    'What kubectl serval bugreport has collected. No Secrets were read, and nothing was blacked out: names of namespaces, pods,',
    'services and nodes, addresses of nodes, pods and of the ends of connections, labels and annotations are in these files.',
    'Look at them before you hand them on.',
    '',
    ...lines,
    ...(errors.length === 0 ? [] : ['errors.txt', '    what could not be collected, and why'].map(String)),
    '',
    ...notes,
    '',
  ].join('\n');
}
