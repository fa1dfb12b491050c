/**
 * A process of its own: `ping-pong.js server PORT` echoes; `ping-pong.js client ADDRESS PORT COUNT` sends 64 bytes,
 * waits for them, and so on, then prints the median and the 99th percentile of the round trips in microseconds.
 */
import { connect, createServer } from 'node:net';
import { quantile } from '../statistics.js';

const message = Buffer.alloc(64, 'serval');
const warmUp = 2000;

function serve(port: number): void {
  createServer({ noDelay: true }, (socket) => {
    socket.on('data', (bytes) => socket.write(bytes));
    socket.on('error', () => undefined);
  }).listen(port, '0.0.0.0');
}

function play(address: string, port: number, count: number): void {
  const times = new Float64Array(count);
  const socket = connect({ host: address, port, noDelay: true });
  let round = -warmUp;
  let received = 0;
  let sent = 0n;
  const send = (): void => {
    sent = process.hrtime.bigint();
    socket.write(message);
  };
  socket.on('connect', send);
  socket.on('data', (bytes) => {
    received += bytes.length;
    if (received < message.length) return;
    received = 0;
    if (round >= 0) times[round] = Number(process.hrtime.bigint() - sent) / 1000;
    if (++round < count) return send();
    socket.destroy();
    times.sort();
    console.log(JSON.stringify({ median: quantile(times, 0.5), p99: quantile(times, 0.99) }));
  });
  socket.on('error', (error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}

const [role, first = '', second = '', third = ''] = process.argv.slice(2);
if (role === 'server') serve(Number(first));
else play(first, Number(second), Number(third));
