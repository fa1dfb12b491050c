/** What `servald` understands on its command line. */
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { ServalError } from '@serval/api';
import { defaultConfigText, loadConfig, type AgentConfig } from './config.js';

/** What the command line sets in motion; handed in, so that help and certificates need no data plane. */
export interface Actions {
  run: (config: AgentConfig) => Promise<void>;
  /** Each answers with the paths that were written. */
  certs: {
    init: (dir: string, days?: number) => Promise<string[]>;
    issue: (dir: string, node: string, days?: number) => Promise<string[]>;
    rotate: (dir: string) => Promise<string[]>;
    retire: (dir: string) => Promise<string[]>;
  };
  print: (text: string) => void;
  printError: (text: string) => void;
}

const exitCodes = `
Exit codes:
  0  done, or stopped by SIGTERM or SIGINT
  1  failed; the last line says what, why and what to do
  2  wrong usage or configuration

Stopping or killing the agent leaves the data plane as it is: connections go on.`;

/** Runs what the words ask for and returns the exit code. */
export async function runCommandLine(
  words: readonly string[],
  version: string,
  actions: Actions,
): Promise<number> {
  const program = servald(version, actions);
  try {
    await program.parseAsync([...words], { from: 'user' });
    return 0;
  } catch (error) {
    // Commander has said what is wrong, or has printed the help that was asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    actions.printError(`servald: ${error instanceof Error ? error.message : String(error)}\n`);
    if (!(error instanceof ServalError)) actions.printError(`${(error as Error).stack ?? ''}\n`);
    return error instanceof WrongConfiguration ? 2 : 1;
  }
}

class WrongConfiguration extends ServalError {}

function servald(version: string, actions: Actions): Command {
  const program = new Command('servald')
    .description('The Serval agent of a node: moves flows to where their workloads go.')
    .version(version)
    .option('--config <file>', 'run the agent with this configuration (YAML)')
    .option('--node <name>', 'of this machine; in place of what the configuration says')
    .option('--kubernetes', 'take resources from Kubernetes, not from files')
    .option(
      '--kubeconfig <file>',
      'with --kubernetes: how to reach it; default: as kubectl finds it, in a pod its account',
    )
    .option('--certificates <folder>', 'it has ca.crt, and NODE.crt and NODE.key of this node')
    .option(
      '--certificate-namespace <name>',
      'with --kubernetes: ask for a certificate; there the ConfigMap serval-ca says who is trusted',
    )
    .option('--certificate-signer <name>', 'who is asked to sign; default: the operator')
    .option('--print-default-config', 'print a configuration with all defaults, and exit')
    .configureOutput({ writeOut: actions.print, writeErr: actions.printError })
    .exitOverride()
    .addHelpText('after', exitCodes);
  program.action(async (options: RunOptions) => {
    if (options.printDefaultConfig) return actions.print(defaultConfigText());
    if (options.config === undefined)
      return program.error('servald: --config FILE is missing', { exitCode: 2 });
    const useless = inKubernetes.find((name) => options[name] !== undefined && options.kubernetes !== true);
    if (useless !== undefined)
      return program.error(`servald: ${flagOf(useless)} is of use with --kubernetes only`, { exitCode: 2 });
    await actions.run(await configuration(options.config, options));
  });
  addCerts(program, actions);
  return program;
}

interface RunOptions {
  config?: string;
  node?: string;
  kubernetes?: boolean;
  kubeconfig?: string;
  certificates?: string;
  certificateNamespace?: string;
  certificateSigner?: string;
  printDefaultConfig?: boolean;
}

const inKubernetes = ['kubeconfig', 'certificateNamespace', 'certificateSigner'] as const;

function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

async function configuration(file: string, options: RunOptions): Promise<AgentConfig> {
  const { node, certificates, kubernetes, kubeconfig, certificateNamespace: namespace } = options;
  const signer = options.certificateSigner;
  const asked = namespace && { certificates: { namespace, ...(signer === undefined ? {} : { signer }) } };
  const access = { ...(kubeconfig === undefined ? {} : { kubeconfig }), ...asked };
  try {
    return await loadConfig(file, {
      ...(node === undefined ? {} : { node }),
      ...(certificates === undefined ? {} : { certificates }),
      ...(kubernetes === true ? { kubernetes: access } : {}),
    });
  } catch (error) {
    if (!(error instanceof ServalError)) throw error;
    throw new WrongConfiguration(error.code, error);
  }
}

function addCerts(program: Command, { certs, print }: Actions): void {
  const report = (paths: string[]): void => print(paths.map((path) => `${path}\n`).join(''));
  const group = program
    .command('certs')
    .description('Make certificates for directory mode. Keep ca.key away from the nodes.');
  group
    .command('init <dir>')
    .description('make a certificate authority in a folder')
    .option('--days <days>', 'how long it is valid', wholeDays)
    .action(async (dir: string, { days }: { days?: number }) => report(await certs.init(dir, days)));
  group
    .command('issue <dir> <node>')
    .description("issue a node's certificate, or renew it; the agent notices that its files have changed")
    .option('--days <days>', 'how long it is valid', wholeDays)
    .action(async (dir: string, node: string, { days }: { days?: number }) =>
      report(await certs.issue(dir, node, days)),
    );
  group
    .command('rotate <dir>')
    .description('make a new authority and keep trusting the old one: hand out ca.crt, then issue anew')
    .action(async (dir: string) => report(await certs.rotate(dir)));
  group
    .command('retire <dir>')
    .description('trust the newest authority only: hand out ca.crt once more')
    .action(async (dir: string) => report(await certs.retire(dir)));
}

function wholeDays(text: string): number {
  const days = Number(text);
  if (Number.isInteger(days) && days >= 1 && days <= 36_500) return days;
  throw new InvalidArgumentError('Write a whole number of days, from 1 to 36500.');
}
