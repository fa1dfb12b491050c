/** `sandbox-hook.js SOCKET create|remove HOST`: hands standard input to the process that owns the lab (sandboxes.ts). */
import { request } from 'node:http';

const [socketPath = '', action = '', host = ''] = process.argv.slice(2);
const asked = request({ socketPath, path: `/${action}/${host}`, method: 'POST' }, (response) => {
  response.pipe(response.statusCode === 200 ? process.stdout : process.stderr);
  process.exitCode = response.statusCode === 200 ? 0 : 1;
});
asked.on('error', (error) => {
  console.error(error.message);
  process.exitCode = 1;
});
process.stdin.pipe(asked);
