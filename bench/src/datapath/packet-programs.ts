/** The programs that are timed: an empty one, the flow program of a pod, and either behind one that varies the packet. */
import { join } from 'node:path';
import { defaultObjectPath, loadPrograms, native, openMaps, type BpfProgram } from '@serval/node-agent';
import { run } from '../shell.js';
import type { Workspace } from '../workspace.js';

export interface Programs {
  /** runs as it is */
  direct: BpfProgram;
  /** behind bench_vary: another packet each time */
  varied: BpfProgram;
}

const source = new URL('../../bpf/bench.bpf.c', import.meta.url).pathname;

/** Compiles the benchmark's own programs. */
export async function compile(workspace: Workspace): Promise<string> {
  const object = join(workspace.folder, 'bench.bpf.o');
  const machine = (await run(['gcc', '-dumpmachine'])).trim();
  const flags = ['-O2', '-g', '-Wall', '-Werror', '-target', 'bpf', '-mcpu=v3', `-I/usr/include/${machine}`];
  await run(['clang-14', ...flags, '-c', source, '-o', object]);
  return object;
}

export async function emptyPrograms(object: string, bpffs: string): Promise<Programs> {
  const opened = native().openObject(object);
  await opened.load();
  const program = opened.program('bench_empty');
  opened.close();
  return { direct: program, varied: await behindVary(object, bpffs, 'empty', program) };
}

/** Of the first pod of a data plane. */
export async function flowPrograms(object: string, bpffs: string): Promise<Programs> {
  const pinRoot = join(bpffs, 'serval');
  const shared = await openMaps({ pinRoot, objectPath: defaultObjectPath, slots: 0 });
  const { ingress, egress } = await loadPrograms({ objectPath: defaultObjectPath, maps: shared.maps }, 1);
  ingress.close();
  for (const map of Object.values(shared.maps)) map.close();
  return { direct: egress, varied: await behindVary(object, bpffs, 'egress', egress) };
}

/** bench_vary with this program as the next one; bpftool puts it there by its pin, as only it can name it so. */
async function behindVary(
  object: string,
  bpffs: string,
  name: string,
  next: BpfProgram,
): Promise<BpfProgram> {
  const opened = native().openObject(object);
  await opened.load();
  const programPin = join(bpffs, `bench_${name}`);
  const mapPin = join(bpffs, `bench_next_${name}`);
  next.pin(programPin);
  opened.map('bench_next').pin(mapPin);
  const vary = opened.program('bench_vary');
  opened.close();
  await run([
    'bpftool',
    'map',
    'update',
    'pinned',
    mapPin,
    'key',
    '0',
    '0',
    '0',
    '0',
    'value',
    'pinned',
    programPin,
  ]);
  return vary;
}
