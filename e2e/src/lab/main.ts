import { ServalError } from '@serval/api';
import { commands, UsageError } from './commands.js';
import { usage, type CommandName } from './usage.js';

process.exitCode = await main(process.argv.slice(2));

async function main([name = '--help', ...args]: string[]): Promise<number> {
  if (name === '--help' || name === '-h' || name === 'help') return say(usage.lab);
  if (!isCommand(name)) return misuse(`there is no command "${name}"`, usage.lab);
  const own = args.includes('--') ? args.slice(0, args.indexOf('--')) : args;
  if (own.includes('--help') || own.includes('-h')) return say(usage[name]);
  try {
    return await commands[name](args);
  } catch (error) {
    if (error instanceof UsageError) return misuse(error.message, usage[name]);
    if (!(error instanceof ServalError)) throw error;
    process.stderr.write(`lab ${name}: ${error.message} [${error.code}]\n`);
    return 1;
  }
}

function isCommand(name: string): name is CommandName {
  return Object.hasOwn(commands, name);
}

function say(text: string): number {
  process.stdout.write(`${text}\n`);
  return 0;
}

function misuse(reason: string, text: string): number {
  process.stderr.write(`${reason}\n\n${text}\n`);
  return 2;
}
