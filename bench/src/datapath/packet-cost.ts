/**
 * Nanoseconds per packet by BPF_PROG_TEST_RUN: an empty program, a miss, a translation; with few and many rules. Hot is
 * the same cache lines again and again (a circle of two rules); cold walks through all rules in random order, or misses
 * with another packet each time (then the base is the empty program behind the same varying one).
 */
import type { BpfProgram, EbpfDatapath } from '@serval/node-agent';
import { run } from '../shell.js';
import { overBase, roundedSpread, spread, type Spread } from '../statistics.js';
import type { Workspace } from '../workspace.js';
import { circle, columns, cycleTuple, protocolOf, shuffled, unknownTuple, type Column } from './cycle.js';
import { frame, portsOf } from './frames.js';
import { compile, emptyPrograms, flowPrograms, type Programs } from './packet-programs.js';

/** One rule alone can't be hit again and again: with "1" there are two, from A to B and back. */
export const ruleCounts = [1, 10_000, 100_000] as const;
const repeat = 1_000_000;

export interface Cost extends Spread {
  /** median of the differences to the empty program of the same round */
  overEmpty: number;
}

export interface ColumnCosts {
  empty: Spread;
  rules: Record<string, { missHot: Cost; missCold?: Cost; translationHot: Cost; translationCold?: Cost }>;
}

export type PerPacketNs = Record<Column, ColumnCosts>;

const packetKinds = ['missHot', 'missCold', 'translationHot', 'translationCold'] as const;
type PacketKind = (typeof packetKinds)[number];

interface World {
  column: Column;
  rules: number;
  programs: Programs;
}

export async function measurePackets(
  workspace: Workspace,
  rounds: number,
  progress: (line: string) => void,
): Promise<PerPacketNs> {
  const object = await compile(workspace);
  const worlds: World[] = [];
  for (const rules of ruleCounts)
    for (const column of columns) worlds.push(await makeWorld(workspace, object, column, rules));
  progress(`packets: ${worlds.length} tables are filled`);
  const { bpffs } = await workspace.datapath({ slots: 16 });
  const empty = await emptyPrograms(object, bpffs);
  const samples = new Samples();
  for (let round = 0; round < rounds; round++) {
    for (const column of columns) {
      samples.add(`${column} empty`, time(empty.direct, column, unknownTuple(column, round)));
      if (canVary(column))
        samples.add(`${column} emptyVaried`, time(empty.varied, column, unknownTuple(column, round)));
    }
    for (const world of worlds) measureWorld(world, round, samples);
    progress(`packets: round ${round + 1} of ${rounds}`);
  }
  return Object.fromEntries(columns.map((column) => [column, columnCosts(column, samples)])) as PerPacketNs;
}

/** bench_vary knows IPv4 alone; a cold miss differs in nothing else. */
function canVary(column: Column): boolean {
  return column !== 'ipv6Tcp';
}

/** A data plane with a circle of two rules, and one of all the others. */
async function makeWorld(
  workspace: Workspace,
  object: string,
  column: Column,
  rules: number,
): Promise<World> {
  const label = `packets-${column.toLowerCase()}-${rules}`;
  const netns = await workspace.netns(label);
  await run([
    'nsenter',
    `--net=${netns}`,
    'ip',
    'link',
    'add',
    'eth0',
    'type',
    'veth',
    'peer',
    'name',
    'eth1',
  ]);
  const { datapath, bpffs } = await workspace.datapath({ slots: rules > 60_000 ? 1 << 18 : 1 << 17 });
  await datapath.addPod({ name: `bench/${label}`, netns, interfaces: ['eth0'] });
  await fill(datapath, `bench/${label}`, column, rules);
  const programs = await flowPrograms(object, bpffs);
  const world = { column, rules, programs };
  check(world);
  return world;
}

async function fill(datapath: EbpfDatapath, pod: string, column: Column, rules: number): Promise<void> {
  const others = rules > 2 ? circle(column, 2, rules - 2) : [];
  await datapath.apply(pod, shuffled([...circle(column, 0, 2), ...others]));
}

/** The circles are what they should be: three steps lead to the fourth tuple, a miss changes nothing. */
function check({ column, rules, programs }: World): void {
  const after = (from: number, steps: number): number =>
    portsOf(
      programs.direct.run({ data: frame(protocolOf(column), cycleTuple(column, from)), repeat: steps }).data,
    ).local;
  const wrong =
    after(0, 3) !== cycleTuple(column, 1).local.port ||
    (rules > 2 && after(2, 3) !== cycleTuple(column, 5).local.port) ||
    programs.direct.run({ data: frame(protocolOf(column), unknownTuple(column, 1)) }).verdict !== -1;
  if (wrong) throw new Error(`the flow program does not go round in circles (${column}, ${rules} rules)`);
}

function measureWorld({ column, rules, programs }: World, round: number, samples: Samples): void {
  const add = (kind: PacketKind, program: BpfProgram, tuple: ReturnType<typeof cycleTuple>): void =>
    samples.add(`${column} ${kind} ${rules}`, time(program, column, tuple));
  add('missHot', programs.direct, unknownTuple(column, round));
  add('translationHot', programs.direct, cycleTuple(column, 0));
  if (rules <= 2) return;
  if (canVary(column)) add('missCold', programs.varied, unknownTuple(column, round));
  add('translationCold', programs.direct, cycleTuple(column, 2));
}

/** The kernel's own mean; a short run first, so that the code and the first cache lines are there. */
function time(program: BpfProgram, column: Column, tuple: ReturnType<typeof cycleTuple>): number {
  const data = frame(protocolOf(column), tuple);
  program.run({ data, repeat: repeat / 10 });
  return program.run({ data, repeat }).durationNs;
}

class Samples {
  private readonly values = new Map<string, number[]>();

  add(name: string, value: number): void {
    const values = this.values.get(name);
    if (values === undefined) this.values.set(name, [value]);
    else values.push(value);
  }

  get(name: string): number[] | undefined {
    return this.values.get(name);
  }
}

function columnCosts(column: Column, samples: Samples): ColumnCosts {
  const empty = samples.get(`${column} empty`) ?? [];
  const emptyVaried = samples.get(`${column} emptyVaried`) ?? [];
  const rules = ruleCounts.map((count) => {
    const costs = packetKinds.flatMap((kind) => {
      const values = samples.get(`${column} ${kind} ${count}`);
      if (values === undefined) return [];
      const overEmpty = overBase(values, kind === 'missCold' ? emptyVaried : empty).median;
      return [[kind, { ...roundedSpread(spread(values), 1), overEmpty }] as const];
    });
    return [String(count), Object.fromEntries(costs)] as const;
  });
  return { empty: roundedSpread(spread(empty), 1), rules: Object.fromEntries(rules) as ColumnCosts['rules'] };
}
