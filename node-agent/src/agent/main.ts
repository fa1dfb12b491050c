#!/usr/bin/env node
/** The agent of a node, as a program: `servald`. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCommandLine, type Actions } from './command-line.js';
import type { AgentConfig } from './config.js';

const packageFile = new URL('../../package.json', import.meta.url);
const { version } = JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string };

/** Runs until it is told to stop. What stops it by force stops nothing else: the data plane is the kernel's. */
async function run(config: AgentConfig): Promise<void> {
  const { startAgent } = await import('./agent.js');
  const agent = await startAgent(config, version);
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve());
  });
  await agent.close();
}

/** Loaded when they are asked for: an agent that runs has no use for them. */
const certificates = () => import('../signalling/certificates.js');
const optional = (days: number | undefined): { days?: number } => (days === undefined ? {} : { days });

const certs: Actions['certs'] = {
  async init(dir, days) {
    const { cert, key } = await (await certificates()).makeAuthority(dir, optional(days));
    return [cert, key];
  },
  async issue(dir, node, days) {
    const options = { ...optional(days), replace: true };
    const { cert, key } = await (await certificates()).issueNode(dir, node, options);
    return [cert, key];
  },
  async rotate(dir) {
    const { cert, key } = await (await certificates()).rotateAuthority(dir);
    return [cert, key];
  },
  async retire(dir) {
    (await certificates()).retireAuthorities(dir);
    return [join(dir, 'ca.crt')];
  },
};

const code = await runCommandLine(process.argv.slice(2), version, {
  run,
  certs,
  print: (text) => void process.stdout.write(text),
  printError: (text) => void process.stderr.write(text),
});
process.exit(code);
