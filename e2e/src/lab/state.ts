import { linkSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { ServalError } from '@serval/api';
import { bootId, identify, isAlive, type ProcessIdentity } from './processes.js';

/** Where labs are written down, so that whoever comes later can remove them. */
export const stateFolder = '/run/serval-labs';

/** What a lab is made of; what is left out has the default in brackets. */
export interface LabSpec {
  /** sites behind the core, each with a router (3) */
  sites?: number;
  /** hosts in each site (1) */
  hostsPerSite?: number;
  /** pods created with the lab on each host, named p1, p2, ... over the whole lab (0) */
  podsPerHost?: number;
  /** IPv4 reverse path filter of hosts and routers ('strict') */
  reversePathFilter?: 'strict' | 'off';
}

/** Who had an address, where and when. Times are CLOCK_REALTIME in milliseconds. */
export interface Assignment {
  address: string;
  kind: 'pod' | 'host' | 'router';
  /** name of the pod, host or router */
  owner: string;
  /** the host that the address is behind; null for routers */
  host: string | null;
  from: number;
  /** null: still has it */
  to: number | null;
}

export interface PodState {
  name: string;
  host: string;
  index: number;
  namespace: string;
  /** the host's end of the pod's veth */
  hostInterface: string;
  /** null until the pause process runs */
  pause: ProcessIdentity | null;
}

/** The content of a state file. */
export interface LabState {
  version: 1;
  id: string;
  bootId: string;
  /** the process that the lab ends with; null: the lab stays until somebody removes it */
  owner: ProcessIdentity | null;
  /** CLOCK_REALTIME in milliseconds */
  createdAt: number;
  spec: Required<LabSpec>;
  /** names of all network namespaces, written before they are made */
  namespaces: string[];
  /** for captures in progress */
  folder: string;
  pods: PodState[];
  assignments: Assignment[];
  /** by host: index that was given to a pod last */
  lastIndex: Record<string, number>;
}

/**
 * Writes the state of a new lab.
 * @throws ServalError ERR_BAD_INPUT for an id that can't be part of names; ERR_CONFLICT when the id is taken
 */
export function createState(id: string, spec: Required<LabSpec>, namespaces: string[]): LabState {
  const owner = identify(process.pid);
  const folder = `${stateFolder}/${id}.d`;
  const made = {
    id,
    bootId: bootId(),
    owner: owner ?? null,
    createdAt: Date.now(),
    spec,
    namespaces,
    folder,
  };
  const state: LabState = { version: 1, ...made, pods: [], assignments: [], lastIndex: {} };
  mkdirSync(stateFolder, { recursive: true, mode: 0o755 });
  const draft = writeDraft(state);
  try {
    linkSync(draft, stateFile(id)); // unlike a rename, fails when the file exists
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new ServalError('ERR_CONFLICT', {
      subject: `lab ${id}`,
      reason: 'a lab with this id exists',
      remedy: `Choose another id, or remove it: npm run lab -- down ${id}`,
    });
  } finally {
    rmSync(draft, { force: true });
  }
  return state;
}

/** Replaces the state on disk in one step. */
export function saveState(state: LabState): void {
  renameSync(writeDraft(state), stateFile(state.id));
}

/**
 * Reads a lab's state.
 * @throws ServalError ERR_NOT_FOUND with the known ids; ERR_STATE_MISMATCH when the file is not of this version
 */
export function readState(id: string): LabState {
  let state: unknown;
  try {
    state = JSON.parse(readFileSync(stateFile(id), 'utf8'));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') throw unknownLab(id);
    throw badState(id, cause);
  }
  if ((state as { version?: unknown } | null)?.version !== 1) throw badState(id);
  return state as LabState;
}

/** Like readState, but undefined when the lab is gone: others may remove labs at any moment. */
export function stateIfAny(id: string): LabState | undefined {
  try {
    return readState(id);
  } catch (error) {
    if (error instanceof ServalError && error.code === 'ERR_NOT_FOUND') return undefined;
    throw error;
  }
}

/** Ids of all labs on this machine, whoever made them. */
export function labIds(): string[] {
  return stateFiles()
    .filter((name) => name.endsWith('.json'))
    .map((name) => name.slice(0, -'.json'.length))
    .sort();
}

/** Whether a lab's owner ended without removing it, or the machine was started anew. */
export function isStale(state: LabState): boolean {
  return state.bootId !== bootId() || (state.owner !== null && !isAlive(state.owner));
}

/** Removes a lab's files; the state last, since it is what the rest is found by. */
export function deleteState(state: LabState): void {
  rmSync(state.folder, { recursive: true, force: true });
  rmSync(stateFile(state.id), { force: true });
}

/** Removes drafts whose writer died in the middle of writing. */
export function deleteAbandonedDrafts(): void {
  for (const name of stateFiles()) {
    const pid = /\.draft-(\d+)$/.exec(name)?.[1];
    if (pid !== undefined && identify(Number(pid)) === undefined)
      rmSync(`${stateFolder}/${name}`, { force: true });
  }
}

/** @throws ServalError ERR_BAD_INPUT for an id that can not be part of namespace and file names */
export function requireId(id: string): void {
  if (/^[a-z0-9]{1,12}$/.test(id)) return;
  throw new ServalError('ERR_BAD_INPUT', {
    subject: `lab id "${id}"`,
    reason: 'an id has 1 to 12 lower-case letters and digits',
    remedy: 'Choose another id, or give none to have one made',
  });
}

function stateFile(id: string): string {
  requireId(id);
  return `${stateFolder}/${id}.json`;
}

function writeDraft(state: LabState): string {
  const draft = `${stateFile(state.id)}.draft-${process.pid}`;
  writeFileSync(draft, `${JSON.stringify(state, null, 1)}\n`);
  return draft;
}

function stateFiles(): string[] {
  try {
    return readdirSync(stateFolder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function unknownLab(id: string): ServalError {
  const known = labIds();
  return new ServalError('ERR_NOT_FOUND', {
    subject: `lab ${id}`,
    reason: known.length === 0 ? 'there is no lab on this machine' : `the labs here are ${known.join(', ')}`,
    remedy: 'Make one: npm run lab -- up',
  });
}

function badState(id: string, cause?: unknown): ServalError {
  return new ServalError('ERR_STATE_MISMATCH', {
    subject: stateFile(id),
    reason: 'the file is damaged or of another version',
    remedy: `Delete it, and the namespaces that "ip netns list | grep ^lab${id}-" shows`,
    cause,
  });
}

/** Cgroups of a lab are named so, at the top of the unified hierarchy. */
export function cgroupPrefix(id: string): string {
  return `lab${id}-`;
}
