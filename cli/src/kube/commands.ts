/** The commands that speak to a cluster; what each does is in files of their own. */
import { moverValues, type MoverName } from '@serval/api';
import { Command, InvalidArgumentError, Option } from 'commander';
import { exitCodesHelp, outputs, type Output, type Surroundings } from '../surroundings.js';
import { ExecRelay } from './agents.js';
import { writeBugReport, type BugReportOptions } from './bugreport/command.js';
import { runCheck } from './check/command.js';
import type { ClusterOptions } from './cluster.js';
import { addCompletion } from './completion/command.js';
import { showFlows, type FlowsOptions } from './flows.js';
import { migrate, type MigrateOptions } from './migrate.js';
import { abortMigration, showMigrations, type AbortOptions, type ShowOptions } from './migrations.js';
import { openCluster } from './open.js';
import { showServices } from './services.js';
import type { Session } from './session.js';
import { showStatus } from './status.js';

interface GlobalOptions extends ClusterOptions {
  allNamespaces?: boolean;
}

type Run = (session: Session) => Promise<number>;
/** Opens the cluster that the words name, runs, closes it. */
type Within = (run: Run) => Promise<void>;

export function addKubeCommands(
  program: Command,
  around: Surroundings,
  finish: (code: number) => void,
): void {
  program
    .option('--kubeconfig <file>', 'the kubeconfig')
    .option('--context <name>', 'of the kubeconfig')
    .option('-n, --namespace <name>', "default: the context's")
    .option('-A, --all-namespaces', 'in lists: of all namespaces')
    .option(
      '--socket <path>',
      'speak to the agent at this socket instead, whose commands are others (see there: --help)',
    )
    .configureHelp({ showGlobalOptions: true });
  const within: Within = async (run) => finish(await inCluster(program.opts<GlobalOptions>(), around, run));
  addMigrationCommands(program, within);
  addViews(program, within);
  addCare(program, within);
  addCompletion(program, around);
}

async function inCluster(options: GlobalOptions, around: Surroundings, run: Run): Promise<number> {
  const { allNamespaces = false, ...which } = options;
  const cluster = await (around.openCluster ?? openCluster)(which, around.version);
  try {
    return await run({
      cluster,
      agents: new ExecRelay(cluster),
      around,
      allNamespaces,
      isNamespaceGiven: which.namespace !== undefined,
    });
  } finally {
    await cluster.close();
  }
}

function command(program: Command, usage: string, description: string): Command {
  return program.command(usage).description(description).addHelpText('after', exitCodesHelp);
}

/** What a program may read too. */
function printing(program: Command, usage: string, description: string): Command {
  const option = new Option('-o, --output <format>', 'how to print it').choices(outputs);
  return command(program, usage, description).addOption(option);
}

function addMigrationCommands(program: Command, within: Within): void {
  printing(
    program,
    'migrate <workload>',
    'Move a pod (pod/NAME or NAME) or a virtual machine (vmi/NAME) to another node',
  )
    .option('--to <node>', 'the node; default: the scheduler chooses one')
    .addOption(
      new Option('--mover <mover>', 'what moves the workload; default: what it asks for, else criu').choices(
        moverValues as unknown as MoverName[],
      ),
    )
    .option('--name <name>', 'of the ServalMigration; default: one is made up')
    .option(
      '--deadline <seconds>',
      'not done after so long, it is taken back, where that is still possible; default 600',
      seconds,
    )
    .option('--wait', 'show how it goes, and wait for its end; the default on a terminal')
    .option('--no-wait', 'only create it')
    .addOption(new Option('--watch', 'the same as --wait').hideHelp())
    .addOption(
      new Option('--dry-run <where>', 'let the API server check it, and make nothing').choices(['server']),
    )
    .action((workload: string, options: MigrateOptions) =>
      within((session) => migrate(session, workload, options)),
    );
  printing(program, 'migrations [name]', 'Migrations; with a name, all about one, its timeline too')
    .option('-w, --watch', 'go on showing changes; with a name until its end')
    .action((name: string | undefined, options: ShowOptions) =>
      within((session) => showMigrations(session, name, options)),
    );
  command(
    program,
    'abort <name>',
    'Give a migration up, where the workload was not released yet, and wait until it is',
  )
    .alias('cancel')
    .option('--no-wait', 'only ask for it')
    .action((name: string, options: AbortOptions) =>
      within((session) => abortMigration(session, name, options)),
    );
}

function addViews(program: Command, within: Within): void {
  printing(
    program,
    'services [name]',
    'ServalServices: virtual IPs, ports, replicas; with a name, all about one',
  ).action((name: string | undefined, { output }: { output?: Output }) =>
    within((session) => showServices(session, name, output)),
  );
  printing(
    program,
    'flows',
    'Flows that have been moved, or whose far end has, as the agents of the nodes know them',
  )
    .option('--pod <name>', 'of one pod only (NAME, or NAMESPACE/NAME)')
    .option('--node <node>', 'of one node only; default: of all')
    .action((options: FlowsOptions) => within((session) => showFlows(session, options)));
  printing(
    program,
    'status',
    'How nodes, operator, services and migrations are; fails where something is not healthy',
  ).action(({ output }: { output?: Output }) => within((session) => showStatus(session, output)));
}

function addCare(program: Command, within: Within): void {
  printing(
    program,
    'check',
    'Whether what is installed works; with --pre, whether it can be installed (-n: where; default serval-system)',
  )
    .option('--pre', 'before installing')
    .action((options: { pre?: boolean; output?: Output }) => within((session) => runCheck(session, options)));
  command(
    program,
    'bugreport',
    'Collect resources, logs, events and checks into one archive. Never Secrets; it says what is in it',
  )
    .option('-o, --output <file>', 'default: serval-bugreport-TIME.tar.gz')
    .option('--agents <number>', 'logs and answers of so many agents', atLeastOne, 20)
    .option('--lines <number>', "the last lines of each container's log", atLeastOne, 5_000)
    .action((options: BugReportOptions) => within((session) => writeBugReport(session, options)));
}

function seconds(text: string): number {
  return whole(text, 10, 86_400);
}

function atLeastOne(text: string): number {
  return whole(text, 1, 1_000_000);
}

function whole(text: string, from: number, to: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= from && value <= to) return value;
  throw new InvalidArgumentError(`It is a whole number from ${from} to ${to}.`);
}
