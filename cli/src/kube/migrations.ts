/** ServalMigrations that there are: lists, one of them, and how to give one up. */
import { migrationResult, objectName, ServalError, type Condition, type ServalMigration } from '@serval/api';
import { migrationDetail, migrationLines, summary, targetOf } from '../describe.js';
import { formatAge, renderTable } from '../text.js';
import { exitCode, isForPrograms, print, printLines, type Output } from '../surroundings.js';
import { list, one, paths, type Cluster } from './cluster.js';
import { follow, type Followed } from './follow.js';
import { watchMigration } from './migrate.js';
import { scopeOf, scopeText, untilInterrupted, type Session } from './session.js';

export interface ShowOptions {
  output?: Output;
  watch?: boolean;
}

export async function showMigrations(
  session: Session,
  name: string | undefined,
  options: ShowOptions,
): Promise<number> {
  if (name !== undefined) return showMigration(session, name, options);
  if (options.watch === true) return watchAll(session, options.output);
  const { screen } = session.around;
  const migrations = await list<ServalMigration>(session.cluster, paths.migrations(scopeOf(session)));
  migrations.sort(byCreation);
  print(screen, options.output, migrations, (all, text) =>
    all.length === 0 ? [`No migrations ${scopeText(session)}.`] : migrationLines(all, text),
  );
  return exitCode.done;
}

function byCreation(a: ServalMigration, b: ServalMigration): number {
  return (a.metadata.creationTimestamp ?? '').localeCompare(b.metadata.creationTimestamp ?? '');
}

async function showMigration(session: Session, name: string, options: ShowOptions): Promise<number> {
  const { cluster, around } = session;
  const migration = await read(cluster, name);
  if (options.watch === true) return watchMigration(session, migration, options.output);
  print(around.screen, options.output, migration, (it, text) => [
    ...migrationFacts(it, text.now),
    '',
    ...migrationDetail(it, text),
  ]);
  return migrationResult(migration) === 'failed' ? exitCode.failed : exitCode.done;
}

function read(cluster: Cluster, name: string): Promise<ServalMigration> {
  return cluster.request<ServalMigration>({ path: one(paths.migrations(cluster.namespace), name) });
}

/** Pure: all that is said of one, but for its timeline. */
export function migrationFacts(migration: ServalMigration, now: number): string[] {
  const { metadata, spec, status = {} } = migration;
  const { kind = 'Pod', name } = spec.workload;
  return renderTable([
    ['name', objectName(migration)],
    ['workload', `${kind} ${name}`],
    ...placeRows(migration),
    ['started', ago(status.startedAt, now)],
    ['finished', ago(status.finishedAt, now)],
    ...(metadata.deletionTimestamp === undefined ? [] : [['deleted', ago(metadata.deletionTimestamp, now)]]),
    ...(status.conditions ?? []).map((condition) => [condition.type.toLowerCase(), conditionText(condition)]),
  ]);
}

function placeRows(migration: ServalMigration): string[][] {
  const { spec, status = {} } = migration;
  const { targetPod, phase = 'waiting', sourceNode = '-', mover = spec.mover ?? '-' } = status;
  const { sourceStep = '-', targetStep = '-' } = status;
  const inPod = targetPod === undefined ? '' : ` (pod ${targetPod})`;
  return [
    ['from', sourceNode],
    ['to', `${targetOf(migration) ?? '-'}${inPod}`],
    ['mover', mover],
    ['phase', phase],
    ['steps', `source ${sourceStep}, target ${targetStep}`],
  ];
}

function conditionText({ status, reason, message }: Condition): string {
  return `${status}, ${reason}${message === '' ? '' : `: ${message}`}`;
}

function ago(time: string | undefined, now: number): string {
  return time === undefined ? '-' : `${time} (${formatAge(now - Date.parse(time))} ago)`;
}

/** First those that there are, then each change, in lines of its own, until Ctrl-C. */
async function watchAll(session: Session, output: Output): Promise<number> {
  const { cluster, around } = session;
  const { screen } = around;
  let isHeadShown = false;
  const tell = (migration: ServalMigration): void => {
    if (isForPrograms(output)) return print(screen, output, migration, () => []);
    const text = { wide: output === 'wide', width: screen.width, now: Date.now() };
    const lines = migrationLines([migration], text);
    printLines(screen, isHeadShown ? lines.slice(1) : lines);
    isHeadShown = true;
  };
  return untilInterrupted(session, async (signal) => {
    let fail: (error: unknown) => void = () => undefined;
    const ended = new Promise<void>((resolve, reject) => {
      signal.addEventListener('abort', () => resolve());
      fail = reject;
    });
    const alive = setInterval(() => undefined, 1_000);
    // What is not allowed or not there at once is an error; what breaks later is tried again.
    await list(cluster, paths.migrations(scopeOf(session)));
    const watch = cluster.watch({
      path: paths.migrations(scopeOf(session)),
      onChange: ({ type, object }) => type !== 'deleted' && tell(object as ServalMigration),
      onError: (error) => around.printError(`serval: ${String(error)}\n`),
    });
    void watch.begun.catch(fail);
    await ended.finally(() => clearInterval(alive));
    await watch.stop();
  });
}

export interface AbortOptions {
  wait?: boolean;
}

/** Deletes it, which aborts it, and waits until it is gone. */
export async function abortMigration(
  session: Session,
  name: string,
  { wait = true }: AbortOptions,
): Promise<number> {
  const { cluster, around } = session;
  const { screen } = around;
  const migration = await read(cluster, name);
  const { namespace = '', uid } = migration.metadata;
  if (migrationResult(migration) !== undefined)
    throw new ServalError('ERR_CONFLICT', {
      subject: `ServalMigration ${namespace}/${name}`,
      reason: `it has ended (${migration.status?.phase ?? ''}): there is nothing to give up`,
      remedy: `To remove its record: kubectl delete servalmigration ${name} -n ${namespace}`,
    });
  await cluster.request({
    method: 'DELETE',
    path: one(paths.migrations(namespace), name),
    body: { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid } },
  });
  if (!wait) {
    printLines(screen, [
      `${name}: asked to give it up; what comes of it: kubectl get smig ${name} -n ${namespace} -w`,
    ]);
    return exitCode.done;
  }
  const interrupt = new AbortController();
  const heard = around.onInterrupt?.(() => interrupt.abort());
  const followed = await follow({
    cluster,
    migration,
    tell: () => undefined,
    warn: (words) => around.printError(`${name}: ${words}\n`),
    isEnd: ({ isGone }) => isGone,
    signal: interrupt.signal,
  }).finally(() => heard?.());
  if (followed === undefined) return exitCode.interrupted;
  printLines(screen, [outcome(followed)]);
  return migrationResult(followed.migration) === 'succeeded' ? exitCode.failed : exitCode.done;
}

/** Pure: what came of giving it up. */
export function outcome({ migration }: Followed): string {
  const { metadata, spec, status } = migration;
  const { workload } = spec;
  if (migrationResult(migration) === 'succeeded')
    return `${metadata.name}: too late, the source had released the workload already. ${summary(migration)}`;
  if (status?.sourceStep === undefined)
    return `${metadata.name}: given up before it began; ${workload.name} was not touched`;
  return `${metadata.name}: given up; ${workload.name} goes on where it was${status.sourceNode === undefined ? '' : `, on ${status.sourceNode}`}`;
}
