#!/usr/bin/env node
/** The agent of a node, as a program: `servald`. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { packageFiles } from '../package-files.js';
import { runCommandLine, type Actions } from './command-line.js';
import type { AgentConfig } from './config.js';

const { version } = JSON.parse(readFileSync(packageFiles.manifest, 'utf8')) as { version: string };

/**
 * A switch runs code that an agent runs once in hours, and clients wait for it. So that is compiled at once, on its first
 * call, and is not thrown away when it has not been used for a while: a first move's clients waited 8 to 11 ms longer than
 * the freeze instead of 20 to 24, measured with 100 connections of Redis.
 */
const engineFlags = ['--always-sparkplug', '--no-lazy-feedback-allocation', '--no-flush-bytecode'];

/** Runs until it is told to stop. What stops it by force stops nothing else: the data plane is the kernel's. */
async function run(config: AgentConfig): Promise<void> {
  for (const flag of engineFlags) setFlagsFromString(flag);
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
