import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { ServalError } from '@serval/api';
import { cgroupRoot } from '@serval/node-agent';
import { existingNamespaces, processesIn } from './namespaces.js';
import {
  bootId,
  identify,
  isAlive,
  killProcess,
  requireRoot,
  sleepSync,
  tool,
  type ProcessIdentity,
} from './processes.js';
import {
  cgroupPrefix,
  deleteAbandonedDrafts,
  deleteState,
  isStale,
  labIds,
  readState,
  stateIfAny,
  type LabState,
} from './state.js';

/*
 * Removal blocks: it must work the same from a signal handler, in a dying process and in another process than the
 * one that made the lab. It can be repeated at any point.
 */

export interface StaleRemoval {
  /** ids of the labs that were removed */
  removed: string[];
  failed: { id: string; error: unknown }[];
}

const killPatience = 5000;
const labsOfThisProcess = new Set<string>();

/**
 * Removes a lab, whoever made it: its processes, namespaces and files.
 * @throws ServalError ERR_NOT_FOUND for an unknown id; ERR_KERNEL when something would not go
 */
export function removeLab(id: string): void {
  requireRoot();
  removeByState(readState(id));
}

/** Removes the labs whose owner died without doing so, and those from before a reboot. */
export function removeStaleLabs(): StaleRemoval {
  requireRoot();
  deleteAbandonedDrafts();
  const result: StaleRemoval = { removed: [], failed: [] };
  for (const id of labIds()) {
    try {
      const state = stateIfAny(id);
      if (state === undefined || !isStale(state)) continue;
      removeByState(state);
      result.removed.push(id);
    } catch (error) {
      result.failed.push({ id, error });
    }
  }
  return result;
}

/** From now on the lab is removed when this process ends, by itself or by SIGINT, SIGTERM or SIGHUP. */
export function removeAtExit(id: string): void {
  if (labsOfThisProcess.size === 0) {
    process.on('exit', removeLabsOfThisProcess);
    for (const signal of endingSignals) process.on(signal, endBySignal);
  }
  labsOfThisProcess.add(id);
}

/** Takes removeAtExit back. */
export function keepAtExit(id: string): void {
  if (!labsOfThisProcess.delete(id) || labsOfThisProcess.size > 0) return;
  process.off('exit', removeLabsOfThisProcess);
  for (const signal of endingSignals) process.off(signal, endBySignal);
}

const endingSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

function endBySignal(signal: NodeJS.Signals): void {
  removeLabsOfThisProcess();
  if (process.listenerCount(signal) === 0) process.kill(process.pid, signal); // nobody else wants it: end by it
}

function removeLabsOfThisProcess(): void {
  for (const id of [...labsOfThisProcess]) {
    keepAtExit(id);
    try {
      removeLab(id);
    } catch (error) {
      process.stderr.write(`lab ${id} was not removed: ${String(error)}\n`);
    }
  }
}

function removeByState(state: LabState): void {
  endProcesses(state);
  deleteNamespaces(state.namespaces);
  deleteCgroups(state.id);
  unmountBelow(state.folder);
  deleteState(state);
}

function deleteCgroups(id: string): void {
  for (const path of cgroupsOf(id)) deleteCgroup(path);
}

/** Paths of the lab's own cgroups: none on a machine without cgroup v2, where none can have been made. */
export function cgroupsOf(id: string): string[] {
  try {
    const root = cgroupRoot();
    const own = readdirSync(root).filter((entry) => entry.startsWith(cgroupPrefix(id)));
    return own.map((name) => join(root, name));
  } catch (error) {
    if (error instanceof ServalError && error.code === 'ERR_UNSUPPORTED') return [];
    throw error;
  }
}

/** Deletes a cgroup and those in it, which are empty by now, but for processes that are just ending. */
function deleteCgroup(path: string): void {
  const deadline = performance.now() + killPatience;
  while (existsSync(path)) {
    try {
      deleteFolders(path);
    } catch (cause) {
      if (performance.now() > deadline) throw cause;
      sleepSync(3);
    }
  }
}

function deleteFolders(path: string): void {
  for (const entry of readdirSync(path, { withFileTypes: true }))
    if (entry.isDirectory()) deleteFolders(join(path, entry.name));
  rmdirSync(path);
}

function unmountBelow(folder: string): void {
  const points = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((point) => point.startsWith(`${folder}/`));
  // Lazily: a process that is just ending may still hold it.
  if (points.length > 0) spawnSync(tool('umount'), ['--lazy', ...points.reverse()]);
}

/** Ends what runs in the lab's namespaces. Ending a pod's pause process ends all that its PID namespace holds. */
function endProcesses(state: LabState): void {
  const deadline = performance.now() + killPatience;
  let alive = processesOf(state);
  while (alive.length > 0 && performance.now() < deadline) {
    alive.forEach(killProcess);
    sleepSync(3);
    alive = processesOf(state);
  }
  if (alive.length === 0) return;
  throw new ServalError('ERR_KERNEL', {
    subject: `lab ${state.id}`,
    reason: `processes ${alive.map(({ pid }) => pid).join(', ')} do not end on SIGKILL`,
    remedy: 'See in /proc/PID/stack what they wait for, then remove the lab again',
  });
}

function processesOf(state: LabState): ProcessIdentity[] {
  const pods = state.bootId === bootId() ? state.pods : [];
  const pauses = pods.map((pod) => pod.pause).filter((pause) => pause !== null);
  return [...pauses.filter(isAlive), ...processesIn(state.namespaces)].filter(
    ({ pid, start }) => identify(pid)?.start === start,
  );
}

function deleteNamespaces(names: readonly string[]): void {
  const lines = existingNamespaces(names).map((name) => `netns del ${name}\n`);
  if (lines.length === 0) return;
  const { stderr } = spawnSync(tool('ip'), ['-force', '-batch', '-'], {
    input: lines.join(''),
    encoding: 'utf8',
  });
  const left = existingNamespaces(names);
  if (left.length === 0) return; // another process may have removed the same stale lab at the same time
  throw new ServalError('ERR_KERNEL', {
    subject: `namespaces ${left.join(', ')}`,
    reason: `they can not be deleted: ${stderr.trim()}`,
    remedy: 'Remove the lab again',
  });
}
