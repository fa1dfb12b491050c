/** The commands that an agent answers at its socket (directory mode), and what each does. */
import {
  migrationResult,
  moverValues,
  type FlowView,
  type MigrationRequest,
  type MoverName,
  type PodView,
  type ResolveView,
  type ServalMigration,
  type ServiceView,
  type StatusView,
} from '@serval/api';
import { Option, type Command } from 'commander';
import { AgentClient, Refused, Unreachable } from './client.js';
import { flowLines, migrationDetail, migrationLines, podLines, statusLines, summary } from '../describe.js';
import { resolveFails, resolveLines, serviceDetail, serviceLines } from '../describe-services.js';
import { follow } from './follow.js';
import { Progress, type Screen } from '../progress.js';
import {
  exitCode,
  exitCodesHelp,
  isForPrograms,
  outputs,
  print,
  type Output,
  type Surroundings,
} from '../surroundings.js';

interface AgentSurroundings extends Surroundings {
  /** the agent's */
  socket: string;
}

interface Common {
  output?: Output;
  socket: string;
}

interface MigrateOptions extends Common {
  to: string;
  watch?: boolean;
  mover?: MoverName;
  name?: string;
}

export function agentCodeOf(error: unknown): number {
  if (error instanceof Unreachable) return exitCode.unreachable;
  return error instanceof Refused && error.status === 400 ? exitCode.usage : exitCode.failed;
}

export function addAgentCommands(
  program: Command,
  around: AgentSurroundings,
  finish: (code: number) => void,
): void {
  addLists(program, around);
  addServices(program, around, finish);
  addMigrations(program, around, finish);
}

/** A command that talks to the agent. */
function command(program: Command, around: AgentSurroundings, usage: string, description: string): Command {
  return program
    .command(usage)
    .description(description)
    .addOption(new Option('-o, --output <format>', 'how to print it').choices(outputs))
    .option('--socket <path>', "the agent's socket", around.socket)
    .addHelpText('after', exitCodesHelp);
}

function addLists(program: Command, around: AgentSurroundings): void {
  command(program, around, 'flows', 'Flows that have been moved, or whose far end has: identity and wire')
    .option('--pod <name>', 'of one pod only (namespace/name)')
    .action(async ({ pod, output, socket }: Common & { pod?: string }) => {
      const query = pod === undefined ? '' : `?pod=${encodeURIComponent(namespaced(pod))}`;
      const flows = await new AgentClient(socket).call<FlowView[]>('GET', `/v1/flows${query}`);
      print(around.screen, output, flows, flowLines);
    });
  command(program, around, 'pods', 'Pods of this node').action(async ({ output, socket }: Common) => {
    const pods = await new AgentClient(socket).call<PodView[]>('GET', '/v1/pods');
    print(around.screen, output, pods, podLines);
  });
}

interface ResolveOptions extends Common {
  from?: string;
  port?: string;
  protocol?: string;
}

function addServices(program: Command, around: AgentSurroundings, finish: (code: number) => void): void {
  const { screen } = around;
  command(
    program,
    around,
    'services [name]',
    'The service table: virtual IPs, rule, replicas; with a name (namespace/name), all about one',
  ).action(async (name: string | undefined, { output, socket }: Common) => {
    const query = name === undefined ? '' : `?name=${encodeURIComponent(namespaced(name))}`;
    const services = await new AgentClient(socket).call<ServiceView[]>('GET', `/v1/services${query}`);
    if (name === undefined) print(screen, output, services, serviceLines);
    else for (const service of services) print(screen, output, service, serviceDetail);
  });
  command(
    program,
    around,
    'resolve <name>',
    'Which replica a connect() to a service would get, and why; the name is service, namespace/service, ' +
      'service.namespace.svc.cluster.local or an address, each with :port or without',
  )
    .option('--from <pod>', "the client (namespace/name), a pod of this node; default: the host's processes")
    .option('--port <port>', "number, or name, of the service's port; default: all of them")
    .addOption(new Option('--protocol <protocol>', 'of the port').choices(['tcp', 'udp']))
    .action(async (name: string, options: ResolveOptions) => {
      const { from, port, protocol, output, socket } = options;
      const wanted = { name, from: from === undefined ? undefined : namespaced(from), port, protocol };
      const query = new URLSearchParams(
        Object.entries(wanted).filter((each): each is [string, string] => each[1] !== undefined),
      );
      const view = await new AgentClient(socket).call<ResolveView>('GET', `/v1/resolve?${query.toString()}`);
      print(screen, output, view, resolveLines);
      finish(resolveFails(view) ? exitCode.failed : exitCode.done);
    });
}

