/** What `kubectl serval` understands: the commands of an agent where its socket is named, else those of a cluster. */
import { Command, CommanderError } from 'commander';
import { addAgentCommands, agentCodeOf } from './agent/commands.js';
import { addKubeCommands } from './kube/commands.js';
import { complete } from './kube/completion/command.js';
import { openCluster } from './kube/open.js';
import { codeOf, exitCode, exitCodesHelp, type Surroundings } from './surroundings.js';
import { printable } from './text.js';

export { exitCode, type Surroundings } from './surroundings.js';

const worldsHelp = `
It speaks to the cluster of the kubeconfig, or, with --socket or SERVAL_SOCKET, to the agent of this node (directory mode;
kubectl-serval --socket /run/serval/agent.sock --help).

Environment:
  KUBECONFIG     the kubeconfig, where --kubeconfig is not given
  SERVAL_SOCKET  the agent's socket, where --socket is not given`;

/** Does what the words say and returns the exit code. */
export async function runCli(words: readonly string[], around: Surroundings): Promise<number> {
  let result: number = exitCode.done;
  const socket = socketOf(words, around);
  const program = serval(around, socket, (code) => (result = code));
  try {
    if (words[0] === '__complete') {
      const open = socket === undefined ? (around.openCluster ?? openCluster) : undefined;
      await complete(program, words.slice(1), around, open);
      return exitCode.done;
    }
    await program.parseAsync([...words], { from: 'user' });
    return result;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCode.done : exitCode.usage;
    const text = error instanceof Error ? error.message : String(error);
    around.printError(`serval: ${printable(text)}\n`);
    return socket === undefined ? codeOf(error) : agentCodeOf(error);
  }
}

function serval(around: Surroundings, socket: string | undefined, finish: (code: number) => void): Command {
  const { screen, printError, version } = around;
  const program = new Command('kubectl-serval')
    .description('Moves workloads to other nodes while every connection to them lives on.')
    .version(version)
    .configureOutput({ writeOut: (text) => screen.write(text), writeErr: printError })
    .exitOverride()
    .addHelpText('after', `${exitCodesHelp}\n${worldsHelp}`);
  if (socket === undefined) addKubeCommands(program, around, finish);
  else {
    // Before the command it is the program's, behind it the command's.
    program.enablePositionalOptions().option('--socket <path>', "the agent's socket");
    addAgentCommands(program, { ...around, socket }, finish);
  }
  return program;
}

/** The agent's socket, where one is named: at the first place in the words, else in the environment. */
function socketOf(words: readonly string[], { environment }: Surroundings): string | undefined {
  const end = words.indexOf('--');
  const options = end === -1 ? words : words.slice(0, end);
  const at = options.findIndex((word) => word === '--socket' || word.startsWith('--socket='));
  const word = options[at];
  if (word === undefined) return environment['SERVAL_SOCKET'] || undefined;
  return word === '--socket' ? (options[at + 1] ?? '') : word.slice('--socket='.length);
}
