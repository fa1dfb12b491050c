#!/usr/bin/env node
/** `serval`, and as a plugin of kubectl `kubectl serval`. */
import { readFileSync } from 'node:fs';
import { runCli } from './commands.js';

const packageFile = new URL('../package.json', import.meta.url);
const { version } = JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string };

// Whoever reads us may have had enough (`serval flows | head`).
process.stdout.on('error', () => process.exit(0));

process.exitCode = await runCli(process.argv.slice(2), {
  version,
  environment: process.env,
  printError: (text) => void process.stderr.write(text),
  screen: {
    write: (text) => void process.stdout.write(text),
    terminal: Boolean(process.stdout.isTTY),
    width: process.stdout.columns ?? 80,
  },
});
