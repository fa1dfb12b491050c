/** Makes a ServalMigration, and shows how it goes. */
import {
  apiVersion,
  migrationResult,
  ServalError,
  type MoverName,
  type ServalMigration,
  type ServalMigrationSpec,
} from '@serval/api';
import { migrationDetail, stageOf, summary } from '../describe.js';
import { Progress } from '../progress.js';
import { exitCode, isForPrograms, print, printLines, WrongUsage, type Output } from '../surroundings.js';
import { find, isForbidden, list, paths, statusOf, type Cluster } from './cluster.js';
import { follow } from './follow.js';
import type { Session } from './session.js';

export interface MigrateOptions {
  to?: string;
  mover?: MoverName;
  name?: string;
  deadline?: number;
  wait?: boolean;
  watch?: boolean;
  dryRun?: string;
  output?: Output;
}

export async function migrate(session: Session, word: string, options: MigrateOptions): Promise<number> {
  const { cluster, around } = session;
  const workload = workloadOf(word);
  await refuseTypos(cluster, workload, options.to);
  const isTrial = options.dryRun !== undefined;
  const migration = await create(cluster, workload, options);
  if (isTrial) {
    print(around.screen, options.output, migration, () => [
      `${migration.metadata.name}: would be created (the API server has checked it; nothing was made)`,
    ]);
    return exitCode.done;
  }
  if (options.wait ?? options.watch ?? around.screen.terminal)
    return watchMigration(session, migration, options.output);
  const { name, namespace } = migration.metadata;
  print(around.screen, options.output, migration, () => [
    `${summary(migration)}; see how it goes: kubectl serval migrations ${name} -n ${namespace ?? ''} -w`,
  ]);
  return exitCode.done;
}

type Workload = ServalMigrationSpec['workload'];

const kindsByWord: Readonly<Record<string, Workload['kind']>> = {
  ...{ pod: 'Pod', pods: 'Pod', po: 'Pod' },
  ...{ vmi: 'VirtualMachineInstance', virtualmachineinstance: 'VirtualMachineInstance' },
  virtualmachineinstances: 'VirtualMachineInstance',
};

/** `NAME`, `pod/NAME` or `vmi/NAME`. */
export function workloadOf(word: string): Workload {
  const [first = '', second, ...more] = word.split('/');
  if (second === undefined) return { kind: 'Pod', name: word };
  const kind = kindsByWord[first.toLowerCase()];
  if (kind !== undefined && second !== '' && more.length === 0) return { kind, name: second };
  throw new WrongUsage(
    `${word}: what moves is one pod (pod/NAME) or one virtual machine (vmi/NAME). Name that; its namespace is said by -n.`,
  );
}

/** The operator would refuse it too, but later, and who does not wait would not hear of it. */
async function refuseTypos(
  cluster: Cluster,
  { kind, name }: Workload,
  to: string | undefined,
): Promise<void> {
  const { namespace } = cluster;
  const [pod, node] = await Promise.all([
    kind === 'Pod' ? known(find(cluster, paths.pods(namespace), name)) : true,
    to === undefined ? true : known(find(cluster, paths.servalNodes(), to)),
  ]);
  if (pod === undefined)
    throw new ServalError('ERR_NOT_FOUND', {
      subject: `pod ${namespace}/${name}`,
      reason: 'there is no such pod',
      remedy: 'See kubectl get pods, or name its namespace with -n',
    });
  if (node !== undefined) return;
  const nodes = await list<{ metadata: { name: string } }>(cluster, paths.servalNodes());
  throw new ServalError('ERR_NOT_FOUND', {
    subject: `ServalNode ${to ?? ''}`,
    reason: 'no node of this name has an agent',
    remedy: `Choose one of ${nodes.map(({ metadata }) => metadata.name).join(', ') || 'those that get one: there is none yet'}`,
  });
}

/** Who may not look must not be kept from asking. */
function known<Thing>(found: Promise<Thing | undefined>): Promise<Thing | true | undefined> {
  return found.catch((error: unknown) => {
    if (isForbidden(error)) return true as const;
    throw error;
  });
}

async function create(
  cluster: Cluster,
  workload: Workload,
  options: MigrateOptions,
): Promise<ServalMigration> {
  const { to, mover, name, deadline, dryRun } = options;
  const { namespace } = cluster;
  const metadata = name === undefined ? { generateName: `${workload.name}-` } : { name };
  const spec: ServalMigrationSpec = {
    workload,
    ...(to === undefined ? {} : { targetNode: to }),
    ...(mover === undefined ? {} : { mover }),
    ...(deadline === undefined ? {} : { deadlineSeconds: deadline }),
  };
  try {
    return await cluster.request<ServalMigration>({
      method: 'POST',
      path: paths.migrations(namespace),
      query: { fieldValidation: 'Strict', ...(dryRun === undefined ? {} : { dryRun: 'All' }) },
      body: { apiVersion, kind: 'ServalMigration', metadata: { ...metadata, namespace }, spec },
    });
  } catch (error) {
    if (statusOf(error) !== 409 || name === undefined) throw error;
    throw new ServalError('ERR_CONFLICT', {
      subject: `ServalMigration ${namespace}/${name}`,
      reason: 'there is one of this name already',
      remedy: 'Leave --name out, and one is made up; or choose another',
      cause: error,
    });
  }
}

/** Until it has ended. For programs only the end is printed. */
export async function watchMigration(
  { cluster, around }: Session,
  migration: ServalMigration,
  output: Output,
): Promise<number> {
  const { screen } = around;
  const { name, namespace = '' } = migration.metadata;
  const progress = isForPrograms(output) ? undefined : new Progress(screen, name);
  const interrupt = new AbortController();
  const heard = around.onInterrupt?.(() => interrupt.abort());
  const warn = (words: string): void => around.printError(`${name}: ${words}\n`);
  const tell = (state: ServalMigration): void => progress?.show(state);
  const followed = await follow({ cluster, migration, tell, warn, signal: interrupt.signal }).finally(() => {
    progress?.end();
    heard?.();
  });
  if (followed === undefined) {
    around.printError(
      `${name} goes on without being watched. See how: kubectl serval migrations ${name} -n ${namespace} -w\n` +
        `Give it up: kubectl serval abort ${name} -n ${namespace}\n`,
    );
    return exitCode.interrupted;
  }
  const { migration: last, isGone } = followed;
  print(screen, output, last, migrationDetail);
  const result = migrationResult(last);
  if (result === undefined && isGone && !isForPrograms(output))
    printLines(screen, [`${name} was deleted in ${stageOf(last)}: it is given up`]);
  return result === 'succeeded' ? exitCode.done : exitCode.failed;
}
