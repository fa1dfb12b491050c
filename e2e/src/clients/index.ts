/**
 * Programs of others, unmodified, as clients and servers in pods, and our own small one in Go (who): each server can be
 * told apart by its answer, each client says what it was told. A client takes an address or a name.
 */
export { summarize, type Attempt, type Summary } from './attempts.js';
export { startChurn, type Churned, type ChurnOptions } from './churn.js';
export { curl } from './curl.js';
export { dig, digAddresses } from './dig.js';
export { startDns, whoamiName, type DnsOptions } from './dns.js';
export { podFolder, type PodFolder } from './folder.js';
export { goClient, type GoOptions } from './go.js';
export { startHold, type Held, type HoldClient, type HoldOptions } from './hold.js';
export { javaClient, javaWays, type JavaOptions, type JavaWay } from './java.js';
export { LineClient } from './line-client.js';
export { startLoop, type LoopOptions } from './loop.js';
export { startNginx, startNginxProxy, type ProxyOptions } from './nginx.js';
export { startPostgres } from './postgres.js';
export { whoProgram } from './programs.js';
export { psql } from './psql.js';
export { pipelinedAt, redisAsk, redisCli, redisPipeline, startRedis } from './redis.js';
export { redisClusterAsk, redisClusterPipelines, startRedisCluster } from './redis-cluster.js';
export { resolveBy, type Names } from './resolve.js';
export { Server } from './server.js';
export { hostPort, mappedAddress, told, type Answer, type Told } from './told.js';
export { startMovableWho, startWho, type WhoOptions } from './who.js';
