/** What an agent has written into the kernel: its maps and programs, read by bpftool. */
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { tool } from '../lab/processes.js';

const run = promisify(execFile);

/** Maps that agents alone write, or write beside the kernel; all others belong to the kernel or count. */
const written: Readonly<Record<string, readonly string[]>> = {
  sal_buckets: [],
  sal_slots: ['kept', 'kept_later', 'packets', 'bytes', 'kept_seq', 'kept_ack'],
  sal_pods: [],
  sal_pairs: [],
  sal_programs: [],
  sal_config_map: [],
  sal_services: [],
  sal_choices: [],
  sal_replicas: ['rtt_us', 'connections', 'failures'],
  sal_clients: [],
  sal_own_replicas: [],
  sal_left_addresses: [],
};

/**
 * By what it is: the ids of the maps, each map's entries, the programs that use them, where these are attached. Two of them are
 * equal where nobody has changed anything in between, but for what packets and sockets change.
 */
export type DataPlane = Readonly<Record<string, readonly string[]>>;

interface Known {
  id: number;
  name?: string;
  type?: string;
}
interface PinnedMap extends Known {
  /** its name in full: the kernel's is cut */
  pin: string;
  path: string;
}
interface Entry {
  key: unknown;
  value: unknown;
  /** where the object's types say what it is */
  formatted?: { key: unknown; value: unknown };
}
interface Program extends Known {
  tag: string;
  map_ids?: number[];
}
interface Link extends Known {
  prog_id: number;
}

/** @param bpffs of the agent. @throws Error where bpftool can't read it */
export async function dataPlane(bpffs: string): Promise<DataPlane> {
  const folder = join(bpffs, 'serval/maps');
  const maps: PinnedMap[] = [];
  for (const pin of readdirSync(folder).sort()) {
    const path = join(folder, pin);
    maps.push({ pin, path, ...(await bpftool<Known>('map', 'show', 'pinned', path)) });
  }
  const entries = await Promise.all(
    maps.flatMap((map) => {
      const counts = written[map.pin];
      return counts === undefined ? [] : [entriesOf(map, counts).then((each) => [map.pin, each] as const)];
    }),
  );
  const own = new Set(maps.map(({ id }) => id));
  const programs = (await bpftool<Program[]>('prog', 'show')).filter(({ map_ids: used = [] }) =>
    used.some((id) => own.has(id)),
  );
  const loaded = new Set(programs.map(({ id }) => id));
  const links = (await bpftool<Link[]>('link', 'show')).filter(({ prog_id: id }) => loaded.has(id));
  return {
    maps: maps.map(({ pin, id }) => `${pin} is ${id}`),
    ...Object.fromEntries(entries),
    programs: programs.map(({ id, name, tag }) => `${id} ${name} ${tag}`),
    links: links.map(({ id, prog_id: program, type }) => `${id} ${type} ${program}`),
  };
}

/** Of arrays only elements that hold anything. */
async function entriesOf({ path, type }: PinnedMap, counts: readonly string[]): Promise<string[]> {
  const dump = await bpftool<Entry[]>('map', 'dump', 'pinned', path);
  return dump
    .map(({ formatted, key, value }) => formatted ?? { key, value })
    .filter(({ value }) => type?.includes('array') !== true || holdsAnything(value))
    .map((entry) =>
      JSON.stringify(entry, (name, part: unknown) => (counts.includes(name) ? undefined : part)),
    )
    .sort();
}

/** @param value numbers, or bytes as `0x00`, in whatever they are wrapped */
function holdsAnything(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return Number(value) !== 0;
  return Object.values(value).some(holdsAnything);
}

async function bpftool<Answer>(...words: string[]): Promise<Answer> {
  const { stdout } = await run(tool('bpftool'), ['--json', ...words], { maxBuffer: 1 << 28 });
  return JSON.parse(stdout) as Answer;
}
