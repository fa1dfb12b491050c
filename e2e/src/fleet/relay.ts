/** `relay.js PORT SOCKET`: listens at PORT of this network namespace's loopback, and hands each connection on to SOCKET. */
import { createServer, connect } from 'node:net';

const [port = '', path = ''] = process.argv.slice(2);
const server = createServer((client) => {
  const onward = connect(path);
  client.pipe(onward).pipe(client);
  for (const [one, other] of [
    [client, onward],
    [onward, client],
  ] as const)
    one.on('error', () => other.destroy()).on('close', () => other.destroy());
});
server.listen(Number(port), '127.0.0.1', () => process.stdout.write('listening\n'));
