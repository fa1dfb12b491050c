/** What `serval-operator` understands on its command line. */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { ServalError } from '@serval/api';
import { logLevels, type LogLevel } from '@serval/kube-runtime';
import { defaultTimes } from './certificates/authority-plan.js';
import type { AgentAccount } from './certificates/rules.js';

export interface Settings {
  kubeconfig?: string;
  leaseNamespace: string;
  identity: string;
  metricsAddress: string;
  metricsPort: number;
  logLevel: LogLevel;
  /** absent: nothing is signed */
  agentAccount?: AgentAccount;
  /** ms, as AuthorityTimes has them */
  certificateLife: number;
  authorityLife: number;
  authorityNotice: number;
}

export interface Actions {
  run: (settings: Settings) => Promise<void>;
  print: (text: string) => void;
  printError: (text: string) => void;
}

const exitCodes = `
Exit codes:
  0  stopped by SIGTERM or SIGINT
  1  failed; the last line says what, why and what to do
  2  wrong usage

Stopping or killing the operator leaves services and connections as they are; another one goes on where it was.`;

/** @param defaults what a pod knows of itself */
export async function runCommandLine(
  words: readonly string[],
  version: string,
  defaults: Pick<Settings, 'leaseNamespace' | 'identity'>,
  actions: Actions,
): Promise<number> {
  const program = new Command('serval-operator')
    .description('The Serval operator: makes Services of ServalServices, and tells what became of them.')
    .version(version)
    .option(
      '--kubeconfig <file>',
      'how to reach the API server; default: as kubectl does, in a pod by its service account',
    )
    .option(
      '--lease-namespace <name>',
      'where the Lease is by which one of several leads',
      defaults.leaseNamespace,
    )
    .option('--identity <name>', 'of this process among them', defaults.identity)
    .option('--metrics-address <address>', 'where /metrics, /healthz and /readyz are', '0.0.0.0')
    .option('--metrics-port <port>', 'and at which port; 0 is any that is free', port, 8080)
    .option(
      '--agent-account <namespace:name>',
      "the agents' service account, whose requests for certificates it signs; default: it signs none",
      account,
    )
    .addOption(
      new Option('--certificate-life <time>', 'a certificate is valid for so long')
        .argParser(duration)
        .default(defaultTimes.certificateMs, '30d'),
    )
    .addOption(
      new Option('--authority-life <time>', 'and an authority')
        .argParser(duration)
        .default(defaultTimes.lifeMs, '365d'),
    )
    .addOption(
      new Option('--authority-notice <time>', 'a new authority is published for so long before it signs')
        .argParser(duration)
        .default(defaultTimes.noticeMs, '1d'),
    )
    .addOption(new Option('--log-level <level>', 'how much it says').choices(logLevels).default('info'))
    .configureOutput({ writeOut: actions.print, writeErr: actions.printError })
    .exitOverride()
    .addHelpText('after', exitCodes)
    .action((settings: Settings) => actions.run(settings));
  try {
    await program.parseAsync([...words], { from: 'user' });
    return 0;
  } catch (error) {
    // Commander has said what is wrong, or has printed the help that was asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    actions.printError(`serval-operator: ${error instanceof Error ? error.message : String(error)}\n`);
    if (!(error instanceof ServalError)) actions.printError(`${(error as Error).stack ?? ''}\n`);
    return 1;
  }
}

function port(text: string): number {
  const number = Number(text);
  if (/^\d{1,5}$/.test(text) && number <= 65_535) return number;
  throw new InvalidArgumentError('Give a number from 0 to 65535.');
}

function account(text: string): AgentAccount {
  const [, namespace, name] = /^([a-z0-9][-a-z0-9]*):([a-z0-9][-a-z0-9.]*)$/.exec(text) ?? [];
  if (namespace !== undefined && name !== undefined) return { namespace, name };
  throw new InvalidArgumentError('Write NAMESPACE:NAME.');
}

const units: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function duration(text: string): number {
  const [, count, unit = ''] = /^([1-9]\d{0,5})([smhd])$/.exec(text) ?? [];
  const ms = units[unit];
  if (count !== undefined && ms !== undefined) return Number(count) * ms;
  throw new InvalidArgumentError('Write a whole number and s, m, h or d: 30d.');
}
