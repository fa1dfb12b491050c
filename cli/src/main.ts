#!/usr/bin/env node
/** `kubectl serval`, a plugin of kubectl; called by its own name it is `kubectl-serval`. */
import { readFileSync } from 'node:fs';
import { runCli } from './commands.js';

/** Said by the bundle, which has no package beside it. */
declare const servalVersion: string | undefined;

function version(): string {
  if (typeof servalVersion === 'string') return servalVersion;
  const file = new URL('../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

function onInterrupt(handler: () => void): () => void {
  process.on('SIGINT', handler);
  return () => void process.off('SIGINT', handler);
}

// Whoever reads us may have had enough (`kubectl serval flows | head`).
process.stdout.on('error', () => process.exit(0));

// No `await` here: the bundle is no ES module.
void runCli(process.argv.slice(2), {
  version: version(),
  environment: process.env,
  printError: (text) => void process.stderr.write(text),
  screen: {
    write: (text) => void process.stdout.write(text),
    terminal: Boolean(process.stdout.isTTY),
    // 0 where a terminal does not know.
    width: process.stdout.columns || 80,
  },
  onInterrupt,
}).then((code) => {
  process.exitCode = code;
  // A shell waits for our end, and a connection that is being made can't be taken back.
  if (process.argv[2] === '__complete') process.exit();
});
