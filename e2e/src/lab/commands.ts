import { once } from 'node:events';
import { constants } from 'node:os';
import { parseArgs, type ParseArgsOptionsConfig } from 'node:util';
import { setTimeout as delay } from 'node:timers/promises';
import { auditRecording, packetLine } from './audit.js';
import { createLab, openLab, type Lab } from './lab.js';
import type { Recorder } from './recorder.js';
import { removeLab, removeStaleLabs } from './removal.js';
import { isStale, labIds, stateIfAny } from './state.js';
import type { CommandName } from './usage.js';

/** What was typed can not be understood: the command ends with exit code 2 and its usage. */
export class UsageError extends Error {}

/** A command of the lab: takes its arguments, returns the exit code. */
export type Command = (args: string[]) => Promise<number>;

export const commands: Readonly<Record<CommandName, Command>> = { up, list, show, exec, record, down };

async function up(args: string[]): Promise<number> {
  const { values } = parse(args, 0, {
    sites: { type: 'string', default: '3' },
    'hosts-per-site': { type: 'string', default: '1' },
    pods: { type: 'string', default: '1' },
    id: { type: 'string' },
    hold: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  });
  const spec = {
    sites: count('--sites', values.sites),
    hostsPerSite: count('--hosts-per-site', values['hosts-per-site']),
    podsPerHost: count('--pods', values.pods),
  };
  const lab = await createLab(spec, values.id === undefined ? {} : { id: values.id });
  if (!values.hold) lab.detach();
  print(values.json ? JSON.stringify(summary(lab)) : lab.describe());
  if (values.hold) await forever();
  return 0;
}

function list(args: string[]): Promise<number> {
  const { values } = parse(args, 0, { json: { type: 'boolean', default: false } });
  const states = labIds().map(stateIfAny);
  const rows = states
    .filter((state) => state !== undefined)
    .map((state) => {
      const { id } = state;
      const owner = state.owner?.pid ?? null;
      return {
        id,
        createdAt: state.createdAt,
        owner,
        stale: isStale(state),
        pods: state.pods.map((pod) => pod.name),
      };
    });
  if (values.json) print(JSON.stringify(rows));
  for (const row of values.json ? [] : rows) {
    const keeper = row.stale ? 'STALE' : row.owner === null ? 'until removed' : `with process ${row.owner}`;
    print(`${row.id}  ${new Date(row.createdAt).toISOString()}  ${keeper}  ${row.pods.length} pods`);
  }
  return Promise.resolve(0);
}

function show(args: string[]): Promise<number> {
  const { values, positionals } = parse(args, 1, { json: { type: 'boolean', default: false } });
  const lab = openLab(positionals[0] ?? '');
  print(values.json ? JSON.stringify(summary(lab)) : lab.describe());
  return Promise.resolve(0);
}

async function exec(args: string[]): Promise<number> {
  const split = args.indexOf('--');
  const [command, ...rest] = split < 0 ? [] : args.slice(split + 1);
  const { positionals } = parse(split < 0 ? args : args.slice(0, split), 2, {});
  if (command === undefined) throw new UsageError('the command is missing: write it after --');
  const [id = '', pod = ''] = positionals;
  const child = openLab(id).pod(pod).spawn(command, rest, { stdio: 'inherit' });
  // Ctrl-C reaches the command by itself; signals that were sent to us alone are passed on.
  process.on('SIGINT', () => undefined);
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  const [exitCode, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return exitCode ?? 128 + (signal === null ? 0 : constants.signals[signal]);
}

async function record(args: string[]): Promise<number> {
  const { values, positionals } = parse(args, 1, {
    seconds: { type: 'string', default: '10' },
    filter: { type: 'string' },
    json: { type: 'boolean', default: false },
  });
  const seconds = count('--seconds', values.seconds);
  const lab = openLab(positionals[0] ?? '');
  const recorder = await lab.recordFabric(values.filter === undefined ? {} : { filter: values.filter });
  await Promise.race([
    delay(seconds * 1000, undefined, { ref: true }),
    once(process, 'SIGINT'),
    once(process, 'SIGTERM'),
  ]);
  return await report(recorder, lab.id, values.json);
}

async function report(recorder: Recorder, id: string, json: boolean): Promise<number> {
  const recording = await recorder.stop();
  const violations = auditRecording(recording, openLab(id).assignments); // read anew: pods came and went meanwhile
  if (json) {
    print(JSON.stringify({ ...recording, violations }));
  } else {
    for (const packet of recording.packets) print(packetLine(packet));
    for (const { kind, reason, point, packet } of violations) {
      print(
        `VIOLATION ${kind} at ${point}: ${reason}${packet === undefined ? '' : `\n  ${packetLine(packet)}`}`,
      );
    }
    print(`${recording.packets.length} packets, ${recording.dropped} lost, ${violations.length} violations`);
  }
  return violations.length === 0 ? 0 : 1;
}

function down(args: string[]): Promise<number> {
  const { values, positionals } = parse(args, undefined, {
    all: { type: 'boolean', default: false },
    stale: { type: 'boolean', default: false },
  });
  const choices = positionals.length + Number(values.all) + Number(values.stale);
  if (choices !== 1) throw new UsageError('give one lab id, or --all, or --stale');
  if (values.stale) return Promise.resolve(downStale());
  for (const id of values.all ? labIds() : positionals) {
    removeLab(id);
    print(`removed ${id}`);
  }
  return Promise.resolve(0);
}

function downStale(): number {
  const { removed, failed } = removeStaleLabs();
  for (const id of removed) print(`removed ${id}`);
  for (const { id, error } of failed) process.stderr.write(`lab ${id}: ${String(error)}\n`);
  return failed.length === 0 ? 0 : 1;
}

/** What programs want to know of a lab. */
function summary(lab: Lab): object {
  const pods = lab.pods.map(({ name, host, namespace, pausePid, address4, address6 }) => {
    return { name, host: host.name, namespace, pausePid, address4, address6 };
  });
  const hosts = lab.hosts.map(({ name, site, namespace, address4, address6, podSubnet4, podSubnet6 }) => {
    return { name, site, namespace, address4, address6, podSubnet4, podSubnet6 };
  });
  return { id: lab.id, hosts, pods };
}

function parse<T extends ParseArgsOptionsConfig>(
  args: string[],
  positionals: number | undefined,
  options: T,
) {
  const parsed = (() => {
    try {
      return parseArgs({ args, options, allowPositionals: true, strict: true });
    } catch (error) {
      throw new UsageError((error as Error).message, { cause: error });
    }
  })();
  const given = parsed.positionals.length;
  if (positionals !== undefined && given !== positionals) {
    throw new UsageError(`${positionals === 0 ? 'no' : positionals} names are expected, ${given} were given`);
  }
  return parsed;
}

function count(option: string, text: string): number {
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw new UsageError(`${option} wants a whole number, not "${text}"`);
}

/** Never returns: the process ends by a signal, which removes the lab. */
async function forever(): Promise<never> {
  for (;;) await delay(2 ** 30);
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
