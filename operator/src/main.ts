#!/usr/bin/env node
/** The operator, as a program: `serval-operator`. */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { ServalError } from '@serval/api';
import { makeLog } from '@serval/kube-runtime';
import { KubeClient } from '@serval/kube-runtime/kubernetes';
import { runCommandLine, type Settings } from './command-line.js';
import { timesTrouble } from './certificates/authority-plan.js';
import { startOperator, type OperatorOptions } from './operator.js';

const packageFile = new URL('../package.json', import.meta.url);
const { version } = JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string };
/** What Kubernetes mounts into each pod. */
const ownNamespace = '/var/run/secrets/kubernetes.io/serviceaccount/namespace';

/** The engine would make room for what is young as long as so much of it stays, as at the start, and never give it back. */
setFlagsFromString('--semi-space-growth-factor=1');

async function run(settings: Settings): Promise<void> {
  const log = makeLog({ level: settings.logLevel, base: { operator: settings.identity } });
  const client = KubeClient.load(`serval-operator/${version}`, settings.kubeconfig);
  const told = new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve());
  });
  const operator = startOperator({
    client,
    log,
    version,
    namespace: settings.leaseNamespace,
    // A container that is started again has the same name: by chance it is told from the one before.
    identity: `${settings.identity}-${randomBytes(4).toString('hex')}`,
    metrics: { address: settings.metricsAddress, port: settings.metricsPort },
    ...certificatesOf(settings),
  });
  // Also while it waits for an API server: what has not begun needs no end.
  const started = await Promise.race([operator, told.then(() => undefined)]);
  if (started === undefined) return process.exit(0);
  log.info({ port: started.port }, 'runs');
  await told;
  await started.stop();
  await client.close();
}

/** @throws ServalError ERR_BAD_INPUT where authorities could not follow each other */
function certificatesOf(settings: Settings): Pick<OperatorOptions, 'certificates'> {
  const { agentAccount: account, authorityLife, authorityNotice, certificateLife } = settings;
  if (account === undefined) return {};
  const times = { lifeMs: authorityLife, noticeMs: authorityNotice, certificateMs: certificateLife };
  const reason = timesTrouble(times);
  if (reason === undefined) return { certificates: { account, times } };
  throw new ServalError('ERR_BAD_INPUT', {
    subject: '--authority-life',
    reason,
    remedy: 'Give a longer --authority-life, or a shorter --certificate-life and --authority-notice',
  });
}

process.exitCode = await runCommandLine(
  process.argv.slice(2),
  version,
  {
    leaseNamespace: existsSync(ownNamespace) ? readFileSync(ownNamespace, 'utf8').trim() : 'serval-system',
    identity: hostname(),
  },
  {
    run,
    print: (text) => void process.stdout.write(text),
    printError: (text) => void process.stderr.write(text),
  },
);
