/** Stands in until the agent's core is there. */
import { ServalError } from '@serval/api';
import type { AgentConfig } from './config.js';

export interface RunningAgent {
  close(): Promise<void>;
}

export function startAgent(config: AgentConfig): Promise<RunningAgent> {
  return Promise.reject(
    new ServalError('ERR_UNSUPPORTED', {
      subject: `agent of ${config.node}`,
      reason: 'its core is not there yet',
      remedy: 'Use a later version',
    }),
  );
}
