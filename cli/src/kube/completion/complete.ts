/** What the word at the cursor may become: commands and options by themselves, names from the cluster. */
import type { Command, Option } from 'commander';
import type { Cluster, ClusterOptions } from '../cluster.js';
import { list, paths } from '../cluster.js';
import type { KubeThing, Pod } from '../types.js';

export interface Candidate {
  word: string;
  /** for people */
  about?: string;
}

/** Gives names of what an argument or an option takes. */
export type Completer = (cluster: Cluster) => Promise<Candidate[]>;

/** What each command's argument and each option's value name. */
export interface Completers {
  /** by command */
  arguments: Readonly<Record<string, Completer>>;
  /** by long name, without dashes */
  options: Readonly<Record<string, Completer>>;
}

/** Where the cursor is. */
export type Place =
  | { wants: 'value'; option: Option }
  | { wants: 'option'; command: Command }
  | { wants: 'command' }
  | { wants: 'argument'; command: Command; index: number };

/** Pure. @param before the words before the cursor's; `current`: as far as it is typed */
export function placeOf(program: Command, before: readonly string[], current: string): Place {
  let command = program;
  let index = 0;
  for (let i = 0; i < before.length; i += 1) {
    const word = before[i] ?? '';
    const option = optionOf(program, command, word);
    if (option !== undefined) {
      if (!takesValue(option) || word.includes('=')) continue;
      if (i === before.length - 1) return { wants: 'value', option };
      i += 1;
    } else if (command === program) {
      command =
        program.commands.find((each) => each.name() === word || each.aliases().includes(word)) ?? program;
    } else index += 1;
  }
  if (current.startsWith('-')) return { wants: 'option', command };
  return command === program ? { wants: 'command' } : { wants: 'argument', command, index };
}

/** Pure: what can be said without the cluster. */
export function wordsFor(program: Command, place: Place): Candidate[] {
  if (place.wants === 'command')
    return program.commands.map((each) => ({
      word: each.name(),
      about: each.summary() || each.description(),
    }));
  if (place.wants === 'option')
    return [...new Set([...place.command.options, ...program.options])]
      .filter(({ hidden, long }) => !hidden && long !== undefined && long !== null)
      .map(({ long, description }) => ({ word: long ?? '', about: description }));
  const choices =
    place.wants === 'value'
      ? place.option.argChoices
      : place.command.registeredArguments[place.index]?.argChoices;
  return (choices ?? []).map((word) => ({ word }));
}

export function completerFor(
  { arguments: ofArguments, options }: Completers,
  place: Place,
): Completer | undefined {
  if (place.wants === 'value') return options[(place.option.long ?? '').replace(/^--/, '')];
  return place.wants === 'argument' && place.index === 0 ? ofArguments[place.command.name()] : undefined;
}

/** Pure: which cluster and namespace the words before the cursor name. */
export function clusterOptionsOf(program: Command, before: readonly string[]): ClusterOptions {
  const found: Record<string, string> = {};
  before.forEach((word, i) => {
    const option = program.options.find((each) => isCalled(each, word));
    const name = option?.attributeName() ?? '';
    if (!['kubeconfig', 'context', 'namespace'].includes(name)) return;
    const value = word.includes('=') ? word.slice(word.indexOf('=') + 1) : before[i + 1];
    if (value !== undefined && value !== '') found[name] = value;
  });
  return found;
}

/** As kubectl reads it: `word<TAB>description`, and at the end what else may come (4: no files). */
export function completionLines(candidates: readonly Candidate[], current: string): string[] {
  const fitting = candidates.filter(({ word }) => word.startsWith(current));
  return [
    ...fitting.map(({ word, about }) => (about === undefined || about === '' ? word : `${word}\t${about}`)),
    ':4',
  ];
}

function optionOf(program: Command, command: Command, word: string): Option | undefined {
  if (!word.startsWith('-')) return undefined;
  return [...command.options, ...program.options].find((each) => isCalled(each, word));
}

/** `--name`, `--name=VALUE` or `-n`. */
function isCalled({ short, long }: Option, word: string): boolean {
  const [name] = word.split('=');
  return name === short || name === long;
}

function takesValue(option: Option): boolean {
  return option.required || option.optional;
}

// --- names from the cluster

function names(path: (cluster: Cluster) => string, about?: (thing: KubeThing) => string): Completer {
  return async (cluster) =>
    (await list<KubeThing>(cluster, path(cluster))).map((thing) => {
      const words = about?.(thing) ?? '';
      return { word: thing.metadata.name, ...(words === '' ? {} : { about: words }) };
    });
}

const pods: Completer = async (cluster) =>
  (await list<Pod>(cluster, paths.pods(cluster.namespace))).map(({ metadata, spec }) => ({
    word: metadata.name,
    about: spec?.nodeName === undefined ? 'on no node yet' : `on ${spec.nodeName}`,
  }));

const podsOfAll: Completer = async (cluster) =>
  (await list<Pod>(cluster, paths.pods())).map(({ metadata, spec }) => ({
    word: `${metadata.namespace ?? 'default'}/${metadata.name}`,
    about: spec?.nodeName === undefined ? 'on no node yet' : `on ${spec.nodeName}`,
  }));

const migrations = names(
  ({ namespace }) => paths.migrations(namespace),
  (thing) => (thing as { status?: { phase?: string } }).status?.phase ?? 'waiting',
);
const servalNodes = names(() => paths.servalNodes());

export const completers: Completers = {
  arguments: {
    migrate: pods,
    migrations,
    abort: migrations,
    services: names(({ namespace }) => paths.services(namespace)),
  },
  options: {
    to: servalNodes,
    node: servalNodes,
    pod: podsOfAll,
    namespace: names(() => paths.namespaces()),
    context: ({ contexts }) => Promise.resolve(contexts.map((word) => ({ word }))),
  },
};