function addMigrations(program: Command, around: AgentSurroundings, finish: (code: number) => void): void {
  const { screen } = around;
  const mover = new Option('--mover <mover>', 'what moves the workload; default: what its pod says').choices(
    moverValues,
  );
  command(program, around, 'migrate <workload>', 'Move a workload (namespace/name) to another host')
    .requiredOption('--to <host>', 'the host (its ServalNode)')
    .option('--watch', 'show how it goes on, and wait for its end')
    .option('--name <name>', 'of the ServalMigration; default: one is made up')
    .addOption(mover)
    .action(async (workload: string, options: MigrateOptions) => {
      finish(await migrate(screen, namespaced(workload), options));
    });
  command(
    program,
    around,
    'migrations [name]',
    'Migrations that began on this node; with a name, all about one',
  )
    .option('--watch', 'with a name: show how it goes on, and wait for its end')
    .action(async (name: string | undefined, options: Common & { watch?: boolean }) => {
      if (name !== undefined) return finish(await showMigration(screen, name, options));
      const migrations = await new AgentClient(options.socket).call<ServalMigration[]>(
        'GET',
        '/v1/migrations',
      );
      print(screen, options.output, migrations, migrationLines);
    });
  command(program, around, 'cancel <name>', 'Give a migration up, where the workload was not released yet')
    .alias('abort')
    .action(async (name: string, { socket }: Common) => {
      await new AgentClient(socket).call('DELETE', migrationPath(name));
      screen.write(
        `${name}: asked to give it up; see how it ends with \`serval migrations ${name} --watch\`\n`,
      );
    });
  command(program, around, 'status', 'How the agent of this node is').action(
    async ({ output, socket }: Common) => {
      const status = await new AgentClient(socket).call<StatusView>('GET', '/v1/status');
      print(screen, output, status, statusLines);
      finish(status.ready ? exitCode.done : exitCode.failed);
    },
  );
}

async function migrate(screen: Screen, workload: string, options: MigrateOptions): Promise<number> {
  const client = new AgentClient(options.socket);
  const request: MigrationRequest = {
    workload,
    targetNode: options.to,
    ...(options.mover === undefined ? {} : { mover: options.mover }),
    ...(options.name === undefined ? {} : { name: options.name }),
  };
  const migration = await client.call<ServalMigration>('POST', '/v1/migrations', request);
  if (options.watch) return watch(screen, client, migration.metadata.name, options.output);
  print(screen, options.output, migration, () => [
    `${summary(migration)}; see \`serval migrations ${migration.metadata.name} --watch\``,
  ]);
  return exitCode.done;
}

async function showMigration(
  screen: Screen,
  name: string,
  { output, socket, watch: watched }: Common & { watch?: boolean },
): Promise<number> {
  const client = new AgentClient(socket);
  if (watched) return watch(screen, client, name, output);
  const migration = await client.call<ServalMigration>('GET', migrationPath(name));
  print(screen, output, migration, migrationDetail);
  return migrationResult(migration) === 'failed' ? exitCode.failed : exitCode.done;
}

/** For programs (json, yaml) only the end is printed. */
async function watch(screen: Screen, client: AgentClient, name: string, output: Output): Promise<number> {
  const progress = isForPrograms(output) ? undefined : new Progress(screen, name);
  const migration = await follow(client, name, (state) => progress?.show(state)).finally(() =>
    progress?.end(),
  );
  print(screen, output, migration, migrationDetail);
  return migrationResult(migration) === 'succeeded' ? exitCode.done : exitCode.failed;
}

function namespaced(name: string): string {
  return name.includes('/') ? name : `default/${name}`;
}

function migrationPath(name: string): string {
  return `/v1/migrations/${encodeURIComponent(name)}`;
}
